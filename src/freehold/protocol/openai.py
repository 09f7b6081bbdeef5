"""The OpenAI dialect at the rim: Chat Completions and Embeddings → our words, our events → its objects.

Parameters fall into three groups, listed in docs/api.md from these very tables: understood, ignored (they cannot change
the answer) and refused (they would change it and we cannot honour them). One that is in no group is refused too.
Error texts name only parameters of these tables, never what the client sent (BAR-7).
"""

import base64
import struct
import time
from typing import Any, Literal

import msgspec

from freehold.protocol.chat import (
    ChatRequest,
    Delta,
    EmbeddingRequest,
    Embeddings,
    Finished,
    Message,
    ResponseFormat,
    Tool,
    ToolCall,
    ToolDelta,
    Usage,
    explained,
)
from freehold.protocol.dialect import Asked, Bounds
from freehold.protocol.errors import Refused, Unavailable, error_body
from freehold.protocol.json import parse_object
from freehold.protocol.parameters import Table, check_ranges, encode, wrong

IGNORED = frozenset(
    {
        "user", "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    }
)  # fmt: skip
"""Parameters that cannot change the answer: accepted and not used."""

REFUSED = frozenset(
    {
        "logprobs", "top_logprobs", "logit_bias", "modalities", "audio", "prediction", "web_search_options",
        "functions", "function_call", "reasoning_effort", "verbosity", "top_k", "min_p", "repetition_penalty",
    }
)  # fmt: skip
"""Parameters that would change the answer and are not offered: a clear 400, unless null (or false, or the default)."""

_TABLE = Table(IGNORED, REFUSED, {"logprobs": (False,), "modalities": (["text"],), "logit_bias": ({},)})


class _TextPart(msgspec.Struct, tag="text", tag_field="type"):
    text: str


class _RefusalPart(msgspec.Struct, tag="refusal", tag_field="type"):
    refusal: str


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    id: str
    function: _Function
    type: Literal["function"] = "function"


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_TextPart | _RefusalPart] | None = None
    name: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _FunctionDefinition(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct):
    function: _FunctionDefinition
    type: Literal["function"]


class _NamedFunction(msgspec.Struct):
    name: str


class _ToolChoice(msgspec.Struct):
    function: _NamedFunction
    type: Literal["function"] = "function"


class _Schema(msgspec.Struct):
    schema: dict[str, Any]
    name: str = "answer"
    strict: bool | None = None
    description: str | None = None


class _ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class StreamOptions(msgspec.Struct):
    """How the client wants its stream."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class _ChatBody(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    response_format: _ResponseFormat | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None


class _EmbeddingBody(msgspec.Struct):
    model: str
    input: str | list[str]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


CHAT_PARAMETERS = _ChatBody.__struct_fields__
"""The Chat Completions parameters that are understood."""

_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "max_tokens": (1, 1 << 20),
    "max_completion_tokens": (1, 1 << 20),
    "seed": (-(1 << 63), (1 << 63) - 1),
}


def parse(body: bytes, bounds: Bounds) -> Asked:
    """A Chat Completions request. Raises Refused 400. See `dialect.Dialect`."""
    max_messages, max_tokens = bounds.max_messages, bounds.max_tokens
    sent = _TABLE.convert(parse_object(body, max_depth=bounds.max_depth), _ChatBody)
    check_ranges(sent, _RANGES)
    if sent.n not in (None, 1):
        raise wrong("n", "Only one answer at a time is offered.")
    if not 1 <= len(sent.messages) <= max_messages:
        raise wrong("messages", f"There must be 1 to {max_messages} messages.")
    stop = [sent.stop] if isinstance(sent.stop, str) else sent.stop or []
    if len(stop) > 4 or not all(stop):
        raise wrong("stop", "Up to four non-empty texts.")
    request = ChatRequest(
        assistant=sent.model,
        messages=tuple([_message(message, index) for index, message in enumerate(sent.messages)]),
        max_tokens=min(sent.max_completion_tokens or sent.max_tokens or max_tokens, max_tokens),
        temperature=sent.temperature,
        top_p=sent.top_p,
        frequency_penalty=sent.frequency_penalty,
        presence_penalty=sent.presence_penalty,
        stop=tuple(stop),
        seed=sent.seed,
        response_format=_response_format(sent.response_format),
        tools=tuple([_tool(tool) for tool in sent.tools]) if sent.tools else (),
        tool_choice=_tool_choice(sent),
        parallel_tool_calls=bool(sent.parallel_tool_calls),
    )
    include_usage = sent.stream_options is not None and sent.stream_options.include_usage

    def writer(exchange_id: str, model: str) -> ChatWriter:
        return ChatWriter(exchange_id, model, include_usage=include_usage)

    return Asked(request, bool(sent.stream), encode(request), writer, "batch" if sent.service_tier == "flex" else None)


class EmbeddingCall(msgspec.Struct, frozen=True):
    """A parsed Embeddings request. `base64` says how the client wants the vectors."""

    request: EmbeddingRequest
    base64: bool
    encoded: bytes


def parse_embeddings(body: bytes, *, max_depth: int, max_inputs: int = 2048) -> EmbeddingCall:
    """Bytes from a client → `EmbeddingCall`. Raises Refused 400."""
    sent = _TABLE.convert(parse_object(body, max_depth=max_depth), _EmbeddingBody)
    inputs = (sent.input,) if isinstance(sent.input, str) else tuple(sent.input)
    if not 1 <= len(inputs) <= max_inputs or not all(inputs):
        raise wrong("input", f"One non-empty text, or a list of 1 to {max_inputs} of them.")
    if sent.dimensions is not None:
        raise wrong("dimensions", "The number of dimensions is the model's own.")
    request = EmbeddingRequest(sent.model, inputs)
    return EmbeddingCall(request, sent.encoding_format == "base64", encode(request))


error = error_body
"""How an error is told. See `dialect.Dialect`."""


class ChatWriter:
    """Our events → the objects of one Chat Completions answer. See `dialect.Writer`.

    `include_usage`: the client asked for usage in the stream, so every chunk has the key and an extra one tells it.
    """

    def __init__(self, exchange_id: str, model: str, *, include_usage: bool = False, now: float | None = None) -> None:
        self._head = {
            "id": f"chatcmpl-{exchange_id.partition('_')[2]}",
            "created": int(time.time() if now is None else now),
            "model": model,
        }
        self._include_usage = include_usage
        self._before = b""
        self._after = b""
        self._text: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}

    def opening(self) -> bytes:
        """The first chunk, which says who speaks. Most of a chunk is the same for all, so it is encoded once."""
        self._before, _, self._after = self._chunk({"content": _MARK}).partition(_encoder.encode(_MARK))
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, event: Delta | ToolDelta) -> bytes:
        """One event as a chunk."""
        if isinstance(event, Delta):
            return self._before + _encoder.encode(event.text) + self._after
        return self._chunk({"tool_calls": [_tool_delta(event)]})

    def closing(self, end: Finished) -> bytes:
        """The chunk with the reason, the one with the usage if asked for, the marker."""
        last = self._chunk({}, end)
        if self._include_usage:
            last += _event(self._encode("chat.completion.chunk", [], {"usage": _usage(end.usage)}))
        return last + _DONE

    def broken(self, error: Refused | Unavailable, exchange_id: str) -> bytes:
        """The error as an event; without the marker, which stands for a whole answer."""
        return _event(error_body(error, exchange_id))

    def gather(self, event: Delta | ToolDelta) -> None:
        """Keep an event for the whole answer."""
        if isinstance(event, Delta):
            self._text.append(event.text)
            return
        call = self._calls.setdefault(
            event.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] += event.id
        call["function"]["name"] += event.name
        call["function"]["arguments"] += event.arguments

    def whole(self, end: Finished) -> bytes:
        """The answer as one object."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text), "refusal": None}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
            message["content"] = message["content"] or None
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason}
        return self._encode("chat.completion", [choice], {"usage": _usage(end.usage), **explained(end)})

    def _chunk(self, delta: dict[str, Any], end: Finished | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end.reason if end else None}
        more: dict[str, Any] = {"usage": None} if self._include_usage else {}
        if end:
            more |= explained(end)
        return _event(self._encode("chat.completion.chunk", [choice], more))

    def _encode(self, kind: str, choices: list[Any], more: dict[str, Any]) -> bytes:
        return _encoder.encode({**self._head, "object": kind, "choices": choices, **more})


