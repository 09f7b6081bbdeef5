"""A thousand clients that leave at any moment, at every endpoint: the runner is idle within a second, nothing is kept.

And one that floods: with two hundred requests in flight it makes nine quiet ones wait no longer than the one exchange
that was being served when they came.
"""

import asyncio
import contextlib
import json
import random
import time
from typing import Any

import pytest

from freehold.gateway import load
from tests.conftest import Home, until
from tests.gateway.acting import BODIES, CHATS, HI, Exchange, ask, begin, limit, message, person, staged, vectors
from tests.gateway.conftest import HEAD, LAST, chunk, delta

pytestmark = [pytest.mark.slow, pytest.mark.soak]

LEAVERS = 1000
AT_ONCE = 50


def paced(seconds: float, pieces: int, *, endless: float = 0.0) -> Any:
    """A runner that takes its time, and stops when it is left. `endless`: the share of answers that never end."""
    chance = random.Random(7)  # noqa: S311 - which ones

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = asyncio.create_task(reader.read())
        try:
            embedding = b'"inputs"' in body
            if not embedding:
                writer.write(HEAD)
            for _ in range(pieces):
                done, _ = await asyncio.wait({left}, timeout=seconds / pieces)
                if done:
                    return
                if not embedding:
                    writer.write(chunk(delta("word ")))
            if chance.random() < endless:
                await left
                return
            usage = {"prompt": len(body) // 4, "completion": pieces, "cached": 0}
            ended = {"type": "finished", "reason": "stop", "usage": usage}
            writer.write(vectors(body) if embedding else chunk(ended) + LAST)
        finally:
            left.cancel()

    return script


async def leaver(home: Home, key: str, chance: random.Random) -> str:
    """One client that goes away at some moment of its exchange: what it had got by then."""
    path = chance.choice(sorted(BODIES))
    stream = path in CHATS and chance.random() < 0.6
    sent = message(home, path, {**BODIES[path], "stream": True} if stream else BODIES[path], key)
    cut = chance.randrange(1, len(sent)) if chance.random() < 0.2 else len(sent)
    exchange = Exchange(*await asyncio.open_unix_connection(str(home.settings.layout.gateway_socket)))
    exchange.writer.write(sent[:cut])
    got = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(chance.random() * 0.06):
            while part := await exchange.reader.read(chance.randrange(1, 4096)):
                got += part
    if chance.random() < 0.5:
        exchange.writer.transport.abort()
    else:
        exchange.writer.close()
    return "nothing" if not got else "a part" if got.endswith(b"\n\n") or b"0\r\n\r\n" not in got else "all"


async def test_a_thousand_leave_at_any_moment(home: Home) -> None:
    chance = random.Random(26)  # noqa: S311 - when they leave
    await limit(home, "key", "*", concurrent=AT_ONCE, tokens_per_month=10_000_000)
    async with staged(home, slots=16) as stage:
        stage.script = paced(0.04, 4)
        _, headers, _ = await ask(home, "/v1/chat/completions", BODIES["/v1/chat/completions"])
        before = int(headers["x-ratelimit-remaining-tokens"])
        saw: dict[str, int] = {}
        stage.script = paced(0.04, 4, endless=0.3)
        for _ in range(LEAVERS // AT_ONCE):
            for kind in await asyncio.gather(*(leaver(home, "", chance) for _ in range(AT_ONCE))):
                saw[kind] = saw.get(kind, 0) + 1
        left = time.monotonic()
        await until(lambda: stage.in_flight == 0, 1.0)
        assert sum(saw.values()) == LEAVERS
        assert min(saw["nothing"], saw["a part"]) > 100, saw
        served = len(stage.seen)
        assert served > 300

        async def all_slots_free() -> bool:
            """As many as may be at once are admitted again: the limiter holds nothing of those who left."""
            path, body = "/v1/chat/completions", {**BODIES["/v1/chat/completions"], "stream": True}
            streams = [await begin(home, path, body) for _ in range(AT_ONCE)]
            heads = await asyncio.gather(*(stream.reader.readline() for stream in streams))
            await asyncio.gather(*(stream.leave() for stream in streams))
            return all(b" 200 " in head for head in heads)

        stage.script = paced(0.04, 4)
        assert await all_slots_free()
        assert time.monotonic() - left < 3
        await until(lambda: stage.in_flight == 0, 1.0)
        _, headers, _ = await ask(home, "/v1/chat/completions", BODIES["/v1/chat/completions"])
        charged = before - int(headers["x-ratelimit-remaining-tokens"])
        assert charged >= served * 5  # each that reached the runner is charged for its prompt at least …
        assert charged < (LEAVERS + 2 * AT_ONCE) * 200  # … and none for the thousands of tokens that it reserved
        await until(lambda: all(p.in_flight == p.depth == 0 for p in load.read(home.settings.layout.run)), 3)


async def test_one_flood_does_not_make_the_quiet_wait(home: Home) -> None:
    """One service time more than alone, at the 99th of a hundred: 200 in flight of one, nine others one at a time.

    An odd run of a busy machine is repeated.
    """
    service, runs = 0.08, 3
    flooder, *quiet = [(await person(home))[1] for _ in range(10)]
    body = {"model": "m", "messages": HI, "max_tokens": 20}
    async with staged(home, slots=2) as stage:
        stage.script = paced(service, 1)
        alone = sorted(await waits(home, quiet, 3, body))[-1]

        async def flood() -> None:
            while True:
                await ask(home, "/v1/chat/completions", body, flooder)

        floods = [asyncio.create_task(flood()) for _ in range(200)]
        await until(lambda: any(p.depth > 150 for p in load.read(home.settings.layout.run)), 10)
        more: list[float] = []
        while not more or (more[-1] > service * 1.5 and len(more) < runs):  # the half is what two busy cores add
            more.append(sorted(await waits(home, quiet, 12, body))[-2] - alone)
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        await until(lambda: stage.in_flight == 0, 5)
    assert more[-1] <= service * 1.5, more


async def waits(home: Home, secrets: list[str], rounds: int, body: dict[str, Any]) -> list[float]:
    """How long each exchange of the quiet ones took: they come one after another, each a little later than the last."""
    took: list[float] = []
    for _ in range(rounds):
        for secret in secrets:
            began = time.monotonic()
            status, _, answer = await ask(home, "/v1/chat/completions", body, secret)
            took.append(time.monotonic() - began)
            assert status == 200, json.loads(answer)
    return took
