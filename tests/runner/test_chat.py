"""Chat with the real tiny model through a real runner: answers, limits, structure, leaving."""

import asyncio
import json
import time
from typing import Any

import pytest

from freehold.protocol.chat import RUNNER_CODES
from tests.conftest import until
from tests.runner.conftest import CONTEXT, Client, Running, ask

MARKER = "zebra-quartz-4711"
LONG = "word " * 440


async def test_an_answer_with_its_usage(runner: Client) -> None:
    answer = await runner.chat("What is 1 + 1?")
    assert answer.text.strip()
    assert answer.end.usage.prompt > 10
    assert 0 < answer.end.usage.completion <= 16


async def test_health_says_what_there_is(runner: Client) -> None:
    health = await runner.health()
    assert health["in_flight"] == 0
    assert health["engines"] == [{"name": "m", "kind": "llamacpp", "ready": True, "context": CONTEXT, "slots": 2}]


async def test_it_ends_at_the_limit(runner: Client) -> None:
    answer = await runner.chat("Tell a long story.", max_tokens=5)
    assert (answer.end.reason, answer.end.usage.completion) == ("length", 5)


async def test_it_ends_by_itself(runner: Client) -> None:
    answer = await runner.chat("Answer with the word yes.", max_tokens=200)
    assert (answer.status, answer.end.reason) == (200, "stop")


async def test_it_ends_before_a_stop_sequence(runner: Client) -> None:
    whole = await runner.chat("What is the capital of France?")
    word = whole.text.split()[1]
    cut = await runner.chat("What is the capital of France?", stop=[word])
    assert cut.end.reason == "stop"
    assert word not in cut.text
    assert whole.text.startswith(cut.text)


async def test_an_unnamed_assistant_is_the_first_chat_engine(runner: Client) -> None:
    assert (await runner.chat(assistant="")).status == 200


async def test_the_same_seed_gives_the_same_answer(runner: Client) -> None:
    texts = {(await runner.chat("Invent a name.", temperature=1.2, seed=7)).text for _ in range(2)}
    assert len(texts) == 1


async def test_a_repeated_prompt_comes_from_the_cache(runner: Client) -> None:
    question = "Cache this. " * 20
    await runner.chat(question)
    assert (await runner.chat(question)).end.usage.cached > 50


async def test_a_prompt_that_is_too_long(runner: Client) -> None:
    answer = await runner.chat("word " * (CONTEXT + 200))
    assert (answer.status, answer.code) == (400, "context_length_exceeded")


@pytest.mark.slow
async def test_an_answer_longer_than_the_context_ends_with_length(runner: Client) -> None:
    answer = await runner.chat("word " * (CONTEXT - 60), max_tokens=100_000, temperature=1.5)
    assert answer.end.reason in ("length", "stop")
    assert answer.end.usage.prompt + answer.end.usage.completion <= CONTEXT


@pytest.mark.slow
async def test_two_are_answered_at_once_and_a_third_waits(runner: Client) -> None:
    tasks = [asyncio.create_task(runner.chat("Count to one hundred.", max_tokens=24)) for _ in range(3)]
    await until(lambda: _in_flight(runner, 3))
    answers = await asyncio.gather(*tasks)
    assert {answer.status for answer in answers} == {200}


async def _in_flight(runner: Client, wanted: int) -> bool:
    return bool((await runner.health())["in_flight"] == wanted)


@pytest.mark.parametrize("name", ["nothing", "M", "../m"])
async def test_an_unknown_model(runner: Client, name: str) -> None:
    answer = await runner.chat(assistant=name)
    assert (answer.status, answer.code) == (404, "model_not_found")


async def test_a_chat_model_makes_no_vectors(runner: Client) -> None:
    status, body = await runner.post("/embeddings", {"assistant": "m", "inputs": ["x"]})
    assert (status, json.loads(body)["code"]) == (400, "unsupported_parameter")


# --- structure


