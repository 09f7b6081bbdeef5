"""The OpenAI dialect: what is understood, what is refused, and that refusals quote nothing of the client's."""

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.protocol import openai
from freehold.protocol.chat import Delta, Embeddings, Finished, ToolDelta, Usage
from freehold.protocol.dialect import Asked, Bounds
from freehold.protocol.errors import Refused

MARK = "zq7Marker"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def parse(body: dict[str, Any] | bytes) -> Asked:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return openai.parse(data, Bounds(64, 100, 1000))


def refusal(body: dict[str, Any] | bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(body)
    assert caught.value.status == 400
    assert MARK not in caught.value.message
    assert MARK not in (caught.value.param or "")
    return caught.value


def test_a_plain_request() -> None:
    call = parse({**HELLO, "max_tokens": 5, "temperature": 0, "stop": "x", "stream": True, "seed": 7})
    assert (call.stream, call.request.max_tokens, call.request.stop, call.request.seed) == (True, 5, ("x",), 7)


def test_the_answer_is_capped() -> None:
    assert parse(HELLO).request.max_tokens == 1000
    assert parse({**HELLO, "max_completion_tokens": 5000}).request.max_tokens == 1000


def test_text_parts_are_joined_and_developer_is_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    call = parse({"model": "m", "messages": [{"role": "developer", "content": parts}]})
    assert (call.request.messages[0].role, call.request.messages[0].content) == ("system", "a\nb")


@pytest.mark.parametrize("name", sorted(openai.IGNORED))
def test_parameters_that_change_nothing_are_ignored(name: str) -> None:
    assert parse({**HELLO, name: MARK}).request == parse(HELLO).request


@pytest.mark.parametrize("name", sorted(openai.REFUSED))
def test_parameters_that_would_change_the_answer_are_refused_by_name(name: str) -> None:
    error = refusal({**HELLO, name: {MARK: 1}})
    assert (error.code, error.param) == ("unsupported_parameter", name)
    assert parse({**HELLO, name: None})


def test_an_unknown_parameter_is_refused_without_its_name() -> None:
    assert refusal({**HELLO, MARK: 1}).code == "unknown_parameter"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": MARK}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": MARK}, "messages"),
        ({"messages": [{"role": MARK, "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"content": MARK}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": MARK}]}]}, None),
        ({"response_format": {"type": MARK}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": MARK}}}, "tool_choice"),
        ({"model": None}, "model"),
    ],
)
def test_wrong_values_name_the_parameter_and_quote_nothing(change: dict[str, Any], param: str | None) -> None:
    error = refusal({**HELLO, **change})
    if param is not None:
        assert error.param == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"model":"m","model":"n"}',
        b'{"model":"m","messages":[{"role":"user","role":"user","content":"x"}]}',
        b'{"model":NaN}',
        b'{"model":"m","temperature":Infinity,"messages":[]}',
        b'{"model":"m","metadata":' + b"[" * 70 + b"]" * 70 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model":"m","seed":' + b"9" * 5000 + b',"messages":[]}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    ],
)
def test_malformed_bodies_are_refused(body: bytes) -> None:
    refusal(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_parsed(body: bytes) -> None:
    try:
        parse(body)
    except Refused as error:
        assert error.status == 400


def test_stream_and_whole_say_the_same() -> None:
    events: list[Delta | ToolDelta] = [
        Delta("Hel"),
        Delta("lo"),
        ToolDelta(0, "call_1", "f", '{"a"'),
        ToolDelta(0, arguments=":1}"),
    ]
    end = Finished("tool_calls", Usage(3, 4, 1))
    streamed, gathered = openai.ChatWriter("exg_1", "m", include_usage=True), openai.ChatWriter("exg_1", "m")
    sent = streamed.opening() + b"".join(map(streamed.piece, events)) + streamed.closing(end)
    *lines, done, _ = sent.decode().split("\n\n")
    assert done == "data: [DONE]"
    *chunks, usage = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert all(chunk["usage"] is None for chunk in chunks)
    for event in events:
        gathered.gather(event)
    whole = json.loads(gathered.whole(end))
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == "Hello" == whole["choices"][0]["message"]["content"]
    assert whole["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["usage"] == usage["usage"]
    assert whole["usage"]["total_tokens"] == 7


def test_embeddings_both_ways() -> None:
    vector = struct.pack("<2f", 0.5, -1.0)
    for wanted in ("float", "base64"):
        body = json.dumps({"model": "e", "input": ["a"], "encoding_format": wanted}).encode()
        call = openai.parse_embeddings(body, max_depth=8)
        sent = json.loads(openai.embeddings_object(call, Embeddings((vector,), 2)))["data"][0]["embedding"]
        assert sent == ([0.5, -1.0] if wanted == "float" else base64.b64encode(vector).decode())


@pytest.mark.parametrize("bad", [[], "", [""], 5, [1, 2], None])
def test_bad_embedding_inputs(bad: object) -> None:
    with pytest.raises(Refused):
        openai.parse_embeddings(json.dumps({"model": "e", "input": bad}).encode(), max_depth=8)
