"""The OpenAI Responses dialect at the rim: input items → our words, our events → its typed events. See `dialect`.

A response may go on from a stored one: `Request.asked` is given the items that came before. What is stored is the
request's own input items and the response object; both are JSON as a client sees it. Tools that OpenAI runs itself (web
search, files, code) and background work are refused.
"""

import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from freehold.protocol.chat import (
    ChatRequest,
    Delta,
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
from freehold.protocol.errors import Refused, Unavailable, error_body, error_object
from freehold.protocol.json import parse_object
from freehold.protocol.parameters import Table, check_ranges, encode, wrong

error = error_body
"""How an error is told. See `dialect.Dialect`."""

Item = dict[str, Any]
"""An input or output item, as a client sees it."""

_TABLE = Table(
    ignored=frozenset(
        {"user", "include", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "stream_options"}
    ),
    refused=frozenset(
        {"background", "conversation", "prompt", "reasoning", "max_tool_calls", "top_logprobs", "truncation",
         "context_management", "moderation"}
    ),
    neutral={"background": (False,), "reasoning": ({},), "top_logprobs": (0,), "truncation": ("disabled",)},
)  # fmt: skip

_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "max_output_tokens": (1, 1 << 20),
}
_MOST_METADATA = 16


class _InputText(msgspec.Struct, tag="input_text", tag_field="type"):
    text: str


class _OutputText(msgspec.Struct, tag="output_text", tag_field="type"):
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class _RefusalPart(msgspec.Struct, tag="refusal", tag_field="type"):
    refusal: str


_Part = _InputText | _OutputText | _RefusalPart


class _MessageItem(msgspec.Struct, tag="message", tag_field="type"):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[_Part]
    id: str | None = None
    status: str | None = None


class _CallItem(msgspec.Struct, tag="function_call", tag_field="type"):
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None


class _OutputItem(msgspec.Struct, tag="function_call_output", tag_field="type"):
    call_id: str
    output: str | list[_InputText]
    id: str | None = None
    status: str | None = None


_ITEMS = list[_MessageItem | _CallItem | _OutputItem]


class _Tool(msgspec.Struct):
    type: Literal["function"]
    name: str
    parameters: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class _ToolChoice(msgspec.Struct):
    type: Literal["function"]
    name: str


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _TextOptions(msgspec.Struct):
    format: _Format | None = None


class _Body(msgspec.Struct):
    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: _TextOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    metadata: dict[str, str] | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None


PARAMETERS = _Body.__struct_fields__
"""The parameters of `/v1/responses` that are understood."""


class Request(msgspec.Struct, frozen=True):
    """A request that is read but not yet joined with what came before it. `items` are its own input items."""

    body: _Body
    items: list[Item]
    bounds: Bounds

    @property
    def previous_id(self) -> str | None:
        """The response that it goes on from."""
        return self.body.previous_response_id

    @property
    def stored(self) -> bool:
        """Whether the response is to be kept."""
        return self.body.store is not False

    def asked(self, before: Sequence[Item] = ()) -> Asked:
        """What is asked, after the items of the conversation so far. Raises Refused 400."""
        return _asked(self, [*before, *self.items])


def read(body: bytes, bounds: Bounds) -> Request:
    """Bytes from a client → `Request`. Raises Refused 400."""
    sent = _TABLE.convert(parse_object(body, max_depth=bounds.max_depth), _Body)
    check_ranges(sent, _RANGES)
    if sent.metadata and len(sent.metadata) > _MOST_METADATA:
        raise wrong("metadata", f"At most {_MOST_METADATA} members.")
    items: list[Item] = (
        [{"type": "message", "role": "user", "content": sent.input}] if isinstance(sent.input, str) else sent.input
    )
    if not 1 <= len(items) <= bounds.max_messages:
        raise wrong("input", f"There must be 1 to {bounds.max_messages} items.")
    return Request(sent, [{"type": "message", **item} if "role" in item else item for item in items], bounds)


def listed_items(items: Sequence[Item]) -> list[Item]:
    """Input items as they are listed: each with an id, texts as parts."""
    told = []
    for number, item in enumerate(items):
        content = item.get("content")
        parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        told.append({**item, "id": item.get("id") or f"item_{number}", **({"content": parts} if parts else {})})
    return told


