"""Which runner an exchange goes to: the one that holds its cache, unless that is over its share; never a failed one."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from freehold.isolation.pool import LiveRunner, Pools, write_pool_file
from freehold.protocol.errors import Unavailable
from tests.conftest import until


@contextlib.asynccontextmanager
async def pools(tmp_path: Path, runners: int, slots: int = 8) -> AsyncIterator[Pools]:
    file = tmp_path / "pools.json"
    write_pool_file(file, [LiveRunner(f"r{n}", "ws", str(tmp_path / f"r{n}.sock"), slots) for n in range(runners)])
    async with Pools(file).running() as made:
        yield made


async def test_a_conversation_returns_to_its_runner(tmp_path: Path) -> None:
    async with pools(tmp_path, 4) as made:
        for number in range(50):
            seen = set()
            for _ in range(5):
                with made.lease("ws", affinity=(b"%d" % number).strip) as runner:
                    seen.add(runner.runner.name)
            assert len(seen) == 1


async def test_conversations_are_spread(tmp_path: Path) -> None:
    async with pools(tmp_path, 4) as made:
        counts: dict[str, int] = {}
        for number in range(400):
            with made.lease("ws", affinity=(b"%d" % number).strip) as runner:
                counts[runner.runner.name] = counts.get(runner.runner.name, 0) + 1
        assert len(counts) == 4
        assert min(counts.values()) > 50


async def test_one_that_is_over_its_share_is_left_alone(tmp_path: Path) -> None:
    async with pools(tmp_path, 4) as made, contextlib.AsyncExitStack() as held:
        taken: dict[str, int] = {}
        for _ in range(16):
            runner = held.enter_context(made.lease("ws", affinity=b"one hot conversation".strip))
            taken[runner.runner.name] = taken.get(runner.runner.name, 0) + 1
        assert len(taken) == 4
        assert max(taken.values()) <= 6


async def test_without_affinity_the_least_busy_is_taken(tmp_path: Path) -> None:
    async with pools(tmp_path, 3) as made, contextlib.AsyncExitStack() as held:
        names = [held.enter_context(made.lease("ws")).runner.name for _ in range(9)]
        assert sorted(names) == sorted(["r0", "r1", "r2"] * 3)


async def test_places_are_counted_and_never_exceeded(tmp_path: Path) -> None:
    async with pools(tmp_path, 2, slots=2) as made:
        told: list[str] = []
        made.on_change(told.append)
        with contextlib.ExitStack() as held:
            for left in (3, 2, 1, 0):
                held.enter_context(made.lease("ws"))
                assert made.free("ws") == left
            with pytest.raises(Unavailable):
                made.lease("ws")
        assert (made.free("ws"), made.slots("ws"), told) == (4, 4, ["ws"] * 4)
        with pytest.raises(Unavailable):
            made.free("another")


async def test_a_failed_runner_gets_nothing_until_it_answers_a_probe(tmp_path: Path) -> None:
    async with pools(tmp_path, 2, slots=1) as made:
        with made.lease("ws") as runner:
            made.failed(runner)
        assert (made.free("ws"), made.slots("ws")) == (1, 1)
        for _ in range(5):
            with made.lease("ws") as other:
                assert other is not runner

        async def health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            body = json.dumps({"ready": True, "in_flight": 0, "engines": []}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(health, runner.runner.socket)
        await until(lambda: made.free("ws") == 2, 5)
        server.close()


async def test_one_to_avoid_is_avoided(tmp_path: Path) -> None:
    async with pools(tmp_path, 2) as made:
        with made.lease("ws", affinity=b"x".strip) as first:
            pass
        with made.lease("ws", affinity=b"x".strip, avoid=first) as second:
            assert second is not first
