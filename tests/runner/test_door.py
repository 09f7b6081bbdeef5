"""The runner's door under bytes that nobody should send, and the ways in which its life begins and ends."""

import asyncio
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from freehold.protocol.chat import RUNNER_CODES
from freehold.protocol.http import PeerGone, UnixClient
from freehold.runner.config import Embedder, LlamaCpp, OutsideEngine
from tests.conftest import until
from tests.runner.conftest import Client, Running, ask, running, start, tiny, tiny_path

ODD: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 2**70, 1e308, -0.0, "", "\x00", "\ud800", "x" * 1500, [], [[]], {}, {"": {}},
    ["a", 1],
    {"role": "user"}, [{"role": "user", "content": None}], [{"role": "boss", "content": "x"}],
    [{"role": "assistant", "tool_calls": [{"id": "", "name": "", "arguments": "{"}]}],
]  # fmt: skip
FIELDS = (
    "assistant", "messages", "max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "stop",
    "seed", "response_format", "tools", "tool_choice", "parallel_tool_calls",
)  # fmt: skip


def bodies() -> list[bytes]:
    """Hundreds of bodies: a good one with one odd field, cut short, or with bytes changed; and plain nonsense."""
    chance = random.Random(4)  # noqa: S311 - the same ones each time
    good = json.dumps(ask("hi", max_tokens=1)).encode()
    found = [json.dumps(ask("hi", **{"max_tokens": 1, field: odd})).encode() for field in FIELDS for odd in ODD
              if field != "max_tokens" or (odd is not None and odd not in (2**31, 2**63, 2**70))]  # fmt: skip
    found += [good[: chance.randrange(len(good))] for _ in range(60)]
    for _ in range(120):
        changed = bytearray(good)
        for _ in range(3):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        found.append(bytes(changed))
    found += [b"[" * 100_000, b'{"messages":' * 50_000, b"\xff\xfe", b"null", b"", b'{"a":1}{"b":2}', b"NaN"]
    schemas = [{"kind": "json_schema", "schema": odd} for odd in ODD] + [{"kind": odd} for odd in ODD]
    found += [json.dumps(ask("hi", max_tokens=1, response_format=schema)).encode() for schema in schemas]
    tools = [{"name": "f", "parameters": odd} for odd in ODD] + [{"name": odd} for odd in ODD]
    found += [json.dumps(ask("hi", max_tokens=1, tools=[tool], tool_choice="required")).encode() for tool in tools]
    return found


@pytest.mark.slow
async def test_hundreds_of_malformed_bodies(runner: Client, shared: Running) -> None:
    seen: dict[tuple[int, str], int] = {}
    for body in bodies():
        status, answer = await runner.post("/chat", body)
        code = json.loads(answer)["code"] if status != 200 else ""
        assert status == 200 or code in RUNNER_CODES
        assert status < 500, (body[:300], code)
        seen[status, code] = seen.get((status, code), 0) + 1
    assert sum(seen.values()) > 450
    assert seen[400, "engine_refused"] > 200
    assert b"runner.fault" not in shared.output


@pytest.mark.parametrize("body", [b"", b"{}", b'{"assistant":"","inputs":"x"}', b'{"assistant":"","inputs":[1]}'])
async def test_malformed_embeddings(runner: Client, body: bytes) -> None:
    status, answer = await runner.post("/embeddings", body)
    assert (status, json.loads(answer)["code"]) == (400, "engine_refused")


async def test_a_body_that_is_too_large(runner: Client) -> None:
    try:
        status, answer = await runner.post("/chat", b'{"assistant":"' + b"x" * (9 << 20) + b'"}')
    except PeerGone:
        return  # it hung up while the rest was still being sent
    assert (status, json.loads(answer)) == (413, {"type": "failed", "code": "engine_refused"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/v1/chat/completions", 404), ("GET", "/chat", 405), ("POST", "/health", 405),
     ("GET", "/slots", 404), ("OPTIONS", "/chat", 405), ("GET", "/health/", 404), ("GET", "//health", 404)],
)  # fmt: skip
async def test_other_paths_and_methods(runner: Client, method: str, path: str, status: int) -> None:
    async with runner.http.request(method, path, b"" if method != "GET" else None) as response:
        assert response.status == status
        assert set(response.headers) <= {"content-type", "content-length"}


