"""An open-loop load generator: requests leave when they are due, whether earlier ones were answered or not.

Latency counts from when a request was due, so that a server that stalls is charged for all that waited meanwhile (no
coordinated omission). Raw HTTP/1.1 over TCP or a Unix socket on uvloop; everything that is not a complete 200 counts as
a failure.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop


@dataclass(frozen=True)
class Where:
    """Where to send: a TCP port of this machine or a Unix socket, and the whole request."""

    request: bytes
    port: int = 0
    socket: Path | None = None


@dataclass
class Seen:
    """What came of it. Times in seconds."""

    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    failures: int = 0
    chunks: int = 0

    def at(self, share: float) -> float:
        """The latency at this share (0.5, 0.99) of the answers, in ms."""
        return _at(self.latencies, share)

    def first_at(self, share: float) -> float:
        """The time to the first event of a stream at this share, in ms."""
        return _at(self.firsts, share)


def run(where: Where, *, rate: float, seconds: float, mark: bytes = b"") -> Seen:
    """Send `rate` requests a second for `seconds`. `mark` is counted in the bodies, its first is an answer's first."""
    return uvloop.run(_run(where, rate, seconds, mark))


def hold(where: Where, streams: int, seconds: float) -> int:
    """Open so many streams, keep them for `seconds` without reading to the end; gives how many were open."""
    return uvloop.run(_hold(where, streams, seconds))


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._transport: asyncio.Transport
        self.due = 0.0
        self.open = False
        self._begin()

    def _begin(self) -> None:
        self._head = b""
        self._status = self._length = self._size = 0
        self._chunked = self._headed = False
        self._first = True
        self._tail = b""

    def send(self, due: float) -> None:
        self.due = due
        self._begin()
        self._transport.write(self._load.where.request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self.due:
            self._load.failed(self)

    def data_received(self, data: bytes) -> None:
        if not self._headed:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._headed = True
            lower = head.lower()
            self._status = int(head[9:12])
            self._chunked = b"transfer-encoding: chunked" in lower
            if not self._chunked:
                self._length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0] or b"0")
        self._size += len(data)
        mark = self._load.mark
        if mark and data:
            marks = (self._tail + data).count(mark) if self._tail else data.count(mark)
            self._load.seen.chunks += marks
            if self._first and marks:
                self._first = False
                self._load.seen.firsts.append(self._load.now() - self.due)
            self._tail = b""
        done = data.endswith(b"0\r\n\r\n") if self._chunked else self._size >= self._length
        if done:
            self._load.answered(self, self._status)

    def drop(self) -> None:
        self.due = 0.0
        self._transport.abort()


class _Load:
    def __init__(self, where: Where, mark: bytes) -> None:
        self.where = where
        self.mark = mark
        self.seen = Seen()
        self.idle: list[_Connection] = []
        self.busy: set[_Connection] = set()
        self.now = time.perf_counter  # uvloop's own clock goes in milliseconds

    async def connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if self.where.socket is not None:
            _, made = await loop.create_unix_connection(lambda: _Connection(self), str(self.where.socket))
        else:
            _, made = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.where.port)
        return made

    async def ask(self, due: float) -> None:
        try:
            connection = self.idle.pop() if self.idle else await self.connect()
        except OSError:
            self.seen.failures += 1
            return
        self.busy.add(connection)
        connection.send(due)

    def answered(self, connection: _Connection, status: int) -> None:
        if status == 200:
            self.seen.latencies.append(self.now() - connection.due)
        else:
            self.seen.failures += 1
        connection.due = 0.0
        self.busy.discard(connection)
        if connection.open:
            self.idle.append(connection)

    def failed(self, connection: _Connection) -> None:
        self.seen.failures += 1
        connection.due = 0.0
        self.busy.discard(connection)


async def _run(where: Where, rate: float, seconds: float, mark: bytes) -> Seen:
    load = _Load(where, mark)
    load.idle = [await load.connect() for _ in range(min(64, max(4, int(rate / 50))))]
    begin = load.now() + 0.05
    tasks: set[asyncio.Task[None]] = set()
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        while (wait := due - load.now()) > 0:  # noqa: ASYNC110 - the clock is what is waited for
            await asyncio.sleep(wait)
        if load.idle:
            await load.ask(due)
        else:
            task = asyncio.create_task(load.ask(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    deadline = load.now() + 15
    while (load.busy or tasks) and load.now() < deadline:  # noqa: ASYNC110 - answers come by callback
        await asyncio.sleep(0.02)
    load.seen.failures += len(load.busy)
    for connection in [*load.busy, *load.idle]:
        connection.drop()
    return load.seen


async def _hold(where: Where, streams: int, seconds: float) -> int:
    load = _Load(where, b"")
    for begin in range(0, streams, 100):
        for _ in range(min(100, streams - begin)):
            await load.ask(load.now())
        await asyncio.sleep(0.05)
    await asyncio.sleep(seconds)
    held = len(load.busy)
    for connection in [*load.busy, *load.idle]:
        connection.drop()
    return held


def _at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("nan")
