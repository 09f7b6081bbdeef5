"""Vectors from the real embedder through a real runner."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from freehold.runner.config import Embedder
from tests.conftest import until
from tests.runner.conftest import Client, Running, running


@pytest.fixture
async def embedder(embedding: Running) -> AsyncIterator[Client]:
    client = Client(embedding.socket)
    await until(client.ready)
    yield client
    await until(client.idle)
    assert b"runner.fault" not in embedding.output
    client.http.close()


def dot(one: list[float], two: list[float]) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


async def test_health_answers_while_the_first_request_loads_it(embedder_files: tuple[str, str], folder: Path) -> None:
    async with running(folder, Embedder("e", *embedder_files)) as (runner, client):
        before = runner.resident
        task = asyncio.create_task(client.embed("hello"))
        worst = 0.0
        while not task.done():
            began = time.monotonic()
            await client.health()
            worst = max(worst, time.monotonic() - began)
        assert len((await task)[0]) == 384
        assert worst < 0.5
        assert before < 110 << 20
        assert runner.resident < 250 << 20


async def test_vectors_are_unit_length_and_in_order(embedder: Client) -> None:
    texts = [f"text number {number} about {topic}" for number, topic in enumerate(["cats", "law", "rain"] * 7)]
    together = await embedder.embed(*texts)
    assert len(together) == len(texts)
    for text, vector in list(zip(texts, together, strict=True))[::5]:
        assert len(vector) == 384
        assert math.isclose(dot(vector, vector), 1, abs_tol=1e-4)
        (alone,) = await embedder.embed(text)
        assert dot(alone, vector) > 0.98  # int8 weights: padding in a batch moves it a little


async def test_what_is_alike_is_near(embedder: Client) -> None:
    cat, kitten, contract, dog = await embedder.embed(
        "A cat sits on the mat.", "A kitten is on the rug.", "The contract ends in May.", "A dog sits on the mat."
    )
    assert dot(cat, kitten) > dot(cat, contract) + 0.3
    assert dot(cat, dog) > dot(cat, contract) + 0.3


async def test_empty_and_long_inputs(embedder: Client) -> None:
    empty, blank, long, longer = await embedder.embed("", "  \n", "word " * 300, "word " * 300 + "different end")
    assert all(math.isclose(dot(vector, vector), 1, abs_tol=1e-4) for vector in (empty, blank, long))
    assert dot(long, longer) > 0.999  # cut at 256 word pieces, as documented
    assert await embedder.embed() == []


async def test_odd_text(embedder: Client) -> None:
    found = await embedder.embed("\x00", "🏴󠁧󠁢󠁥󠁮󠁧󠁿" * 50, "ａ", "a" * 100_000, "[CLS][SEP]")
    assert all(math.isfinite(value) for vector in found for value in vector)


async def test_too_many_inputs(embedder: Client) -> None:
    status, body = await embedder.post("/embeddings", {"assistant": "e", "inputs": ["x"] * 3000})
    assert (status, json.loads(body)["code"]) == (400, "engine_refused")


async def test_an_embedder_does_not_chat(embedder: Client) -> None:
    for name in ("e", ""):
        answer = await embedder.chat(assistant=name)
        assert (answer.status, answer.code) == (404, "model_not_found")


async def test_leaving_ends_it_between_two_batches(embedder: Client) -> None:
    await embedder.embed("warm")
    task = asyncio.create_task(embedder.embed(*["many words to read here " * 60] * 400))
    await until(lambda: _busy(embedder))
    task.cancel()
    assert await until(embedder.idle) < 1
    began = time.monotonic()
    await embedder.embed("next")
    assert time.monotonic() - began < 2
    await asyncio.gather(task, return_exceptions=True)


async def _busy(client: Client) -> bool:
    return not await client.idle()


async def test_a_damaged_model_fails_the_request_and_quotes_nothing(
    embedder_files: tuple[str, str], folder: Path
) -> None:
    damaged = folder / "model.onnx"
    damaged.write_bytes(Path(embedder_files[0]).read_bytes()[:100_000])
    async with running(folder, Embedder("e", str(damaged), embedder_files[1])) as (runner, client):
        status, body = await client.post("/embeddings", {"assistant": "e", "inputs": ["zebra-quartz"]})
        assert (status, json.loads(body)["code"]) == (502, "engine_failed")
        assert b"zebra-quartz" not in runner.output
        assert b"Traceback" not in runner.output