async def test_any_json_object(runner: Client) -> None:
    answer = await runner.chat("Write a poem.", max_tokens=60, response_format={"kind": "json_object"})
    assert answer.end.reason in ("stop", "length")
    assert answer.text.startswith("{")
    if answer.end.reason == "stop":
        assert isinstance(json.loads(answer.text), dict)


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
SCHEMAS: list[dict[str, Any]] = [
    PERSON,
    {"enum": ["red", "green"]},
    {"const": "exactly this"},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    {"type": "string", "pattern": "^[a-f]{4}-[0-9]{2}$"},
    {"type": "string", "format": "date"},
    {"anyOf": [{"type": "null"}, {"const": 3}]},
    {"$defs": {"c": {"enum": [1, 2]}}, "type": "object", "properties": {"c": {"$ref": "#/$defs/c"}}, "required": ["c"],
     "additionalProperties": False},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: "-".join(schema)[:24])
async def test_a_schema_is_held(runner: Client, schema: dict[str, Any]) -> None:
    wanted = {"kind": "json_schema", "schema": schema}
    answer = await runner.chat("Write a poem, not JSON.", temperature=1.5, max_tokens=120, response_format=wanted)
    assert answer.end.reason == "stop", answer.text
    check(json.loads(answer.text), schema)


def check(value: Any, schema: dict[str, Any]) -> None:
    """Enough of a validator for SCHEMAS."""
    import re

    if "enum" in schema:
        assert value in schema["enum"]
    if "const" in schema:
        assert value == schema["const"]
    if "pattern" in schema:
        assert re.search(schema["pattern"], value)
    if schema.get("format") == "date":
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", value)
    if "anyOf" in schema:
        assert value in (None, 3)
    if schema.get("type") == "array":
        assert schema["minItems"] <= len(value) <= schema["maxItems"]
        assert all(isinstance(item, bool) for item in value)
    if schema is PERSON:
        assert set(value) == {"name", "age"}
        assert len(value["name"]) <= 12
        assert 1 <= value["age"] <= 9
    elif schema.get("type") == "object":
        assert value["c"] in (1, 2)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "not": {"type": "string"}},
        {"type": "strange"},
        {"$ref": "https://example.org/schema"},
        {"$ref": "#/$defs/missing"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "string", "format": ["date"]},
        {"type": "integer", "minimum": 5, "maximum": 1},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "number", "multipleOf": 0},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"uniqueItems": True},
        json.loads('{"items":' * 40 + "true" + "}" * 40),
    ],
    ids=lambda schema: str(schema)[:40],
)
async def test_a_schema_that_cannot_be_held_is_refused(runner: Client, schema: dict[str, Any]) -> None:
    began = time.monotonic()
    answer = await runner.chat(response_format={"kind": "json_schema", "schema": schema})
    assert (answer.status, answer.code) == (400, "invalid_schema")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "(((((a{900}){900}){900}){900}){900})"},
        {"type": "array", "minItems": 10000, "items": {"type": "array", "minItems": 10000, "items": {"type": "array"}}},
        {"enum": [f"choice {number}" for number in range(2000)]},
    ],
    ids=["pattern", "array", "enum"],
)
async def test_a_schema_with_large_numbers_takes_no_long_time(runner: Client, schema: dict[str, Any]) -> None:
    began = time.monotonic()
    answer = await runner.chat(max_tokens=4, response_format={"kind": "json_schema", "schema": schema})
    assert answer.code in ("", "invalid_schema")
    assert time.monotonic() - began < 2


async def test_a_stop_sequence_may_cut_an_object(runner: Client) -> None:
    wanted = {"kind": "json_schema", "schema": PERSON}
    answer = await runner.chat(max_tokens=120, response_format=wanted, stop=["age"])
    assert answer.end.reason == "stop"
    assert "age" not in answer.text


# --- tools

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "unit"],
    },
}
TIME = {"name": "get_time", "parameters": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}},
        "required": ["zone"]}}  # fmt: skip


async def test_a_named_function_is_called_with_arguments_of_its_schema(runner: Client) -> None:
    answer = await runner.chat(
        "Weather in Paris?", max_tokens=100, tools=[TIME, WEATHER], tool_choice="name:get_weather"
    )
    assert answer.end.reason == "tool_calls"
    assert list(answer.calls) == ["get_weather"]
    arguments = json.loads(answer.calls["get_weather"])
    assert set(arguments) == {"city", "unit"}
    assert arguments["unit"] in ("C", "F")
    assert not answer.text