_encoder = msgspec.json.Encoder()
_MARK = "\x00"
_DONE = b"data: [DONE]\n\n"


def _event(payload: bytes) -> bytes:
    return b"data: %b\n\n" % payload


def embeddings_object(call: EmbeddingCall, result: Embeddings) -> bytes:
    """The Embeddings answer as JSON."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(vector).decode()
            if call.base64
            else struct.unpack(f"<{len(vector) // 4}f", vector),
        }
        for index, vector in enumerate(result.vectors)
    ]
    usage = {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": call.request.assistant, "usage": usage})


def model_object(name: str, created: float) -> dict[str, Any]:
    """One entry of `/v1/models`."""
    return {"id": name, "object": "model", "created": int(created), "owned_by": "freehold"}


def _tool(sent: _Tool) -> Tool:
    function = sent.function
    return Tool(function.name, function.description or "", function.parameters or {})


def _message(sent: _Message, index: int) -> Message:
    content = sent.content
    if isinstance(content, list):
        content = "\n".join(part.text if isinstance(part, _TextPart) else part.refusal for part in content)
    calls: tuple[ToolCall, ...] = ()
    if sent.tool_calls:
        calls = tuple([ToolCall(c.id, c.function.name, c.function.arguments) for c in sent.tool_calls])
    if content is None and not calls:
        raise wrong(f"messages[{index}].content", "A message needs a text.")
    if sent.role == "tool" and not sent.tool_call_id:
        raise wrong(f"messages[{index}].tool_call_id", "It says which call is answered.")
    role = "system" if sent.role == "developer" else sent.role
    return Message(role, content, sent.name, calls, sent.tool_call_id)


def _response_format(sent: _ResponseFormat | None) -> ResponseFormat | None:
    if sent is None or sent.type == "text":
        return None
    if sent.type == "json_object":
        return ResponseFormat("json_object")
    if sent.json_schema is None:
        raise wrong("response_format.json_schema", "It is needed with the type json_schema.")
    return ResponseFormat("json_schema", sent.json_schema.schema)


def _tool_choice(sent: _ChatBody) -> str:
    if sent.tool_choice is None:
        return "auto"
    names = {tool.function.name for tool in sent.tools or ()}
    if isinstance(sent.tool_choice, _ToolChoice):
        if sent.tool_choice.function.name not in names:
            raise wrong("tool_choice", "It names a function that is not in tools.")
        return f"name:{sent.tool_choice.function.name}"
    if sent.tool_choice == "required" and not names:
        raise wrong("tool_choice", "There are no tools to choose from.")
    return sent.tool_choice


def _tool_delta(event: ToolDelta) -> dict[str, Any]:
    function = {"arguments": event.arguments, **({"name": event.name} if event.name else {})}
    first = {"id": event.id, "type": "function"} if event.id else {}
    return {"index": event.index, **first, "function": function}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }
