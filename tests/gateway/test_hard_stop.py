"""An engine that goes on beyond what it was granted is not followed: the answer ends as `length`, and says why."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from freehold.storage import engines
from tests.conftest import until
from tests.gateway.acting import HI, ask, limit
from tests.gateway.conftest import HEAD, LAST, Stage, chunk, delta

GRANTED = 7
ASK: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HI, "max_tokens": GRANTED},
    "/v1/messages": {"messages": HI, "max_tokens": GRANTED},
    "/v1/responses": {"input": "hi", "max_output_tokens": GRANTED},
}


def finished(completion: int, reason: str = "stop") -> dict[str, Any]:
    return {"type": "finished", "reason": reason, "usage": {"prompt": 3, "completion": completion, "cached": 0}}


def call(index: int, arguments: str = "", name: str = "") -> dict[str, Any]:
    return {"type": "tool", "index": index, "id": f"call_{index}" if name else "", "name": name, "arguments": arguments}


def endless(pieces: Iterator[dict[str, Any]]) -> Any:
    """A runner's script that never stops by itself."""

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for piece in pieces:
            writer.write(chunk(piece))
            await writer.drain()
            await asyncio.sleep(0)
            if reader.at_eof():
                return

    return script


def told(path: str, body: bytes, *, stream: bool) -> tuple[str, str, str | None]:
    """Text, reason, explanation of an answer, in whatever dialect it is."""
    events = (
        [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: {")] if stream else []
    )
    whole = {} if stream else json.loads(body)
    if path == "/v1/chat/completions":
        if not stream:
            choice = whole["choices"][0]
            return choice["message"]["content"] or "", choice["finish_reason"], whole.get("explanation")
        assert body.endswith(b"data: [DONE]\n\n")
        text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events)
        last = next(e for e in events if e["choices"][0]["finish_reason"])
        return text, last["choices"][0]["finish_reason"], last.get("explanation")
    if path == "/v1/messages":
        if not stream:
            return whole["content"][0]["text"], whole["stop_reason"], whole.get("explanation")
        assert events[-1]["type"] == "message_stop"
        text = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
        last = next(e for e in events if e["type"] == "message_delta")
        return text, last["delta"]["stop_reason"], last.get("explanation")
    told = events[-1]["response"] if stream else whole
    if stream:
        assert events[-1]["type"] == f"response.{told['status']}"
    details = told["incomplete_details"] or {"reason": "stop"}
    return told["output"][0]["content"][0]["text"], details["reason"], details.get("explanation")


LENGTH = {"/v1/chat/completions": "length", "/v1/messages": "max_tokens", "/v1/responses": "max_output_tokens"}


@pytest.fixture
async def outside(stage: Stage) -> Stage:
    """An assistant `o` whose engine is somebody else's server."""
    async with stage.home.database.write() as connection:
        await engines.add(
            connection, stage.home.workspace.id, name="o", kind="openai", model="x", url="https://engine.example/v1"
        )

    async def known() -> bool:
        async with stage.client.request(
            "GET", "/v1/models/o", None, {"authorization": f"Bearer {stage.home.api_key}"}
        ) as response:
            await response.read()
            return response.status == 200

    await until(known)
    return stage


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ASK)
async def test_an_engine_that_ignores_its_limit_is_stopped(outside: Stage, path: str, stream: bool) -> None:
    outside.script = endless(delta("word ") for _ in itertools.count())
    async with asyncio.timeout(5):
        status, _, body = await ask(outside.home, path, {**ASK[path], "model": "o", "stream": stream})
    text, reason, explanation = told(path, body, stream=stream)
    assert (status, text, reason) == (200, "word " * GRANTED, LENGTH[path])
    assert explanation is not None
    assert "granted" in explanation
    await until(lambda: outside.in_flight == 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("path", ASK)
async def test_pieces_joined_or_of_any_size_are_stopped_by_their_length(stage: Stage, path: str) -> None:
    for piece in ("word " * 5, "w" * 900_000):
        stage.script = endless(delta(piece) for _ in itertools.count())
        for stream in (True, False):
            async with asyncio.timeout(5):
                _, _, body = await ask(stage.home, path, {**ASK[path], "model": "m", "stream": stream})
            if path != "/v1/chat/completions" and piece[1:2] == "w":
                assert len(body) < 5_000  # nothing was sent of it, so there is no text to look at
                continue
            text, reason, explanation = told(path, body, stream=stream)
            assert len(text) <= GRANTED * 16 + 64
            assert reason == LENGTH[path]
            assert explanation is not None
    await until(lambda: stage.in_flight == 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("path", ASK)
@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_an_engine_that_keeps_to_its_limit_is_let_finish(outside: Stage, path: str, reason: str) -> None:
    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces = [delta("internationalization ") for _ in range(GRANTED)]  # long tokens, and all that were granted
        writer.write(HEAD + chunk(*pieces) + chunk(finished(GRANTED, reason)) + LAST)

    outside.script = script
    for stream, model in itertools.product((True, False), ("m", "o")):
        _, _, body = await ask(outside.home, path, {**ASK[path], "model": model, "stream": stream})
        text, said, explanation = told(path, body, stream=stream)
        assert text == "internationalization " * GRANTED
        assert explanation is None
        assert (said == LENGTH[path]) == (reason == "length")


@pytest.mark.slow
@pytest.mark.parametrize(
    "pieces",
    [
        lambda: itertools.chain([call(0, name="f")], (call(0, "a") for _ in itertools.count())),
        lambda: (call(n, name="f") for n in itertools.count()),
        lambda: (delta("") for _ in itertools.count()),
    ],
    ids=["endless arguments", "endless calls", "endless nothing"],
)
@pytest.mark.parametrize("path", ASK)
async def test_calls_and_nothing_at_all_are_bounded_too(stage: Stage, path: str, pieces: Any) -> None:
    for stream in (True, False):
        stage.script = endless(pieces())
        async with asyncio.timeout(5):
            status, _, body = await ask(stage.home, path, {**ASK[path], "model": "m", "stream": stream})
        assert status == 200
        assert LENGTH[path].encode() in body
    await until(lambda: stage.in_flight == 0, 1)


async def test_what_is_charged_does_not_pass_the_limit(outside: Stage) -> None:
    """The tightest limit grants the answer, and the engine that ignores it is stopped there: the day's tokens hold."""
    day = 400
    await limit(outside.home, "workspace", outside.home.workspace.id, tokens_per_day=day)

    async def told_limit() -> bool:
        _, headers, _ = await ask(outside.home, "/v1/embeddings", {"model": "e", "input": "x"})
        return "x-ratelimit-limit-tokens" in headers

    await until(told_limit)
    outside.script = endless(delta("word") for _ in itertools.count())
    said = 0
    for _ in range(8):
        status, _, body = await ask(
            outside.home, "/v1/chat/completions", {"model": "o", "messages": HI, "stream": True}
        )
        if status == 429:
            break
        said += len(told("/v1/chat/completions", body, stream=True)[0]) // 4
    assert status == 429
    assert 250 < said <= day


async def test_a_runner_that_goes_on_after_its_own_end_is_left(stage: Stage) -> None:
    """What it says after `finished` is nobody's, and its place is not taken by it for longer than a second."""
    for stream in (True, False):
        stage.script = endless(itertools.chain([delta("a"), finished(1)], (delta("more") for _ in itertools.count())))
        async with asyncio.timeout(5):
            _, _, body = await ask(stage.home, "/v1/chat/completions", {"model": "m", "messages": HI, "stream": stream})
        assert told("/v1/chat/completions", body, stream=stream) == ("a", "stop", None)
    await until(lambda: stage.in_flight == 0, 1)
