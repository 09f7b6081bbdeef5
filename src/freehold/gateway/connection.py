"""The gateway's HTTP/1.1 server: connections of the edge and the console on a Unix socket, one `Call` at a time.

Only our own edge and console can reach the socket (mode 0600), so what is served is their subset: HTTP/1.1, no
pipelining, no upgrade. It exists because a general server costs more than the whole exchange (decision 0006): here a
request is one task and a client's leaving cancels that task, with no watcher beside it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import httptools

from freehold.gateway.call import Call

_HEAD_LIMIT = 128 << 10
_DRAIN_LIMIT = 64 << 20
_SWEEP_SECONDS = 1.0
_HEARTBEAT_SECONDS = 10.0
_IDLE_SECONDS = 75.0
_GRACE_SECONDS = 5.0

Serve = Callable[[Call], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(path: Path, serve: Serve) -> AsyncIterator[None]:
    """Serve calls on the socket `path` (made with mode 0600) while the block runs; then let calls end for a while."""
    loop = asyncio.get_running_loop()
    connections: set[Connection] = set()
    path.unlink(missing_ok=True)
    server = await loop.create_unix_server(lambda: Connection(serve, connections), str(path), backlog=4096)
    path.chmod(0o600)
    sweeper = asyncio.create_task(_sweep(connections))
    try:
        yield
    finally:
        server.close()
        await _wind_up(connections)
        sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeper
        path.unlink(missing_ok=True)


async def _sweep(connections: set["Connection"]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        now = loop.time()
        for connection in list(connections):
            connection.tick(now)


async def _wind_up(connections: set["Connection"]) -> None:
    for connection in list(connections):
        connection.last()
    if tasks := {c.task for c in connections if c.task is not None}:
        await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
    for connection in list(connections):
        connection.abort()
    if tasks := {c.task for c in connections if c.task is not None}:
        await asyncio.wait(tasks)


class Connection(asyncio.Protocol):
    """One connection: parses requests, runs each as a task, and cancels it when the peer leaves."""

    def __init__(self, serve: Serve, connections: set["Connection"]) -> None:
        self._serve = serve
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._call: Call | None = None
        self._head_bytes = 0  # of a head that is not complete yet
        self._named = 0  # of the headers so far
        self._quiet_since = self._loop.time()
        self._begun = self._head_done = self._refuse = self._last = self._keep = False
        self.task: asyncio.Task[None] | None = None

    def tick(self, now: float) -> None:
        """Once a second: close what is idle, keep alive what waits."""
        call = self._call
        if call is None or self.task is None:
            if now - self._quiet_since > _IDLE_SECONDS:
                self.abort()
        elif call.waiting_since is not None and now - call.waiting_since >= _HEARTBEAT_SECONDS:
            call.keep_alive(now)

    def last(self) -> None:
        """No further request on this connection."""
        self._last = True
        if self.task is None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # --- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        if self._call is not None:
            self._call.pause()

    def resume_writing(self) -> None:
        if self._call is not None:
            self._call.resume()

    def data_received(self, data: bytes) -> None:
        self._quiet_since = self._loop.time()
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse = True
        call = self._call
        if self._refuse or (not self._head_done and self._head_bytes > _HEAD_LIMIT):
            self._transport.abort()
        elif call is not None and self.task is None and self._begun:
            self._begun = False
            self.task = call.task = self._loop.create_task(self._run(call))

    async def _run(self, call: Call) -> None:
        try:
            await self._serve(call)
        finally:
            self.task = call.task = call.told_broken = None  # what refers in a circle would wait for the collector
            self._finish(call)

    def _finish(self, call: Call) -> None:
        if not call.ended:
            self._transport.abort()
        elif call.arrived:
            self._next()
        else:
            call.drain()  # what is left of a request that was answered early is read and dropped

    def _next(self) -> None:
        self._call = None
        self._head_done = False
        self._head_bytes = self._named = 0
        self._quiet_since = self._loop.time()
        if self._last or not self._keep:
            self._transport.close()

    # --- httptools callbacks
    def on_message_begin(self) -> None:
        if self._call is not None:  # a second request before the first was answered
            self._refuse = True
            return
        self._call = Call(self._transport)

    def on_url(self, url: bytes) -> None:
        if self._call is not None:
            self._call.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        call = self._call
        if call is not None:
            name = name.lower()
            if name in call.headers:
                call.twice.add(name)
            call.headers[name] = value
            self._named += len(name) + len(value)
            if self._named > _HEAD_LIMIT:
                self._refuse = True

    def on_headers_complete(self) -> None:
        if self._call is not None:
            self._call.method = self._parser.get_method().decode("latin-1")
            self._begun = self._head_done = True
            if self._parser.get_http_version() != "1.1":
                self._refuse = True

    def on_body(self, body: bytes) -> None:
        if self._call is not None:
            self._call.receive(body)
            if self._call.size > _DRAIN_LIMIT:
                self._refuse = True

    def on_message_complete(self) -> None:
        call = self._call
        if call is None:
            return
        call.complete()
        self._keep = self._parser.should_keep_alive()
        if call.ended and self.task is None:
            self._next()
