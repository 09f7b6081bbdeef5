"""A lean HTTP/1.1 client over Unix sockets: one request, its status, and its body as it arrives.

The one way in which our processes talk to each other: gateway → runner, console → gateway, runner → engine,
supervisor → Envoy's admin. Connections are kept for reuse only after a complete, well-framed answer; leaving the
`async with` early closes the connection, which is how a cancellation reaches the other side at once.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import httptools

_HEAD_LIMIT = 32 << 10


class PeerGone(ConnectionError):
    """The other side could not be reached, closed early, or did not speak HTTP."""


class Response:
    """The answer of one request. Iterate `body()` once, or `await read()`."""

    def __init__(self, channel: "_Channel") -> None:
        self._channel = channel

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._channel.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers, names in lower case."""
        return self._channel.headers

    async def body(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive. Raises PeerGone when the stream breaks before its end."""
        while chunk := await self._channel.next_chunk():
            yield chunk

    async def read(self, limit: int = 16 << 20) -> bytes:
        """The whole body, at most `limit` bytes (else PeerGone)."""
        parts, size = [], 0
        async for chunk in self.body():
            size += len(chunk)
            if size > limit:
                raise PeerGone("the answer is too large")
            parts.append(chunk)
        return b"".join(parts)

    async def json(self) -> Any:
        """The whole body as JSON."""
        return json.loads(await self.read())


class UnixClient:
    """Requests to one Unix socket, with a small pool of idle connections. Safe for concurrent use in one event loop."""

    def __init__(self, path: str, *, host: str = "freehold", connect_timeout: float = 2.0, max_idle: int = 32) -> None:
        self._path = path
        self._host = host
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._idle: list[_Channel] = []

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[Response]:
        """Send one request; yields its `Response` when the head has arrived. `timeout` (s) bounds the wait for it.

        Raises PeerGone when there is no peer or it breaks, TimeoutError when the head does not come in time.
        """
        head = [f"{method} {path} HTTP/1.1", f"host: {self._host}"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            head.append(f"content-length: {len(body)}")
        message = "\r\n".join([*head, "", ""]).encode("latin-1") + (body or b"")
        channel = await self._send(message, timeout)
        try:
            yield Response(channel)
        finally:
            if channel.reusable and len(self._idle) < self._max_idle:
                self._idle.append(channel)
            else:
                channel.close()

    async def _send(self, message: bytes, timeout: float | None) -> "_Channel":
        while True:
            reused = bool(self._idle)
            channel = self._idle.pop() if reused else await self._connect()
            try:
                channel.send(message)
                async with asyncio.timeout(timeout):
                    await channel.head()
            except PeerGone:
                channel.close()
                if reused and not channel.heard:  # an idle connection that the peer had closed: nothing was begun
                    continue
                raise
            except BaseException:
                channel.close()
                raise
            return channel

    async def _connect(self) -> "_Channel":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, channel = await loop.create_unix_connection(_Channel, self._path)
        except (OSError, TimeoutError) as error:
            raise PeerGone(type(error).__name__) from None
        return channel

    def close(self) -> None:
        """Drop the idle connections."""
        while self._idle:
            self._idle.pop().close()


class _Channel(asyncio.Protocol):
    """One connection: feeds httptools and hands out the head and the body's chunks, with back-pressure."""

    _HIGH_WATER = 256 << 10

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._gone = False
        self._waiter: asyncio.Future[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._head_bytes = 0
        self._head_done = self._complete = self._paused = self._keep_alive = False
        self.heard = False
        self.status = 0
        self.headers: dict[str, str] = {}

    # --- the caller's side
    def send(self, message: bytes) -> None:
        self._reset()
        if self._gone or self._transport is None:
            raise PeerGone("closed")
        self._transport.write(message)

    async def head(self) -> None:
        while not self._head_done:
            await self._wait()

    async def next_chunk(self) -> bytes:
        while not self._chunks:
            if self._complete:
                return b""
            await self._wait()
        chunk = self._chunks.popleft()
        self._buffered -= len(chunk)
        if self._paused and self._buffered < self._HIGH_WATER // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    @property
    def reusable(self) -> bool:
        return self._complete and not self._gone and not self._paused and self._keep_alive

    def close(self) -> None:
        self._gone = True
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._gone:
            raise PeerGone("closed before the end of its answer")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._complete:  # bytes that no request asked for
            self.close()
            return
        self.heard = True
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
        if not self._head_done and self._head_bytes > _HEAD_LIMIT:
            self.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._wake()

    # --- httptools callbacks; a second answer in the same read was not asked for, and nothing of it may touch the first
    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._complete:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if not self._complete:
            self.status = self._parser.get_status_code()
            self._head_done = True

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > self._HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive() and not self._complete  # llhttp knows it here only
        self._complete = True