class ResponseWriter:
    """Our events → one response. See `dialect.Writer`. `request` is what the object repeats of the request."""

    def __init__(self, exchange_id: str, model: str, request: _Body) -> None:
        self.id = f"resp_{exchange_id.partition('_')[2]}"
        self._request = request
        self._model = model
        self._created = time.time()
        self._sequence = 0
        self._output: list[Item] = []
        self._texts: list[str] = []
        self._arguments: list[str] = []
        self._call: int | None = None  # which tool call is open
        self._finished = b""

    def opening(self) -> bytes:
        """`response.created` and `response.in_progress`."""
        begun = self._object("in_progress")
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def piece(self, event: Delta | ToolDelta) -> bytes:
        """A delta of the item that it belongs to, which is begun if need be."""
        begin = self._take(event)
        item, index = self._output[-1], len(self._output) - 1
        if isinstance(event, Delta):
            where = {"item_id": item["id"], "output_index": index, "content_index": 0}
            return begin + self._event("response.output_text.delta", **where, delta=event.text, logprobs=[])
        if not event.arguments:
            return begin
        where = {"item_id": item["id"], "output_index": index}
        return begin + self._event("response.function_call_arguments.delta", **where, delta=event.arguments)

    def closing(self, end: Finished) -> bytes:
        """The end of the last item, and of the response."""
        last = self._finished or self._end()
        told = self.object(end)
        return last + self._event(f"response.{told['status']}", response=told)

    def broken(self, error: Refused | Unavailable, exchange_id: str) -> bytes:
        """`response.failed`, and the error as an event."""
        told = error_object(error, exchange_id)["error"]
        failed = self._object("failed")
        failed["error"] = {"code": told["code"] or "server_error", "message": told["message"]}
        return self._event("response.failed", response=failed)

    def gather(self, event: Delta | ToolDelta) -> None:
        """Keep an event for the whole response."""
        self._take(event)

    def whole(self, end: Finished) -> bytes:
        """The response as one object."""
        self._end()
        return msgspec.json.encode(self.object(end))

    def finish(self) -> None:
        """Complete the last item, for `object` before the stream is closed; `closing` says so then."""
        self._finished = self._end()

    def object(self, end: Finished) -> dict[str, Any]:
        """The complete response, after `finish`, `closing` or `whole`."""
        cut = end.reason == "length"
        told = self._object("incomplete" if cut else "completed", _usage(end.usage))
        if cut:
            told["incomplete_details"] = {"reason": "max_output_tokens", **explained(end)}
        return told

    def _take(self, event: Delta | ToolDelta) -> bytes:
        """Keep an event; what a stream says when that begins an item."""
        if isinstance(event, Delta):
            begin = b"" if self._output and self._output[-1]["type"] == "message" else self._begin_message()
            self._texts.append(event.text)
            return begin
        begin = b"" if self._call == event.index else self._begin_call(event)
        self._arguments.append(event.arguments)
        return begin

    def _begin_message(self) -> bytes:
        before = self._end()
        item = {
            "type": "message",
            "id": self._item_id("msg"),
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        added = self._add(item)
        where = {"item_id": item["id"], "output_index": len(self._output) - 1, "content_index": 0}
        return before + added + self._event("response.content_part.added", **where, part=_part(""))

    def _begin_call(self, event: ToolDelta) -> bytes:
        before = self._end()
        self._call = event.index
        item = {"type": "function_call", "id": self._item_id("fc"), "status": "in_progress"}
        return before + self._add({**item, "call_id": event.id, "name": event.name, "arguments": ""})

    def _item_id(self, kind: str) -> str:
        return f"{kind}_{self.id.partition('_')[2]}_{len(self._output)}"

    def _add(self, item: Item) -> bytes:
        self._output.append(item)
        return self._event("response.output_item.added", output_index=len(self._output) - 1, item=item)

    def _end(self) -> bytes:
        """Complete the open item."""
        if not self._output or self._output[-1]["status"] != "in_progress":
            return b""
        index, item = len(self._output) - 1, self._output[-1]
        where: dict[str, Any] = {"item_id": item["id"], "output_index": index}
        if item["type"] == "message":
            text, self._texts = "".join(self._texts), []
            item = {**item, "status": "completed", "content": [_part(text)]}
            told = self._event("response.output_text.done", **where, content_index=0, text=text, logprobs=[])
            told += self._event("response.content_part.done", **where, content_index=0, part=_part(text))
        else:
            arguments, self._arguments = "".join(self._arguments), []
            item = {**item, "status": "completed", "arguments": arguments}
            told = self._event("response.function_call_arguments.done", **where, arguments=arguments, name=item["name"])
            self._call = None
        self._output[index] = item
        return told + self._event("response.output_item.done", output_index=index, item=item)

    def _event(self, kind: str, **members: Any) -> bytes:
        payload = {"type": kind, "sequence_number": self._sequence, **members}
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encoder.encode(payload))

    def _object(self, status: str, usage: dict[str, Any] | None = None) -> dict[str, Any]:
        sent = self._request
        return {
            "id": self.id,
            "object": "response",
            "created_at": int(self._created),
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": sent.instructions,
            "max_output_tokens": sent.max_output_tokens,
            "metadata": sent.metadata or {},
            "model": self._model,
            "output": list(self._output),
            "parallel_tool_calls": bool(sent.parallel_tool_calls),
            "previous_response_id": sent.previous_response_id,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": sent.service_tier or "default",
            "store": sent.store is not False,
            "temperature": sent.temperature,
            "text": {"format": _told_format(sent.text)},
            "tool_choice": msgspec.to_builtins(sent.tool_choice or "auto"),
            "tools": sent.tools or [],
            "top_p": sent.top_p,
            "truncation": "disabled",
            "usage": usage,
            "user": None,
        }