async def test_one_of_several_is_called_when_required(runner: Client) -> None:
    answer = await runner.chat("What time is it?", max_tokens=120, tools=[TIME, WEATHER], tool_choice="required")
    assert answer.end.reason == "tool_calls"
    (called,) = answer.calls
    assert called in ("get_time", "get_weather")
    assert isinstance(json.loads(answer.calls[called]), dict)


async def test_a_function_that_is_not_there_cannot_be_demanded(runner: Client) -> None:
    answer = await runner.chat(tools=[TIME], tool_choice="name:other")
    assert (answer.status, answer.code) == (400, "invalid_schema")


async def test_tools_may_be_left_alone(runner: Client) -> None:
    answer = await runner.chat("Say hi.", tools=[TIME], tool_choice="none")
    assert answer.status == 200
    assert not answer.calls


async def test_a_conversation_with_a_tools_result(runner: Client) -> None:
    call = {"id": "call_1", "name": "get_time", "arguments": '{"zone":"UTC"}'}
    messages = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12:00", "tool_call_id": "call_1"},
    ]
    assert (await runner.chat(messages=messages, tools=[TIME])).status == 200


# --- leaving


async def test_leaving_while_it_writes_frees_the_slot(runner: Client) -> None:
    body = json.dumps(ask("Count to one thousand.", max_tokens=900)).encode()
    async with runner.http.request("POST", "/chat", body) as response:
        await anext(response.body())
        assert (await runner.health())["in_flight"] == 1
    assert await until(runner.idle) < 0.2


async def test_leaving_while_it_reads_frees_the_slot(runner: Client) -> None:
    task = asyncio.create_task(runner.chat(LONG))
    await until(lambda: _in_flight(runner, 1))
    task.cancel()
    assert await until(runner.idle) < 0.2
    await asyncio.gather(task, return_exceptions=True)


async def test_an_abandoned_prompt_does_not_hold_up_the_next(runner: Client) -> None:
    """Both slots are left in the middle of a long prompt: reading both to the end would take seconds."""
    tasks = [asyncio.create_task(runner.chat(f"{number} {LONG}")) for number in range(2)]
    await until(lambda: _in_flight(runner, 2))
    for task in tasks:
        task.cancel()
    began = time.monotonic()
    assert (await runner.chat(max_tokens=1)).status == 200
    assert time.monotonic() - began < 1
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_who_leave_leave_nothing_behind(runner: Client) -> None:
    async def come_and_go(delay: float) -> None:
        with_limit = asyncio.timeout(delay)
        try:
            async with with_limit:
                await runner.chat("Count.", max_tokens=200)
        except TimeoutError:
            return

    await asyncio.gather(*(come_and_go(0.01 * number) for number in range(40)))
    assert await until(runner.idle) < 1


# --- what it says about it


@pytest.mark.slow
async def test_nothing_of_a_request_is_ever_written(runner: Client, shared: Running) -> None:
    schema = {"type": "object", "properties": {MARKER: {"type": "string", "pattern": f"{MARKER}("}}}
    strange = {"type": "object", "properties": {MARKER: {"type": MARKER}}}
    tool = {"name": MARKER, "parameters": {"type": "object", "properties": {MARKER: {"pattern": "["}}}}
    answers = [
        await runner.chat(MARKER),
        await runner.chat(f"{MARKER} " * CONTEXT),
        await runner.chat(assistant=MARKER),
        await runner.chat(response_format={"kind": "json_schema", "schema": schema}),
        await runner.chat(response_format={"kind": "json_schema", "schema": strange}),
        await runner.chat(tools=[tool], tool_choice="required"),
        await runner.chat(tools=[tool]),
        await runner.chat(messages=[{"role": "tool", "content": MARKER, "tool_call_id": MARKER}]),
    ]
    assert answers[0].status == 200
    assert {answer.code for answer in answers if answer.status != 200} <= set(RUNNER_CODES)
    assert MARKER.encode() not in shared.output
    assert b"runner.listening" in shared.output
    assert all(json.loads(line)["what"] for line in shared.output.splitlines())
