"""The Anthropic dialect at the rim: Messages → our words, our events → its events. See `dialect`.

Content blocks of type text, tool_use and tool_result are understood; the rest of the vocabulary follows Anthropic's
public reference of version 2023-06-01. Errors have its shape, with our codes beside its types.
"""

from typing import Any, Literal

import msgspec

from freehold.protocol.chat import ChatRequest, Delta, Finished, Message, Tool, ToolCall, ToolDelta, Usage, explained
from freehold.protocol.dialect import Asked, Bounds
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.json import parse_object
from freehold.protocol.parameters import Table, check_ranges, encode, wrong

_TABLE = Table(
    ignored=frozenset({"metadata", "service_tier"}),
    refused=frozenset({"thinking", "top_k", "container", "mcp_servers", "context_management", "output_config"}),
    neutral={"thinking": ({"type": "disabled"},)},
)

_RANGES: dict[str, tuple[float, float]] = {"max_tokens": (1, 1 << 20), "temperature": (0, 1), "top_p": (0, 1)}

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
          413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error"}  # fmt: skip


class _Cache(msgspec.Struct):
    type: str
    ttl: str | None = None


class _Text(msgspec.Struct, tag="text", tag_field="type"):
    text: str
    cache_control: _Cache | None = None
    citations: Any = None


class _ToolUse(msgspec.Struct, tag="tool_use", tag_field="type"):
    id: str
    name: str
    input: dict[str, Any]
    cache_control: _Cache | None = None


class _ToolResult(msgspec.Struct, tag="tool_result", tag_field="type"):
    tool_use_id: str
    content: str | list[_Text] | None = None
    is_error: bool | None = None
    cache_control: _Cache | None = None


class _Message(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str | list[_Text | _ToolUse | _ToolResult]


class _Tool(msgspec.Struct):
    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    type: Literal["custom"] | None = None
    cache_control: _Cache | None = None
    strict: bool | None = None


class _ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int
    system: str | list[_Text] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None


PARAMETERS = _Body.__struct_fields__
"""The parameters of `/v1/messages` that are understood."""


def parse(body: bytes, bounds: Bounds) -> Asked:
    """A Messages request. Raises Refused 400. See `dialect.Dialect`."""
    sent = _TABLE.convert(parse_object(body, max_depth=bounds.max_depth), _Body)
    check_ranges(sent, _RANGES)
    if not 1 <= len(sent.messages) <= bounds.max_messages:
        raise wrong("messages", f"There must be 1 to {bounds.max_messages} messages.")
    stop = sent.stop_sequences or []
    if len(stop) > 4 or not all(stop):
        raise wrong("stop_sequences", "Up to four non-empty texts.")
    messages = [Message("system", _joined(sent.system))] if sent.system else []
    for message in sent.messages:
        messages += _messages(message)
    if not messages or all(message.role == "system" for message in messages):
        raise wrong("messages", "A message needs a text.")
    choice = sent.tool_choice
    request = ChatRequest(
        assistant=sent.model,
        messages=tuple(messages),
        max_tokens=min(sent.max_tokens, bounds.max_tokens),
        temperature=sent.temperature,
        top_p=sent.top_p,
        stop=tuple(stop),
        tools=tuple(Tool(t.name, t.description or "", t.input_schema) for t in sent.tools or ()),
        tool_choice=_choice(sent),
        parallel_tool_calls=bool(sent.tools) and not (choice and choice.disable_parallel_tool_use),
    )
    return Asked(request, bool(sent.stream), encode(request), MessageWriter)


def error(error: Refused | Unavailable, exchange_id: str) -> bytes:
    """How an error is told. See `dialect.Dialect`."""
    return msgspec.json.encode(_error_object(error, exchange_id))


class MessageWriter:
    """Our events → one message. See `dialect.Writer`. Text and each tool call are a content block of their own."""

    def __init__(self, exchange_id: str, model: str) -> None:
        self._head: dict[str, Any] = {
            "id": f"msg_{exchange_id.partition('_')[2]}",
            "type": "message",
            "role": "assistant",
            "model": model,
        }
        self._block = -1
        self._open: int | str | None = None  # the tool call, or "text", whose block is open
        self._text: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def opening(self) -> bytes:
        """`message_start`."""
        usage = {"input_tokens": 0, "output_tokens": 0}
        message = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return _event({"type": "message_start", "message": message})

    def piece(self, event: Delta | ToolDelta) -> bytes:
        """A delta of the block that it belongs to, which is begun if need be."""
        if isinstance(event, Delta):
            begin = b"" if self._open == "text" else self._begin("text", {"type": "text", "text": ""})
            return begin + self._before + _encoder.encode(event.text) + b"}}\n\n"
        begin = b""
        if self._open != event.index:
            block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
            begin = self._begin(event.index, block)
        if not event.arguments:
            return begin
        delta = {"type": "input_json_delta", "partial_json": event.arguments}
        return begin + _event({"type": "content_block_delta", "index": self._block, "delta": delta})

    def closing(self, end: Finished) -> bytes:
        """The end of the last block, why it ended, `message_stop`."""
        delta = {"stop_reason": _reason(end), "stop_sequence": None}
        last = _event({"type": "message_delta", "delta": delta, "usage": _usage(end.usage), **explained(end)})
        return self._end() + last + _event({"type": "message_stop"})

    def broken(self, error: Refused | Unavailable, exchange_id: str) -> bytes:
        """The error as an event."""
        return _event(_error_object(error, exchange_id))

    def gather(self, event: Delta | ToolDelta) -> None:
        """Keep an event for the whole message."""
        if isinstance(event, Delta):
            self._text.append(event.text)
            return
        call = self._calls.setdefault(event.index, ["", "", ""])
        call[0] += event.id
        call[1] += event.name
        call[2] += event.arguments

    def whole(self, end: Finished) -> bytes:
        """The message as one object."""
        content: list[dict[str, Any]] = []
        if text := "".join(self._text):
            content.append({"type": "text", "text": text})
        for index in sorted(self._calls):
            call_id, name, arguments = self._calls[index]
            content.append({"type": "tool_use", "id": call_id, "name": name, "input": _object(arguments)})
        rest = {"stop_reason": _reason(end), "stop_sequence": None, "usage": _usage(end.usage), **explained(end)}
        return _encoder.encode({**self._head, "content": content, **rest})

    def _begin(self, what: int | str, block: dict[str, Any]) -> bytes:
        before = self._end()
        self._open = what
        self._block += 1
        self._before = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
            b'{"type":"text_delta","text":' % self._block
        )
        return before + _event({"type": "content_block_start", "index": self._block, "content_block": block})

    def _end(self) -> bytes:
        return b"" if self._open is None else _event({"type": "content_block_stop", "index": self._block})


