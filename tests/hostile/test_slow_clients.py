"""Clients that stall hurt nobody else (BAR-9): 1,000 that never end a head, 200 a body, 200 that do not read.

Two edges run side by side, one of them full of such clients. A good client asks both in turn, so that whatever else the
machine does meanwhile hits both measures alike. What a stuck connection costs is Envoy's resident memory.
"""

import asyncio
import contextlib
import socket
import time
from pathlib import Path

import pytest

from freehold.settings import Edge
from tests.conftest import until
from tests.edge.door import Door, free_port, opened
from tests.edge.recorder import Recorded

pytestmark = [pytest.mark.slow, pytest.mark.soak]

HEADS, BODIES, READERS = 1000, 200, 200
SAMPLES, ROUNDS = 1500, 3
FLOOR = 0.005
"""What a p99 may always be (s): below it a scheduler's turn counts for more than the edge."""

BIG = 16 << 20


class Pour:
    """Answers with more than anybody holds for a client, and counts how often it got rid of it all."""

    def __init__(self) -> None:
        self.emptied = 0

    async def __call__(self, _: Recorded, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG)
        for _turn in range(BIG >> 16):
            writer.write(b"x" * (1 << 16))
            await writer.drain()
        self.emptied += 1


def _resident(door: Door) -> int:
    """Envoy's resident memory in bytes."""
    return int(Path(f"/proc/{door.envoy.pid}/statm").read_text().split()[1]) * 4096


class Stuck:
    """The clients that stall."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._context = door.tls()
        self._writers: list[asyncio.StreamWriter] = []
        self._gate = asyncio.Semaphore(50)
        self.heads: list[asyncio.StreamWriter] = []

    async def begin(self, said: bytes) -> asyncio.StreamWriter:
        """One client: it says this, and reads nothing (it has little room for it)."""
        async with self._gate:
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self._door.edge.port))
            _, writer = await asyncio.open_connection(
                sock=plain, ssl=self._context, server_hostname="localhost", limit=1024
            )
            self._writers.append(writer)
            writer.write(said)
            await writer.drain()
            return writer

    async def begin_all(self) -> None:
        """All of them."""
        target = f"host: {self._door.host}\r\n".encode()
        head = b"GET /v1/models HTTP/1.1\r\n" + target + b"x-slow: "
        body = b"POST /v1/chat/completions HTTP/1.1\r\n" + target + b"content-length: 100000\r\n\r\n{"
        reader = b"GET /v1/pour HTTP/1.1\r\n" + target + b"\r\n"
        heads = asyncio.gather(*(self.begin(head) for _ in range(HEADS)))
        await asyncio.gather(
            heads, *(self.begin(body) for _ in range(BODIES)), *(self.begin(reader) for _ in range(READERS))
        )
        self.heads = heads.result()

    def trickle(self) -> None:
        """Each says one byte more, so that none looks idle."""
        for writer in self.heads:
            if not writer.is_closing():
                writer.write(b"a")

    def held(self) -> int:
        """How many the edge still holds."""
        return sum(not writer.is_closing() for writer in self._writers)

    def heads_are_gone(self) -> bool:
        """Has the edge ended every head that was not?"""
        return all(writer.is_closing() for writer in self.heads)

    def leave(self) -> None:
        """All go."""
        for writer in self._writers:
            writer.transport.abort()


async def _ask(door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    began = time.perf_counter()
    writer.write(f"GET /v1/models HTTP/1.1\r\nhost: {door.host}\r\n\r\n".encode())
    answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 200 ")
    return time.perf_counter() - began


def _p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


async def _measure(calm: Door, busy: Door, stuck: Stuck) -> tuple[float, float]:
    """The p99 of a good client at both, asked in turn; now and then it comes on a new connection."""
    times: dict[int, list[float]] = {id(calm): [], id(busy): []}
    contexts = {id(calm): calm.tls(), id(busy): busy.tls()}
    for turn in range(SAMPLES):
        if turn % 100 == 0:
            pair = []
            for door in (calm, busy):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", door.edge.port, ssl=contexts[id(door)], server_hostname="localhost"
                )
                pair.append((door, reader, writer))
        if turn % 300 == 150:
            stuck.trickle()
            await asyncio.sleep(0)
        for door, reader, writer in pair if turn % 2 else reversed(pair):
            times[id(door)].append(await _ask(door, reader, writer))
        if turn % 100 == 99:
            for _, _, writer in pair:
                writer.transport.abort()
    return _p99(times[id(calm)]), _p99(times[id(busy)])


async def _besiege(calm: Door, busy: Door, pour: Pour) -> None:
    before = _resident(busy)
    for left in reversed(range(ROUNDS)):
        stuck = Stuck(busy)
        try:
            await stuck.begin_all()
            begun = time.monotonic()
            await until(lambda: len(busy.gateway.requests) >= READERS, 10)
            cost = (_resident(busy) - before) / stuck.held()
            calm_p99, busy_p99 = await _measure(calm, busy, stuck)
            print(f"p99 {calm_p99 * 1e3:.2f} ms, besieged {busy_p99 * 1e3:.2f} ms, {cost / 1024:.1f} KiB a connection")
            assert cost <= 64 << 10
            assert pour.emptied == 0, "those that do not read were not stuck"
            if busy_p99 > max(2 * calm_p99, FLOOR):
                assert left, "the good client was slower in every round"
                continue
            await until(stuck.heads_are_gone, begun + Edge().header_timeout + 3 - time.monotonic())
            return
        finally:
            stuck.leave()


def test_stalled_clients_slow_nobody_down() -> None:
    assert Edge().header_timeout <= 10
    pour = Pour()
    with contextlib.ExitStack() as stack:
        calm, busy = (stack.enter_context(opened(Edge(port=free_port()))) for _ in range(2))
        busy.gateway.scripts["/v1/pour"] = pour
        asyncio.run(_besiege(calm, busy, pour))
