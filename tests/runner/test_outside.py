"""An outside OpenAI-compatible server, reached by a real runner through a relay's Unix socket that we script here."""

import asyncio
import json
import math
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from freehold.protocol.chat import Delta, Finished
from freehold.runner.config import OutsideEngine
from tests.conftest import until
from tests.runner.conftest import Client, Running, start, vectors

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECRET = "the-servers-inner-secret"


def sse(*payloads: Any) -> bytes:
    """Server-sent events."""
    return b"".join(
        b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"
        for payload in payloads
    )


def piece(text: str | None = None, *, reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text, **delta}, "finish_reason": reason}], "id": "x"}


USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}


def answers(status: int, body: bytes, *, length: bool = True) -> Script:
    """A whole answer; without a length it ends when the connection does."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stated = f"content-length: {len(body)}\r\n" if length else ""
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: x\r\n{stated}\r\n".encode() + body)

    return script


@dataclass
class Outside:
    client: Client
    running: Running
    script: Script
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    open: int = 0


@pytest.fixture(scope="session")
def outsider() -> Iterator[Running]:
    """One runner with the outside engine only; each test is the relay at `relay.sock` beside it."""
    path = Path(tempfile.mkdtemp(prefix="fr-"))
    engine = OutsideEngine("m", str(path / "relay.sock"), "ai.example:8443", "their-name", "/base/v1")
    runner = start(path, engine)
    yield runner
    runner.process.kill()
    runner.process.wait()
    shutil.rmtree(path)


@pytest.fixture
async def outside(outsider: Running) -> AsyncIterator[Outside]:
    client = Client(outsider.socket)
    await until(client.ready, 10)
    stage = Outside(client, outsider, answers(500, b""))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stage.open += 1
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            stage.seen.append((first, headers, json.loads(body)))
            await stage.script(reader, writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            stage.open -= 1
            writer.close()

    relay = outsider.folder / "relay.sock"
    relay.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(serve, str(relay))
    yield stage
    await until(client.idle)
    client.http.close()
    server.close()
    assert SECRET.encode() not in outsider.output
    assert b"runner.fault" not in outsider.output


async def test_what_it_asks_and_what_it_passes_on(outside: Outside) -> None:
    outside.script = answers(200, sse(piece("Hel"), piece("lo"), piece(reason="stop"), USAGE, b"[DONE]"))
    answer = await outside.client.chat("hi", temperature=0.5, stop=["x"], seed=3)
    assert (answer.text, answer.end.reason) == ("Hello", "stop")
    assert (answer.end.usage.prompt, answer.end.usage.completion) == (5, 2)
    ((first, headers, body),) = outside.seen
    assert first == "POST /base/v1/chat/completions HTTP/1.1"
    assert headers["host"] == "ai.example:8443"
    assert "authorization" not in headers
    assert (body["model"], body["stream"], body["temperature"], body["stop"], body["seed"]) == (
        "their-name", True, 0.5, ["x"], 3,
    )  # fmt: skip
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert "tools" not in body
    assert "response_format" not in body


async def test_structure_is_asked_in_their_dialect(outside: Outside) -> None:
    outside.script = answers(200, sse(piece("{}"), piece(reason="stop"), b"[DONE]"))
    await outside.client.chat(
        response_format={"kind": "json_schema", "schema": {"type": "object"}},
        tools=[{"name": "f"}],
        tool_choice="name:f",
    )
    body = outside.seen[0][2]
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


async def test_tool_calls_come_in_pieces(outside: Outside) -> None:
    begin = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]
    other = [{"index": 1, "function": {"name": "g", "arguments": "{}"}}]
    more = [{"index": 0, "function": {"arguments": '{"x":1}'}}]
    outside.script = answers(
        200, sse(*(piece(tool_calls=calls) for calls in (begin, other, more)), piece(reason="tool_calls"), b"[DONE]")
    )
    answer = await outside.client.chat(tools=[{"name": "f"}, {"name": "g"}])
    assert answer.calls == {"f": '{"x":1}', "g": "{}"}
    assert answer.end.reason == "tool_calls"


@pytest.mark.parametrize(
    ("status", "code", "ours"),
    [
        (400, "unsupported_parameter", 400), (401, "engine_refused", 502), (403, "engine_refused", 502),
        (404, "engine_refused", 502), (413, "unsupported_parameter", 400), (422, "unsupported_parameter", 400),
        (429, "engine_refused", 502), (500, "engine_failed", 502), (503, "not_ready", 503),
        (504, "engine_timeout", 504), (204, "engine_refused", 502), (302, "engine_refused", 502),
    ],
)  # fmt: skip
async def test_its_errors_become_our_codes_and_stay_inside(outside: Outside, status: int, code: str, ours: int) -> None:
    outside.script = answers(status, json.dumps({"error": {"message": SECRET}}).encode() if status != 204 else b"")
    status_, body = await outside.client.post("/chat", {"assistant": "m", "messages": []})
    assert (status_, json.loads(body)) == (ours, {"type": "failed", "code": code})


async def test_a_prompt_that_is_too_long_for_it(outside: Outside) -> None:
    outside.script = answers(400, b'{"error":{"code":"context_length_exceeded","message":"x"}}')
    answer = await outside.client.chat()
    assert (answer.status, answer.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>" + SECRET.encode(), sse({"error": {"message": SECRET}}), sse(b"{"), sse(b'{"choices":7}'),
        sse(b"[DONE]"), sse(USAGE), b"data: " + b"x" * (2 << 20), b"\x00\xff" * 1000,
    ],
    ids=["nothing", "page", "error", "half", "shape", "done", "usage", "line", "bytes"],
)  # fmt: skip
async def test_a_broken_stream_before_the_first_event(outside: Outside, body: bytes) -> None:
    outside.script = answers(200, body)
    answer = await outside.client.chat()
    assert (answer.status, answer.code) == (502, "engine_failed")


@pytest.mark.parametrize(
    "rest",
    [b"", sse({"error": {"message": SECRET}}), sse(b"{nonsense"), b"data: " + b"x" * (2 << 20), sse(b"[DONE]")],
    ids=["ends", "error", "nonsense", "line", "done"],
)
async def test_a_broken_stream_after_the_first_event(outside: Outside, rest: bytes) -> None:
    outside.script = answers(200, sse(piece("Hel")) + rest, length=False)
    answer = await outside.client.chat()
    assert (answer.status, answer.text, answer.failed) == (200, "Hel", "engine_failed")


async def test_a_connection_that_breaks_within_a_chunk(outside: Outside) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n" + sse(piece("Hel")))

    outside.script = script
    assert (await outside.client.chat()).failed == "engine_failed"


async def test_an_answer_ends_although_the_server_does_not_close(outside: Outside) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + sse(piece("Hi"), piece(reason="stop"), b"[DONE]"))
        await reader.read()

    outside.script = script
    answer = await outside.client.chat()
    assert [type(event) for event in answer.events] == [Delta, Finished]
    await until(lambda: outside.open == 0)


async def test_leaving_closes_the_connection_to_it(outside: Outside) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    outside.script = script
    task = asyncio.create_task(outside.client.chat())
    await until(lambda: outside.open == 1)
    task.cancel()
    assert await until(lambda: outside.open == 0) < 0.2
    await asyncio.gather(task, return_exceptions=True)


async def test_a_server_that_is_away(outside: Outside) -> None:
    (outside.running.folder / "relay.sock").unlink()
    answer = await outside.client.chat()
    assert (answer.status, answer.code) == (502, "engine_failed")
    assert await outside.client.ready()  # away is not lost: it may come back


def vector_answer(*items: tuple[int, list[float]]) -> bytes:
    return json.dumps({"data": [{"index": index, "embedding": values} for index, values in items]}).encode()


async def test_its_vectors_are_put_in_order_and_to_unit_length(outside: Outside) -> None:
    outside.script = answers(200, vector_answer((1, [0.0, 5.0]), (0, [3.0, 4.0])))
    status, body = await outside.client.post("/embeddings", {"assistant": "m", "inputs": ["a", "b"]})
    assert status == 200
    first, second = vectors(body)
    assert [round(value, 6) for value in first + second] == [0.6, 0.8, 0.0, 1.0]


@pytest.mark.parametrize(
    "body",
    [
        vector_answer((0, [1.0])), vector_answer((0, [1.0]), (0, [1.0])), vector_answer((0, [1.0]), (5, [1.0])),
        vector_answer((0, []), (1, [])), vector_answer((0, [1.0]), (1, [1.0, 2.0])),
        b"", b"{}", b'{"data":[{"embedding":["x"]}]}', SECRET.encode(),
    ],
)  # fmt: skip
async def test_vectors_that_are_wrong(outside: Outside, body: bytes) -> None:
    outside.script = answers(200, body)
    status, answer = await outside.client.post("/embeddings", {"assistant": "m", "inputs": ["a", "b"]})
    assert (status, json.loads(answer)["code"]) == (502, "engine_failed")


async def test_vectors_of_extreme_numbers_are_finite(outside: Outside) -> None:
    outside.script = answers(200, vector_answer((0, [1e308, 1e308]), (1, [0.0, 0.0])))
    status, body = await outside.client.post("/embeddings", {"assistant": "m", "inputs": ["a", "b"]})
    assert status == 200
    assert all(math.isfinite(value) for vector in vectors(body) for value in vector)