_encoder = msgspec.json.Encoder()


def _event(payload: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), _encoder.encode(payload))


def _error_object(error: Refused | Unavailable, exchange_id: str) -> dict[str, Any]:
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    told = {"type": kind, "message": error.message, "code": error.code}
    return {"type": "error", "error": told, "request_id": exchange_id}


def _reason(end: Finished) -> str:
    return {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[end.reason]


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }


def _object(arguments: str) -> dict[str, Any]:
    """A tool call's arguments; what is no object (a model may write anything) is kept under one name."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def _joined(content: str | list[_Text] | None) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content or ())


def _messages(sent: _Message) -> list[Message]:
    """One of theirs as ours: results of tools are messages of their own."""
    if isinstance(sent.content, str):
        return [Message(sent.role, sent.content)]
    texts: list[str] = []
    calls: list[ToolCall] = []
    results: list[Message] = []
    for block in sent.content:
        if isinstance(block, _Text):
            texts.append(block.text)
        elif isinstance(block, _ToolUse):
            if sent.role != "assistant":
                raise wrong("messages", "Only the assistant uses tools.")
            calls.append(ToolCall(block.id, block.name, msgspec.json.encode(block.input).decode()))
        else:
            if sent.role != "user":
                raise wrong("messages", "Results of tools come from the user.")
            text = _joined(block.content)
            results.append(Message("tool", text, tool_call_id=block.tool_use_id))
    if texts or calls:
        results.append(Message(sent.role, "\n".join(texts) if texts else None, tool_calls=tuple(calls)))
    if not results:
        raise wrong("messages", "A message needs a text.")
    return results


def _choice(sent: _Body) -> str:
    if sent.tool_choice is None:
        return "auto"
    names = {tool.name for tool in sent.tools or ()}
    match sent.tool_choice.type:
        case "tool":
            if sent.tool_choice.name not in names:
                raise wrong("tool_choice", "It names a tool that is not in tools.")
            return f"name:{sent.tool_choice.name}"
        case "any":
            if not names:
                raise wrong("tool_choice", "There are no tools to choose from.")
            return "required"
        case kind:
            return kind
