"""A tool call that the client demands, held by grammar: `tool_choice` of `required` or of one named function.

llama.cpp honours such a choice only for some models' templates and otherwise answers in prose. So the demand is turned
into what always holds, a JSON answer to a schema, and the answer is turned back into a tool call.
"""

from typing import Any

import msgspec

from freehold.protocol.chat import ChatRequest, Delta, Event, Finished, Message, Tool, ToolDelta
from freehold.protocol.ids import new_id
from freehold.runner.engines.engine import EngineFailure
from freehold.runner.engines.schema import Unsupported, loose_grammar


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw


class ForcedCall:
    """The demand of one request: what to ask the engine instead, and how to read its answer."""

    def __init__(self, request: ChatRequest) -> None:
        name = request.tool_choice.removeprefix("name:") if request.tool_choice.startswith("name:") else None
        tools = [tool for tool in request.tools if name in (None, tool.name)]
        if not tools:
            raise EngineFailure("invalid_schema")
        self._only = tools[0] if len(tools) == 1 else None
        self._text: list[str] = []
        self._begun = False
        schema = _parameters(self._only) if self._only else _one_of(tools)
        try:
            self.grammar = loose_grammar(schema)
        except Unsupported:
            raise EngineFailure("invalid_schema") from None
        self.request = msgspec.structs.replace(
            request, messages=_told(request.messages, _instruction(tools)), tools=(), tool_choice="none"
        )

    def read(self, event: Event) -> list[Event]:
        """The engine's event as the client shall see it."""
        if isinstance(event, Delta):
            if self._only is None:
                self._text.append(event.text)
                return []
            first = not self._begun
            self._begun = True
            identity = (new_id("call"), self._only.name) if first else ("", "")
            return [ToolDelta(0, *identity, arguments=event.text)]
        if isinstance(event, Finished) and event.reason == "stop":
            end = Finished("tool_calls", event.usage)
            return [end] if self._only else [*self._chosen(), end]
        return [event]

    def _chosen(self) -> list[Event]:
        try:
            call = msgspec.json.decode("".join(self._text), type=_Call)
        except msgspec.DecodeError:
            raise EngineFailure("engine_failed") from None
        return [ToolDelta(0, new_id("call"), call.name, bytes(call.arguments).decode())]


def _parameters(tool: Tool) -> dict[str, Any]:
    """The tool's schema, closed where it does not say otherwise: small models invent further arguments without end."""
    return {"type": "object", "properties": {}, "additionalProperties": False, **tool.parameters}


def _one_of(tools: list[Tool]) -> dict[str, Any]:
    """`{"name": …, "arguments": …}` for one of the tools; their own references move with them."""
    definitions, choices = {}, []
    for number, tool in enumerate(tools):
        place = f"tool{number}"
        definitions[place] = _moved(_parameters(tool), f"#/$defs/{place}")
        choices.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{place}"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return {"$defs": definitions, "anyOf": choices}


def _moved(node: Any, root: str, depth: int = 0) -> Any:
    if depth > 64:
        raise EngineFailure("invalid_schema")
    if isinstance(node, list):
        return [_moved(item, root, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: root + value[1:]
        if name == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, root, depth + 1)
        for name, value in node.items()
    }


def _instruction(tools: list[Tool]) -> str:
    listed = "\n".join(
        msgspec.json.encode(
            {"name": tool.name, "description": tool.description, "parameters": _parameters(tool)}
        ).decode()
        for tool in tools
    )
    if len(tools) == 1:
        return f"You call this function now. Answer only with the JSON object of its arguments.\n{listed}"
    return f'You call one of these functions now. Answer only with JSON: {{"name": …, "arguments": …}}.\n{listed}'


def _told(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """The instruction joins the first system message: many templates know no other place for one."""
    if messages and messages[0].role == "system":
        joined = f"{messages[0].content}\n\n{instruction}"
        return (msgspec.structs.replace(messages[0], content=joined), *messages[1:])
    return (Message("system", instruction), *messages)
