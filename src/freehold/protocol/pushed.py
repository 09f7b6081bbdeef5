"""A lean HTTP/1.1 client over a Unix socket that pushes an answer's bytes to its receiver as they are read.

The gateway's way to a runner. Where `http.UnixClient` hands out chunks to whoever awaits them, this one calls the
receiver straight from the read: one turn of the event loop from a runner's token to the client's socket, and one
`await` for a whole exchange. Deadlines are looked at four times a second by one timer for all connections of a runner,
since a timer for every request would cost more than the request.
"""

import asyncio
from typing import Protocol, cast

import httptools
import msgspec

from freehold.protocol.errors import FreeholdError
from freehold.protocol.http import PeerGone

_HEAD_LIMIT = 32 << 10
_SWEEP_SECONDS = 0.25
_PARK_SECONDS = 1.0


class Flow(Protocol):
    """What a receiver may do to the sender."""

    def pause(self) -> None:
        """Read nothing more for now."""
        ...

    def resume(self) -> None:
        """Go on reading."""
        ...


class Receiver(Protocol):
    """Who gets an answer. Its methods are called from the event loop and must not block; what they raise ends the
    exchange and is raised from `post`."""

    def begun(self, flow: Flow) -> None:
        """The request is on its way on this connection."""
        ...

    def chunk(self, status: int, data: bytes) -> bool:
        """More of the body. True: the receiver has all that it needs, the exchange may end here."""
        ...

    def ended(self, status: int) -> None:
        """The body is complete, and the receiver has not said that it had all before."""
        ...


class PushClient:
    """Requests to one Unix socket over a pool of kept connections. For one event loop."""

    def __init__(self, path: str, *, host: str = "runner", connect_timeout: float = 2.0, max_idle: int = 64) -> None:
        self._path = path
        self._head = f" HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: "
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._idle: list[_Channel] = []
        self._busy: set[_Channel] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, path: str, body: bytes, receiver: Receiver, *, first: float, idle: float) -> None:
        """Send a request and push its answer to `receiver` until it says that it has it all.

        `first` and `idle` bound the wait (s) for the answer's first byte and between two. Raises PeerGone when there is
        no peer or it breaks, TimeoutError, and what the receiver raises. Being cancelled closes the connection.
        """
        message = f"POST {path}{self._head}{len(body)}\r\n\r\n".encode("latin-1") + body
        while True:
            reused = bool(self._idle)
            channel = self._idle.pop() if reused else await self._connect()
            try:
                await channel.exchange(message, receiver, first, idle)
            except PeerGone:
                if reused and not channel.heard:  # an idle connection that the peer had closed: nothing was begun
                    continue
                raise
            return

    def close(self) -> None:
        """Drop the idle connections; those in use end with their exchange."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> "_Channel":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, channel = await loop.create_unix_connection(lambda: _Channel(self), self._path)
        except (OSError, TimeoutError) as error:
            raise PeerGone(type(error).__name__) from None
        return channel

    # --- the channels' side
    def watch(self, channel: "_Channel") -> None:
        self._busy.add(channel)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def settle(self, channel: "_Channel", *, reusable: bool) -> None:
        self._busy.discard(channel)
        if reusable and not self._closed and len(self._idle) < self._max_idle:
            self._idle.append(channel)
        else:
            channel.close()

    def lost(self, channel: "_Channel") -> None:
        self._busy.discard(channel)
        if channel in self._idle:
            self._idle.remove(channel)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for channel in [c for c in self._busy if c.deadline < now]:
            channel.give_up()
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._busy else None


class _Channel(asyncio.Protocol):
    """One connection. An exchange is over when the receiver has it all; the channel is free again when HTTP says so."""

    def __init__(self, client: PushClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._done: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []
        self._idle_timeout = 0.0
        self._head_bytes = 0
        self._status = 0
        self._complete = self._keep = self._gone = self._paused = self._surplus = False
        self.heard = False
        self.deadline = 0.0

    async def exchange(self, message: bytes, receiver: Receiver, first: float, idle: float) -> None:
        if self._gone or self._transport is None:
            raise PeerGone("closed")
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = self._status = 0
        self._complete = self._keep = self.heard = False
        self._receiver = receiver
        self._idle_timeout = idle
        self.deadline = self._loop.time() + first
        self._done = done = self._loop.create_future()
        receiver.begun(self)
        self._client.watch(self)
        self._transport.write(message)
        try:
            await done
        except BaseException:
            self.close()
            raise
        finally:
            self._receiver = self._done = None
            self.resume()
        if self._complete:
            self._client.settle(self, reusable=self._keep)
        else:  # the receiver has all; the end of the HTTP message is still under way
            self.deadline = self._loop.time() + _PARK_SECONDS

    def give_up(self) -> None:
        """The deadline has passed."""
        if self._paused:  # it is the client that does not read: its own time limits are the edge's
            self.deadline = self._loop.time() + self._idle_timeout
            return
        self._end(TimeoutError())
        self.close()

    def close(self) -> None:
        self._gone = True
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if not self._paused and self._transport is not None and not self._gone:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None and not self._gone:
            self._paused = False
            self._transport.resume_reading()

    @property
    def _over(self) -> bool:
        return self._complete

    @property
    def _headed(self) -> bool:
        return self._status != 0

    def _end(self, error: BaseException | None = None) -> None:
        done = self._done
        if done is None or done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    # --- asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._client.lost(self)
        self._end(PeerGone("closed before the end of its answer"))

    def data_received(self, data: bytes) -> None:
        if self._over or self._gone:  # bytes that no request asked for
            self.close()
            return
        self.heard = True
        if self._receiver is not None:  # else parked: what still comes does not make it last longer
            self.deadline = self._loop.time() + self._idle_timeout
        if not self._headed:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._keep = False
            if not self._over:
                self._end(PeerGone("did not speak HTTP"))
                self.close()
                return
        if not self._headed:
            if self._head_bytes > _HEAD_LIMIT:
                self._end(PeerGone("too long a head"))
                self.close()
            return
        receiver = self._receiver
        if receiver is None:
            if self._surplus:  # it goes on although the receiver has it all: closing tells it to stop
                self.close()
            elif self._complete:  # parked until now
                self._client.settle(self, reusable=self._keep)
            return
        parts, self._parts = self._parts, []
        try:
            if parts and receiver.chunk(self._status, parts[0] if len(parts) == 1 else b"".join(parts)):
                self._end()
            elif self._complete:
                receiver.ended(self._status)
                self._end()
        except (FreeholdError, ValueError, msgspec.MsgspecError) as error:  # raised where the exchange awaits its end
            self._end(error)

    # --- httptools callbacks
    def on_message_begin(self) -> None:
        self._keep = False

    def on_headers_complete(self) -> None:
        if not self._complete:
            self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._receiver is not None and not self._complete:
            self._parts.append(body)
        else:
            self._surplus = True

    def on_message_complete(self) -> None:
        self._keep = self._parser.should_keep_alive() and not self._complete  # a second answer was not asked for
        self._complete = True