async def test_bytes_that_are_not_http(runner: Client, shared: Running) -> None:
    for data in (b"\x16\x03\x01\x00\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 1000, b"POST /chat HTTP/1.1\r\n" * 500):
        _, writer = await asyncio.open_unix_connection(shared.socket)
        writer.write(data)
        await writer.drain()
        writer.close()
    assert await runner.ready()


async def test_a_caller_who_leaves_in_the_middle_of_the_body(runner: Client, shared: Running) -> None:
    _, writer = await asyncio.open_unix_connection(shared.socket)
    writer.write(b"POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert await until(runner.idle) < 1
    assert b"runner.fault" not in shared.output


# --- life


async def test_health_answers_while_the_model_loads_and_chat_says_not_ready(folder: Path) -> None:
    fifo = folder / "model.onnx"
    os.mkfifo(fifo)  # an engine that loads for as long as we like: opening waits for the other end
    runner = start(folder, Embedder("e", str(fifo), tiny_path()), tiny())
    client = Client(runner.socket)
    try:
        await until(lambda: Path(runner.socket).exists())
        health = await client.health()
        assert (health["ready"], [engine["ready"] for engine in health["engines"]]) == (False, [True, False])
        answer = await client.chat()
        assert (answer.status, answer.code) == (503, "not_ready")
        fifo.open("wb").close()
        await until(client.ready, 10)
        assert (await client.chat()).status == 200
    finally:
        client.http.close()
        runner.process.kill()
        runner.process.wait()


async def test_an_idle_one_stops_at_once(folder: Path) -> None:
    async with running(folder, tiny()) as (runner, _):
        runner.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(runner.process.wait, 2) == 0


@pytest.mark.slow
async def test_it_stops_when_asked_and_leaves_nothing(folder: Path) -> None:
    async with running(folder, tiny()) as (runner, client):
        body = json.dumps(ask("Count to one thousand.", max_tokens=900)).encode()
        async with client.http.request("POST", "/chat", body) as response:
            await anext(response.body())
            began = time.monotonic()
            runner.process.terminate()
            assert await asyncio.to_thread(runner.process.wait, 10) == 0
            assert time.monotonic() - began < 5
        assert {path.name for path in folder.iterdir()} == {"output"}
        assert b"runner.stopped" in runner.output


async def test_it_can_be_stopped_while_it_loads(folder: Path) -> None:
    fifo = folder / "model.onnx"
    os.mkfifo(fifo)
    runner = start(folder, Embedder("e", str(fifo), tiny_path()))
    try:
        await until(lambda: Path(runner.socket).exists())
        await Client(runner.socket).health()
        runner.process.terminate()
        await until(lambda: b"runner.stopped" in runner.output)
        fifo.open("wb").close()
        assert await asyncio.to_thread(runner.process.wait, 5) == 0
    finally:
        runner.process.kill()
        runner.process.wait()


@pytest.mark.parametrize("size", [0, 10, 5000, 60_000_000])
async def test_a_model_that_is_not_whole_ends_it(folder: Path, size: int) -> None:
    damaged = folder / "model.gguf"
    with Path(tiny_path()).open("rb") as source:
        damaged.write_bytes(source.read(size))
    runner = start(folder, LlamaCpp("m", str(damaged)))
    assert await asyncio.to_thread(runner.process.wait, 20) == 69
    assert b"engine.unusable" in runner.output
    assert b"Traceback" not in runner.output


async def test_a_model_that_is_not_there_ends_it(folder: Path) -> None:
    for engine in (LlamaCpp("m", "/nowhere.gguf"), Embedder("e", "/nowhere.onnx", "/nowhere.json")):
        runner = start(folder, engine)
        assert await asyncio.to_thread(runner.process.wait, 20) == 69


@pytest.mark.parametrize("config", [b"{}", b"not json", b"\xff", b'{"socket":1,"engines":[]}'])
async def test_a_configuration_that_is_none_ends_it(folder: Path, config: bytes) -> None:
    runner = start(folder, config=config)
    assert await asyncio.to_thread(runner.process.wait, 20) == 78
    assert b"Traceback" not in runner.output


async def test_it_ends_when_its_engine_is_gone(folder: Path) -> None:
    """A runner whose engine no longer listens must not look alive: the supervisor replaces what ends."""
    async with running(folder, tiny()) as (runner, client):
        (socket,) = folder.glob("engine-*/engine.sock")
        socket.unlink()
        answer = await client.chat()
        assert (answer.status, answer.code) == (502, "engine_failed")
        assert await asyncio.to_thread(runner.process.wait, 10) == 69


async def test_an_idle_runner_is_small(folder: Path) -> None:
    relay = OutsideEngine("o", str(folder / "relay.sock"), "example.org", "x")
    async with running(folder, relay) as (runner, _):
        assert runner.resident < 110 << 20


@pytest.mark.slow
async def test_memory_that_was_only_zeroed_is_given_back(folder: Path) -> None:
    """16,384 tokens of this model's cache are 360 MiB; its weights and everything else are less than that."""
    async with running(folder, tiny(slots=2, context=8192)) as (runner, client):
        assert runner.resident < 360 << 20
        before = runner.resident
        assert (await client.chat("word " * 100)).end.usage.prompt > 100  # and is still good to use
        assert runner.resident > before


async def test_the_socket_is_for_its_user_only(shared: Running, runner: Client) -> None:
    assert Path(shared.socket).stat().st_mode & 0o777 == 0o700
    assert all(path.parent.stat().st_mode & 0o777 == 0o700 for path in shared.folder.glob("engine-*/engine.sock"))


async def test_the_engines_own_door_offers_little(shared: Running, runner: Client) -> None:
    """What is left of llama.cpp's server on its private socket. Nothing that reads files, saves, or reconfigures."""
    (path,) = shared.folder.glob("engine-*/engine.sock")
    engine = UnixClient(str(path))
    for method, name in (("GET", "/slots"), ("GET", "/metrics"), ("POST", "/props"), ("POST", "/slots/0?action=save"),
                         ("GET", "/"), ("POST", "/models/load"), ("GET", "/tools")):  # fmt: skip
        async with engine.request(method, name, b"{}" if method == "POST" else None) as response:
            assert response.status in (400, 403, 404, 501), (name, response.status)
    engine.close()
