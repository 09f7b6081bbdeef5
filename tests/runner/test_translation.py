"""The parts of the engines that need no engine: the schema walk, demanded tool calls, the check of held JSON."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from freehold.protocol.chat import ChatRequest, Delta, Event, Finished, Message, ResponseFormat, Tool, ToolDelta, Usage
from freehold.runner.config import LlamaCpp, RunnerConfig, decode, encode
from freehold.runner.engines.engine import EngineFailure
from freehold.runner.engines.forced import ForcedCall
from freehold.runner.engines.held import HeldJson
from freehold.runner.engines.schema import Unsupported, grammar, narrowed

USER = Message("user", "hi")
USAGE = Usage(1, 1)
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3)
    | some.dictionaries(
        some.sampled_from(
            ["type", "enum", "items", "properties", "required", "$ref", "format", "pattern", "minimum", "maximum",
             "anyOf", "minItems", "maxItems", "const", "not", "multipleOf", "$defs"]
        ) | some.text(max_size=3), inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def test_a_configuration_survives_its_coding() -> None:
    config = RunnerConfig("/r.sock", (LlamaCpp("m", "/m.gguf", 2048, 3),), readable=("/models",), writable=("/run",))
    assert decode(encode(config)) == config


# --- schemas


@settings(max_examples=300, deadline=None)
@given(some.dictionaries(some.text(max_size=4), JSON, max_size=3) | JSON)
def test_any_value_is_taken_or_refused(value: Any) -> None:
    """No schema, however wrong, raises anything else; what is narrowed is then good also when strict."""
    if not isinstance(value, dict):
        value = {"items": value}
    for check in (grammar, narrowed):
        try:
            result: Any = check(value)
        except Unsupported:
            continue
        if check is narrowed:
            assert grammar(result).startswith("%llguidance")


def test_notes_are_dropped_and_the_unknown_is_refused() -> None:
    assert "secret note" not in grammar({"type": "string", "description": "secret note"}).split("%json")[0]
    with pytest.raises(Unsupported):
        grammar({"type": "array", "uniqueItems": True})
    assert narrowed({"type": "array", "uniqueItems": True, "title": "x"}) == {"type": "array"}


def test_a_property_may_be_called_like_a_keyword() -> None:
    schema = {"type": "object", "properties": {"not": {"type": "string"}, "$ref": {"type": "null"}}}
    assert narrowed(schema) == schema


@pytest.mark.parametrize("reference", ["#/$defs/a~1b", "#/$defs/t~0c"])
def test_references_with_escapes(reference: str) -> None:
    grammar({"$defs": {"a/b": {"type": "null"}, "t~c": {"type": "null"}}, "$ref": reference})


def test_it_is_bounded() -> None:
    wide = {"type": "object", "properties": {f"p{number}": {} for number in range(3000)}}
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"items": deep}
    for schema in (wide, deep, {"maxLength": 10**6}, {"minLength": 5, "maxLength": 4}, {"type": "string", "enum": []}):
        with pytest.raises(Unsupported):
            grammar(schema)


# --- demanded calls

A = Tool(
    "a", parameters={"$defs": {"n": {"type": "integer"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/n"}}}
)
B = Tool("b")


def forced(choice: str, *tools: Tool, messages: tuple[Message, ...] = (USER,)) -> ForcedCall:
    return ForcedCall(ChatRequest("m", messages, tools=tools, tool_choice=choice))


def test_one_function_is_streamed_as_it_comes() -> None:
    call = forced("name:a", A, B)
    events = [event for text in ('{"x"', ":1}") for event in call.read(Delta(text))]
    assert all(isinstance(event, ToolDelta) for event in events)
    assert [getattr(event, "name", "") for event in events] == ["a", ""]
    assert "".join(getattr(event, "arguments", "") for event in events) == '{"x":1}'
    assert call.read(Finished("stop", USAGE)) == [Finished("tool_calls", USAGE)]


def test_one_of_several_is_known_at_the_end() -> None:
    call = forced("required", A, B)
    assert call.read(Delta('{"name":"b","arg')) == call.read(Delta('uments":{}}')) == []
    first, end = call.read(Finished("stop", USAGE))
    assert isinstance(first, ToolDelta)
    assert (first.name, first.arguments) == ("b", "{}")
    assert end == Finished("tool_calls", USAGE)
    assert "#/$defs/tool0/$defs/n" in call.grammar


def test_a_cut_call_ends_with_length_and_nonsense_fails() -> None:
    assert forced("required", A, B).read(Finished("length", USAGE)) == [Finished("length", USAGE)]
    call = forced("required", A, B)
    call.read(Delta("no JSON"))
    with pytest.raises(EngineFailure) as failed:
        call.read(Finished("stop", USAGE))
    assert failed.value.code == "engine_failed"


def test_the_instruction_joins_the_first_system_message() -> None:
    request = forced("required", A, messages=(Message("system", "Be kind."), USER)).request
    assert [message.role for message in request.messages] == ["system", "user"]
    assert (request.messages[0].content or "").startswith("Be kind.\n\n")
    assert (request.tools, request.tool_choice) == ((), "none")
    assert [message.role for message in forced("required", A).request.messages] == ["system", "user"]


@pytest.mark.parametrize("choice", ["name:c", "name:", "sometimes"])
def test_a_choice_that_is_none(choice: str) -> None:
    if choice == "sometimes":
        assert forced(choice, A, B).grammar  # anything else demands some call
        return
    with pytest.raises(EngineFailure) as failed:
        forced(choice, A, B)
    assert failed.value.code == "invalid_schema"


# --- held JSON


def watch(*texts: str, reason: Any = "stop", stop: tuple[str, ...] = ()) -> str:
    """The code with which the check ends an answer, or nothing."""
    held = HeldJson(ChatRequest("m", (USER,), stop=stop, response_format=ResponseFormat("json_object")))
    events: list[Event] = [*(Delta(text) for text in texts), Finished(reason, USAGE)]
    try:
        for event in events:
            held.watch(event)
    except EngineFailure as failure:
        return failure.code
    return ""


@pytest.mark.parametrize(
    "texts", [["{", "}"], [" ", "tr", "ue"], ["-", "1"], ['"a"'], ["null"], ["[", "1]", "\n"], ["f", "alse"]]
)
def test_json_passes(texts: list[str]) -> None:
    assert watch(*texts) == ""


@pytest.mark.parametrize("texts", [["Hello"], ["I", "'m"], ["n", "ever"], ["truth"], ["  \n", "Sure: {}"], ["falsely"]])
def test_prose_is_refused_at_its_first_pieces(texts: list[str]) -> None:
    assert watch(*texts) == "invalid_schema"


@pytest.mark.parametrize("texts", [[], ["{"], ["1", " apple"], ["{}", "{}"]])
def test_what_is_not_json_in_the_end_fails(texts: list[str]) -> None:
    assert watch(*texts) == "engine_failed"


def test_what_was_cut_need_not_be_whole() -> None:
    assert watch("{", reason="length") == ""
    assert watch("{", stop=("}",)) == ""
