"""The OpenAI dialect that engines speak: our request → its JSON, its stream → our events, its errors → our codes.

Used by the embedded llama.cpp and by servers outside, always with `stream`: a stream is the only form in which an
engine notices soon that its client has left. Nothing that an engine writes in an error is passed on.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.protocol.chat import (
    ChatRequest,
    Delta,
    Event,
    Finished,
    Message,
    Tool,
    ToolDelta,
    Usage,
)
from freehold.protocol.http import PeerGone, UnixClient
from freehold.protocol.ids import new_id
from freehold.protocol.lines import LineCutter, LineTooLong, sse_data
from freehold.runner.engines.engine import EngineFailure, Send

_JSON = {"content-type": "application/json", "accept": "text/event-stream"}
_ERROR_LIMIT = 256 << 10


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _CachedTokens | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Chunk)


def chat_body(request: ChatRequest, model: str, extra: Mapping[str, Any]) -> bytes:
    """A Chat Completions request. `extra` is added on top: what only one kind of engine understands."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "response_format": _response_format(request),
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _tool_choice(request.tool_choice)
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return msgspec.json.encode({name: value for name, value in (body | dict(extra)).items() if value is not None})


async def stream_chat(client: UnixClient, path: str, body: bytes, send: Send, *, structured: bool = False) -> None:
    """POST `body` and send the answer's events. `structured` says that a 400 is about a schema.

    Raises EngineFailure. Leaving early closes the connection, which is what stops the engine.
    """
    try:
        async with client.request("POST", path, body, _JSON) as response:
            if response.status != 200:
                raise EngineFailure(refusal_code(response.status, await response.read(_ERROR_LIMIT), structured))
            reader, cutter = _Reader(), LineCutter()
            async for piece in response.body():
                for payload in sse_data(cutter.feed(piece)):
                    for event in reader.feed(payload):
                        await send(event)
                if reader.done:  # whether or not the server closes its stream now
                    break
            await send(reader.end())
    except (PeerGone, TimeoutError, LineTooLong, msgspec.DecodeError):
        raise EngineFailure("engine_failed") from None


def refusal_code(status: int, body: bytes, structured: bool) -> str:
    """Our code for an engine's error answer. Looks at machine words in `body` only, and passes none of it on."""
    if status in (400, 413, 422):
        if b"exceed_context_size" in body or b"context_length_exceeded" in body:
            return "context_length_exceeded"
        return "invalid_schema" if structured else "unsupported_parameter"
    return {404: "engine_refused", 408: "engine_timeout", 503: "not_ready", 504: "engine_timeout"}.get(
        status, "engine_failed" if status >= 500 else "engine_refused"
    )


class _Reader:
    """The state of one answer's stream."""

    def __init__(self) -> None:
        self.done = False
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._pieces = 0
        self._calls: set[int] = set()

    def feed(self, payload: bytes) -> list[Event]:
        """The events in one server-sent payload. Raises EngineFailure when it reports an error."""
        if self.done or payload == b"[DONE]":
            self.done = True
            return []
        chunk = _decoder.decode(payload)
        if chunk.error is not None:
            raise EngineFailure("engine_failed")
        if chunk.usage is not None:
            details = chunk.usage.prompt_tokens_details
            cached = (details.cached_tokens or 0) if details else 0
            self._usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens, cached)
        return [event for choice in chunk.choices[:1] for event in self._choice(choice)]

    def _choice(self, choice: _Choice) -> list[Event]:
        self._reason = choice.finish_reason or self._reason
        events: list[Event] = []
        if choice.delta and choice.delta.content:
            events.append(Delta(choice.delta.content))
        for call in (choice.delta and choice.delta.tool_calls) or ():
            function = call.function or _Function()
            first = call.index not in self._calls
            self._calls.add(call.index)
            events.append(
                ToolDelta(
                    call.index,
                    (call.id or new_id("call")) if first else "",
                    (function.name or "") if first else "",
                    function.arguments or "",
                )
            )
        self._pieces += len(events)
        return events

    def end(self) -> Finished:
        """How it ended. Raises EngineFailure when the stream stopped without saying."""
        if self._reason is None:
            raise EngineFailure("engine_failed")
        if self._reason == "length":
            return Finished("length", self._usage or Usage(0, self._pieces))
        return Finished("tool_calls" if self._calls else "stop", self._usage or Usage(0, self._pieces))


def _message(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name:
        result["name"] = message.name
    if message.tool_call_id:
        result["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        result["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return result


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _tool_choice(choice: str) -> Any:
    if choice.startswith("name:"):
        return {"type": "function", "function": {"name": choice.removeprefix("name:")}}
    return choice


def _response_format(request: ChatRequest) -> dict[str, Any] | None:
    wanted = request.response_format
    if wanted is None:
        return None
    if wanted.kind == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": wanted.schema or {}}}
