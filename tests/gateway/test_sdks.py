"""The official clients against a real gateway with a scripted runner: Responses and Messages, streamed and whole."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel

from freehold.identity import keys
from tests.gateway.conftest import HEAD, LAST, Stage, chunk, delta

USAGE = {"prompt": 12, "completion": 7, "cached": 2}
TOOLS: Any = [
    {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
]


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx2.AsyncHTTPTransport(uds=str(stage.home.settings.layout.gateway_socket))
    http = openai.DefaultAsyncHttpxClient(transport=transport)
    async with openai.AsyncOpenAI(
        api_key=stage.home.api_key, base_url="http://gateway/v1", http_client=http, max_retries=0
    ) as made:
        yield made


@pytest.fixture
async def claude(stage: Stage) -> AsyncIterator[anthropic.AsyncAnthropic]:
    transport = httpx2.AsyncHTTPTransport(uds=str(stage.home.settings.layout.gateway_socket))
    http = anthropic.DefaultAsyncHttpxClient(transport=transport)
    async with anthropic.AsyncAnthropic(
        api_key=stage.home.api_key, base_url="http://gateway", http_client=http, max_retries=0
    ) as made:
        yield made


def says(*events: dict[str, Any], reason: str = "stop") -> Any:
    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = {"type": "finished", "reason": reason, "usage": USAGE}
        writer.write(HEAD + b"".join(chunk(event) for event in (*events, end)) + LAST)

    return script


def calls_weather() -> Any:
    return says(
        {"type": "tool", "index": 0, "id": "call_1", "name": "weather"},
        {"type": "tool", "index": 0, "arguments": '{"city":'},
        {"type": "tool", "index": 0, "arguments": '"Rome"}'},
        reason="tool_calls",
    )


def sent(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stage.seen[-1].partition(b"\r\n\r\n")[2])
    return found


async def test_a_response_is_made_kept_read_and_deleted(stage: Stage, client: openai.AsyncOpenAI) -> None:
    stage.script = says(delta("Hel"), delta("lo"))
    made = await client.responses.create(model="m", input="Hi", instructions="Be brief.", metadata={"a": "b"})
    assert (made.status, made.output_text, made.metadata) == ("completed", "Hello", {"a": "b"})
    assert made.usage
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (12, 7, 19)
    assert [m["role"] for m in sent(stage)["messages"]] == ["system", "user"]
    again = await client.responses.retrieve(made.id)
    assert again.output_text == "Hello"
    assert again.model_dump() == made.model_dump()
    items = await client.responses.input_items.list(made.id)
    assert [item.type for item in items.data] == ["message"]
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_a_streamed_response_has_every_event_in_order(stage: Stage, client: openai.AsyncOpenAI) -> None:
    stage.script = says(delta("Hel"), delta("lo"))
    kinds, text, last = [], "", -1
    stream = await client.responses.create(model="m", input="Hi", stream=True)
    async for event in stream:
        kinds.append(event.type)
        assert event.sequence_number == last + 1
        last = event.sequence_number
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.completed":
            kept = event.response
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert text == kept.output_text == "Hello"
    assert (await client.responses.retrieve(kept.id)).output_text == "Hello"


async def test_a_conversation_goes_on_from_a_stored_response(stage: Stage, client: openai.AsyncOpenAI) -> None:
    stage.script = says(delta("first"))
    one = await client.responses.create(model="m", input="one", instructions="Not for the next.")
    stage.script = calls_weather()
    two = await client.responses.create(model="m", input="two", previous_response_id=one.id, tools=TOOLS)
    assert [m["content"] for m in sent(stage)["messages"]] == ["one", "first", "two"]
    (call,) = two.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Rome"})
    stage.script = says(delta("Sunny."))
    answer: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"}]
    three = await client.responses.create(model="m", input=answer, previous_response_id=two.id, tools=TOOLS)
    assert three.output_text == "Sunny."
    roles = [m["role"] for m in sent(stage)["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "tool"]
    assert sent(stage)["messages"][3]["tool_calls"][0]["id"] == "call_1"
    items = await client.responses.input_items.list(three.id)
    assert len(items.data) == 6 - 1
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="m", input="x", previous_response_id="resp_none")
    assert caught.value.code == "previous_response_not_found"


async def test_what_is_not_to_be_stored_is_not(stage: Stage, client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(model="m", input="Hi", store=False)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_another_keys_response_is_as_none(stage: Stage, client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(model="m", input="Hi")
    home = stage.home
    _, other = await keys.create_key(home.database, home.key, home.workspace.id, None, "other")
    told = []
    for response_id in (made.id, "resp_AAAAAAAAAAAAAAAA"):
        for method, path in (
            ("GET", f"/v1/responses/{response_id}"),
            ("GET", f"/v1/responses/{response_id}/input_items"),
            ("DELETE", f"/v1/responses/{response_id}"),
        ):
            headers = {"authorization": f"Bearer {other}"}
            async with stage.client.request(method, path, None, headers) as response:
                body = json.loads(await response.read())
                body["error"].pop("request_id")
                told.append((response.status, json.dumps(body)))
    assert len(set(told)) == 1
    assert told[0][0] == 404
    assert (await client.responses.retrieve(made.id)).id == made.id


async def test_a_streamed_function_call(stage: Stage, client: openai.AsyncOpenAI) -> None:
    stage.script = calls_weather()
    async with client.responses.stream(model="m", input="Rome?", tools=TOOLS) as stream:
        arguments = "".join(
            [event.delta async for event in stream if event.type == "response.function_call_arguments.delta"]
        )
        final = await stream.get_final_response()
    assert json.loads(arguments) == {"city": "Rome"}
    assert final.output[0].type == "function_call"


class Answer(BaseModel):
    city: str


async def test_a_parsed_response(stage: Stage, client: openai.AsyncOpenAI) -> None:
    stage.script = says(delta('{"city": "Rome"}'))
    made = await client.responses.parse(model="m", input="Where?", text_format=Answer)
    assert made.output_parsed == Answer(city="Rome")
    assert sent(stage)["response_format"]["kind"] == "json_schema"


async def test_a_cut_and_a_broken_response(stage: Stage, client: openai.AsyncOpenAI) -> None:
    stage.script = says(delta("Hel"), reason="length")
    made = await client.responses.create(model="m", input="Hi", max_output_tokens=16)
    assert made.status == "incomplete"
    assert made.incomplete_details
    assert made.incomplete_details.reason == "max_output_tokens"

    async def breaks(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("Hel")) + LAST)

    stage.script = breaks
    stream = await client.responses.create(model="m", input="Hi", stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error
    with pytest.raises(openai.APIStatusError) as caught:
        await client.responses.create(model="m", input="Hi")
    assert caught.value.status_code == 502


@pytest.mark.parametrize(
    "more",
    [
        {"background": True},
        {"tools": [{"type": "web_search"}]},
        {"conversation": "conv_1"},
        {"reasoning": {"effort": "high"}},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        {"input": []},
        {"unheard_of": 1},
        {"temperature": 9},
        {"tool_choice": "required"},
    ],
)
async def test_what_is_not_offered_is_refused_clearly(
    stage: Stage, client: openai.AsyncOpenAI, more: dict[str, Any]
) -> None:
    status, _, body = await stage.post("/v1/responses", {"model": "m", "input": "Hi", **more})
    assert status == 400
    assert json.loads(body)["error"]["code"]
    assert not stage.seen


async def test_a_message(stage: Stage, claude: anthropic.AsyncAnthropic) -> None:
    stage.script = says(delta("Hel"), delta("lo"))
    made = await claude.messages.create(
        model="m",
        max_tokens=100,
        system="Be brief.",
        messages=[{"role": "user", "content": "Hi"}],
        stop_sequences=["x"],
    )
    assert made.content[0].type == "text"
    assert (made.content[0].text, made.stop_reason) == ("Hello", "end_turn")
    assert (made.usage.input_tokens, made.usage.cache_read_input_tokens, made.usage.output_tokens) == (10, 2, 7)
    assert sent(stage)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent(stage)["max_tokens"] == 100


async def test_a_streamed_message(stage: Stage, claude: anthropic.AsyncAnthropic) -> None:
    stage.script = says(delta("Hel"), delta('lo "you"'))
    async with claude.messages.stream(
        model="m", max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == 'Hello "you"'
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 7)


async def test_a_tool_is_used_and_its_result_read(stage: Stage, claude: anthropic.AsyncAnthropic) -> None:
    tools: Any = [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]
    asked: Any = [{"role": "user", "content": "Rome?"}]
    stage.script = calls_weather()
    for streamed in (False, True):
        if streamed:
            async with claude.messages.stream(model="m", max_tokens=9, messages=asked, tools=tools) as stream:
                made: Any = await stream.get_final_message()
        else:
            made = await claude.messages.create(model="m", max_tokens=9, messages=asked, tools=tools)
        assert made.stop_reason == "tool_use"
        assert (made.content[0].name, made.content[0].input) == ("weather", {"city": "Rome"})
    result: Any = [
        *asked,
        {"role": "assistant", "content": [block.model_dump() for block in made.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "sun"}]},
    ]
    stage.script = says(delta("Sunny."))
    await claude.messages.create(model="m", max_tokens=9, messages=result, tools=tools, tool_choice={"type": "any"})
    assert [m["role"] for m in sent(stage)["messages"]] == ["user", "assistant", "tool"]
    assert sent(stage)["tool_choice"] == "required"


async def test_errors_as_its_client_reads_them(stage: Stage, claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        await claude.messages.create(model="nope", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    assert body["request_id"] == caught.value.request_id or body["request_id"].startswith("exg_")
    with pytest.raises(anthropic.AuthenticationError):
        await claude.with_options(api_key="fh_wrong").messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        )

    async def breaks(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("Hel")) + LAST)

    stage.script = breaks
    with pytest.raises(anthropic.APIStatusError):
        async with claude.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        ) as stream:
            await stream.get_final_message()


@pytest.mark.parametrize(
    "more",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"top_k": 5},
        {"max_tokens": 0},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "x", "name": "y", "input": {}}]}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tool_choice": {"type": "tool", "name": "none"}},
        {"unheard_of": 1},
    ],
)
async def test_what_messages_do_not_offer_is_refused_in_their_shape(stage: Stage, more: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **more}
    status, _, answer = await stage.post("/v1/messages", body)
    assert (status, json.loads(answer)["type"]) == (400, "error")
    assert json.loads(answer)["error"]["type"] == "invalid_request_error"