_encoder = msgspec.json.Encoder()


def _asked(request: Request, items: list[Item]) -> Asked:
    sent, bounds = request.body, request.bounds
    if len(items) > bounds.max_messages:
        raise wrong("previous_response_id", "The conversation has become too long.")
    messages = [Message("system", sent.instructions)] if sent.instructions else []
    messages += _messages(items)
    tools = _tools(sent)
    chat = ChatRequest(
        assistant=sent.model,
        messages=tuple(messages),
        max_tokens=min(sent.max_output_tokens or bounds.max_tokens, bounds.max_tokens),
        temperature=sent.temperature,
        top_p=sent.top_p,
        response_format=_format(sent.text),
        tools=tools,
        tool_choice=_choice(sent, {tool.name for tool in tools}),
        parallel_tool_calls=bool(sent.parallel_tool_calls),
    )

    def writer(exchange_id: str, model: str) -> ResponseWriter:
        return ResponseWriter(exchange_id, model, sent)

    return Asked(chat, bool(sent.stream), encode(chat), writer, "batch" if sent.service_tier == "flex" else None)


def _messages(items: list[Item]) -> list[Message]:
    """Items as messages; the calls of one turn are one message's."""
    try:
        read_items = msgspec.convert(items, _ITEMS, strict=True)
    except msgspec.ValidationError:
        raise wrong(
            "input", "Items are messages with texts, function_call and function_call_output, each with its members."
        ) from None
    messages: list[Message] = []
    for item in read_items:
        if isinstance(item, _MessageItem):
            role = "system" if item.role == "developer" else item.role
            messages.append(Message(role, _text(item.content)))
        elif isinstance(item, _CallItem):
            call = ToolCall(item.call_id, item.name, item.arguments)
            last = messages[-1] if messages else None
            if last is not None and last.role == "assistant":
                messages[-1] = msgspec.structs.replace(last, tool_calls=(*last.tool_calls, call))
            else:
                messages.append(Message("assistant", None, tool_calls=(call,)))
        else:
            messages.append(Message("tool", _text(item.output), tool_call_id=item.call_id))
    return messages


def _text(content: str | Sequence[_Part]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.refusal if isinstance(part, _RefusalPart) else part.text for part in content)


def _tools(sent: _Body) -> tuple[Tool, ...]:
    if any(tool.get("type") != "function" for tool in sent.tools or ()):
        raise Refused("Only tools of type function are offered.", code="unsupported_parameter", param="tools")
    try:
        tools = msgspec.convert(sent.tools or [], list[_Tool], strict=True)
    except msgspec.ValidationError:
        raise wrong("tools", "A function has a name and a schema in parameters.") from None
    return tuple(Tool(tool.name, tool.description or "", tool.parameters or {}) for tool in tools)


def _choice(sent: _Body, names: set[str]) -> str:
    if sent.tool_choice is None:
        return "auto"
    if isinstance(sent.tool_choice, _ToolChoice):
        if sent.tool_choice.name not in names:
            raise wrong("tool_choice", "It names a function that is not in tools.")
        return f"name:{sent.tool_choice.name}"
    if sent.tool_choice == "required" and not names:
        raise wrong("tool_choice", "There are no tools to choose from.")
    return sent.tool_choice


def _format(text: _TextOptions | None) -> ResponseFormat | None:
    if text is None or text.format is None or text.format.type == "text":
        return None
    if text.format.type == "json_object":
        return ResponseFormat("json_object")
    if text.format.schema is None:
        raise wrong("text.format.schema", "It is needed with the type json_schema.")
    return ResponseFormat("json_schema", text.format.schema)


def _told_format(text: _TextOptions | None) -> dict[str, Any]:
    if text is None or text.format is None:
        return {"type": "text"}
    told: dict[str, Any] = msgspec.to_builtins(text.format)
    return {name: value for name, value in told.items() if value is not None}


def _part(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }
