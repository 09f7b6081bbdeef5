"""HTTP/2 turned against the server (BAR-10): resets, headers without end, compressed bombs, floods of small frames.

Every attack must end its own connection early; none may reach the upstream more often than a connection has streams,
fill the edge's memory, or keep another client waiting. Rapid Reset is CVE-2023-44487, MadeYouReset CVE-2025-8671 (the
client makes the server reset), the endless head CVE-2024-27316 and kin, the rest CVE-2019-9511 to 9518.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.settings import Edge
from tests.conftest import until
from tests.edge.door import Door, free_port, opened
from tests.edge.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RESET,
    SETTINGS,
    WINDOW,
    Talk,
    block,
    frame,
    head,
    pseudo,
    talking,
    text,
)  # fmt: skip
from tests.edge.recorder import Recorded

pytestmark = [pytest.mark.slow, pytest.mark.soak]

STREAMS = 100
"""How many streams, and how many resets, one connection has."""

Attack = Callable[[Talk], Coroutine[Any, Any, None]]


class Hold:
    """An upstream that takes a request and does not answer. `held` is how many it has."""

    def __init__(self) -> None:
        self.held = 0

    async def __call__(self, _: Recorded, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        self.held += 1
        try:
            await reader.read(1)
        finally:
            self.held -= 1


@pytest.fixture(scope="module")
def flooded() -> Iterator[Door]:
    """An edge for the attacks alone: its memory is watched."""
    with opened(Edge(port=free_port())) as door:
        yield door


def _resident(door: Door) -> int:
    return int(Path(f"/proc/{door.envoy.pid}/statm").read_text().split()[1]) * 4096


def _held(stream: int) -> bytes:
    return head(stream, pseudo(b"GET", b"/v1/hold"), end=True)


def _posted(stream: int, *rows: tuple[bytes, bytes]) -> bytes:
    return head(stream, [*pseudo(b"POST", b"/v1/hold"), *rows])


RESETS: dict[str, Callable[[int], bytes]] = {
    "the client resets": lambda s: _held(s) + frame(RESET, 0, s, b"\0\0\0\x08"),
    "the client resets a body": lambda s: _posted(s) + frame(DATA, 0, s, b"{") + frame(RESET, 0, s, b"\0\0\0\x08"),
    "a window of nothing": lambda s: _held(s) + frame(WINDOW, 0, s, b"\0\0\0\0"),
    "a window beyond its bound": lambda s: _held(s) + frame(WINDOW, 0, s, b"\x7f\xff\xff\xff"),
    "a priority of a wrong length": lambda s: _held(s) + frame(PRIORITY, 0, s, b"\0\0\0\0"),
    "a priority of itself": lambda s: _held(s) + frame(PRIORITY, 0, s, struct.pack(">IB", s, 1)),
    "a body after the end": lambda s: _held(s) + frame(DATA, END_STREAM, s, b"x"),
    "a head after the end": lambda s: _held(s) + _held(s),
    "more than the length": lambda s: _posted(s, (b"content-length", b"1")) + frame(DATA, END_STREAM, s, b"xxx"),
}
"""Ways to have a stream reset, by the client or (MadeYouReset) by the server."""


@pytest.mark.parametrize("way", RESETS)
def test_resets_end_their_connection(flooded: Door, way: str) -> None:
    hold = Hold()
    flooded.gateway.clear()
    flooded.gateway.scripts["/v1/hold"] = hold

    async def attack() -> None:
        async with talking(flooded) as talk:
            listening = asyncio.create_task(talk.until_over(15))
            for turn in range(1000):
                if talk.over or not await talk.say(RESETS[way](2 * turn + 1)):
                    break
                if turn % 20 == 19:
                    await asyncio.sleep(0)
            await listening
            assert talk.over, f"{len(talk.resets)} resets and still there"
        await until(lambda: hold.held == 0)

    asyncio.run(attack())
    assert len(flooded.gateway.requests) <= STREAMS + 1
    assert flooded.ask("GET", "/v1/models").status == 200


def test_no_more_than_a_hundred_streams_at_once(flooded: Door) -> None:
    hold = Hold()
    flooded.gateway.clear()
    flooded.gateway.scripts["/v1/hold"] = hold

    async def attack() -> None:
        async with talking(flooded) as talk:
            await talk.say(b"".join(_held(2 * turn + 1) for turn in range(STREAMS + 20)))
            await until(lambda: hold.held == STREAMS or talk.over)
            await talk.until(set(range(2 * STREAMS + 1, 2 * STREAMS + 41, 2)), 5)
            assert talk.settings[3] == STREAMS
            assert talk.over or len(talk.resets) == 20
        await until(lambda: hold.held == 0)

    asyncio.run(attack())
    assert len(flooded.gateway.requests) <= STREAMS


async def _repeated(talk: Talk, data: bytes, times: int) -> None:
    """Send that, again and again, until the server has enough."""
    for _ in range(times):
        if talk.over or not await talk.say(data):
            return
        await asyncio.sleep(0)


def _flood(data: bytes, *, first: bytes = b"", times: int = 3000) -> Attack:
    async def attack(talk: Talk) -> None:
        await talk.say(first)
        await _repeated(talk, data * max(1, 16_000 // len(data)), times)

    return attack


def _bomb(rows: int) -> bytes:
    """A head of a few kilobytes that says `rows` rows of 4,000 bytes: one goes into the table, the rest refer to it."""
    stored = b"\x40" + text(b"accept") + text(b"x" * 4000)
    return block(pseudo(b"GET", b"/v1/x")) + stored + b"\xbe" * rows


async def _bombs(talk: Talk) -> None:
    for turn in range(STREAMS):
        if talk.over or not await talk.say(frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, _bomb(8000))):
            return


async def _deaf(talk: Talk) -> None:
    """Ask for much and take nothing: the windows stay shut."""
    await talk.say(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    await talk.say(b"".join(head(2 * n + 1, pseudo(b"GET", b"/v1/models"), end=True) for n in range(STREAMS)))
    await _repeated(talk, b"".join(frame(PING, 0, 0, b"12345678") for _ in range(500)), 60)


_OPEN = head(1, pseudo(b"POST", b"/v1/x"))
FLOODS: dict[str, Attack] = {
    "ping": _flood(frame(PING, 0, 0, b"12345678")),
    "ping's answers": _flood(frame(PING, 1, 0, b"12345678"), times=300),
    "settings": _flood(frame(SETTINGS, 0, 0)),
    "settings that flip": _flood(frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0) + struct.pack(">HI", 1, 4096)) * 2),
    "empty data": _flood(frame(DATA, 0, 1), first=_OPEN),
    "padding for data": _flood(frame(DATA, 8, 1, b"\x0f" + b"\0" * 15), first=_OPEN),
    "priority": _flood(frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)), first=_OPEN),
    "priority of idle streams": _flood(b"".join(frame(PRIORITY, 0, 2 * n + 1, struct.pack(">IB", 0, 1)) for n in range(500))),
    "window": _flood(frame(WINDOW, 0, 0, b"\0\0\0\x01"), first=_OPEN),
    "window of a stream": _flood(frame(WINDOW, 0, 1, b"\0\0\0\x01"), first=_OPEN),
    "empty continuation": _flood(frame(CONTINUATION, 0, 1), first=frame(HEADERS, 0, 1)),
    "full continuation": _flood(
        frame(CONTINUATION, 0, 1, block([(b"accept", b"x" * 1000)] * 15)), first=frame(HEADERS, 0, 1, block(pseudo(b"GET", b"/v1/x")))
    ),
    "half a name, for ever": _flood(frame(CONTINUATION, 0, 1, b"x" * 16_000), first=frame(HEADERS, 0, 1, b"\x10\x7f\x80\x80\x80\x10")),
    "rows of nothing": _flood(frame(CONTINUATION, 0, 1, b"\x10\x00\x00" * 5000), first=frame(HEADERS, 0, 1, block(pseudo(b"GET", b"/v1/x")))),
    "table sizes": _flood(frame(HEADERS, END_HEADERS, 1, b"\x20" * 16_000)),
    "resets of idle streams": _flood(frame(RESET, 0, 1, b"\0\0\0\x08")),
    "unknown frames": _flood(frame(0x77, 0, 0, b"x"), times=300),
    "bombs": _bombs,
    "deaf": _deaf,
}  # fmt: skip


IGNORED = {"ping's answers", "unknown frames"}
"""What a server is to pass over: that costs it nothing, and the connection may stay."""


async def _good(door: Door, over: asyncio.Event) -> list[float]:
    """How long each answer took to somebody who asks all the while."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", door.edge.port, ssl=door.tls(), server_hostname="localhost"
    )
    times: list[float] = []
    while not over.is_set() or len(times) < 20:
        began = time.perf_counter()
        writer.write(f"GET /v1/models HTTP/1.1\r\nhost: {door.host}\r\n\r\n".encode())
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        times.append(time.perf_counter() - began)
    writer.transport.abort()
    return times


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection_and_keeps_nobody_waiting(flooded: Door, name: str) -> None:
    flooded.gateway.clear()
    before = _resident(flooded)

    async def attack(over: asyncio.Event) -> float:
        began = time.monotonic()
        try:
            async with talking(flooded) as talk, asyncio.timeout(5):
                attacking = asyncio.create_task(FLOODS[name](talk))
                if name == "deaf" or name in IGNORED:
                    await attacking
                if name not in IGNORED:
                    await talk.until_over(5)
                    await attacking
                assert talk.over or name in IGNORED
                return time.monotonic() - began
        finally:
            over.set()

    async def both() -> tuple[float, list[float]]:
        over = asyncio.Event()
        return await asyncio.gather(attack(over), _good(flooded, over))

    took, times = asyncio.run(both())
    assert flooded.envoy.poll() is None
    assert took < 5
    assert _resident(flooded) - before <= 32 << 20
    assert sorted(times)[len(times) * 9 // 10] < 0.25
    assert len(flooded.gateway.requests) <= len(times) + STREAMS
