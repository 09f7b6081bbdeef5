"""One request to the gateway, and the one way to answer it. Made by `connection`, used by everything else in the room.

An answer is either one body or a stream of server-sent events. Once a stream has begun its status cannot change, so a
later error becomes an error event, and a stream never ends as if nothing had happened. Writing is synchronous: what is
written goes to the socket in the same turn of the event loop, and a client that does not read pauses the runner.
"""

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.ids import new_id
from freehold.protocol.pushed import Flow

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_JSON_HEAD = "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\n"
_HEADS = {status: _JSON_HEAD.format(status, phrase).encode() for status, phrase in _REASONS.items()}
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\n"
    b"x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n"
)
_PAUSE_BYTES = 64 << 10

Headers = Iterable[tuple[bytes, bytes]]


class Call:
    """A request and its answer. `id` is the exchange id, told to the client as `x-request-id`."""

    __slots__ = (
        "_body", "_held", "_received", "_source", "_transport", "_waiter", "arrived", "begun", "ended", "headers",
        "id", "limits", "method", "size", "streaming", "target", "task", "told_broken", "twice", "waiting_since",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.id = new_id("exg")
        self.method = ""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}  # names in lower case
        self.twice: set[bytes] = set()  # names that came more than once
        self._body: list[bytes] = []
        self.size = 0  # bytes of the body so far
        self._received = False  # somebody has asked for the body
        self._held = False  # reading is paused until somebody asks
        self._waiter: asyncio.Future[None] | None = None
        self._source: Flow | None = None
        self.arrived = False  # the whole request
        self.begun = self.ended = self.streaming = False
        self.limits = b""  # `x-ratelimit-*` of the answer, as lines of its head
        self.task: asyncio.Task[None] | None = None  # which serves it
        self.told_broken: Callable[[Refused | Unavailable], bytes] | None = None  # how its stream tells an error
        self.waiting_since: float | None = None  # a stream that has nothing to say yet: when it last said so

    # --- what came in
    @property
    def path(self) -> str:
        """The decoded path, without the query."""
        path = self.target.partition(b"?")[0]
        return (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")

    @property
    def last(self) -> str:
        """The last segment of the path."""
        return self.path.rpartition("/")[2]

    @property
    def address(self) -> str:
        """Where the request came from, as the edge says."""
        return self.header(b"x-freehold-client") or ""

    def header(self, name: bytes) -> str | None:
        """The value of a header (name in lower case); None when absent. Raises Refused 400 when it came twice."""
        if name in self.twice:
            raise Refused("A header was sent twice.", code="duplicate_header")
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def body(self, limit: int) -> bytes:
        """The whole request body. Raises Refused 413 beyond `limit` bytes."""
        self._received = True
        while True:
            if self.size > limit:
                self._body.clear()
                raise Refused("The request body is too large.", status=413, code="body_too_large")
            if self.arrived:
                break
            self.drain()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    # --- the answer
    def reply(self, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
        """Answer with one JSON body."""
        self._head(_HEADS[status], headers, b"content-length: %d\r\n" % len(body), body)
        self.ended = True

    def write(self, events: bytes) -> None:
        """Send server-sent events, beginning the stream if need be."""
        self.waiting_since = None
        self._stream(events)

    def waits(self) -> None:
        """A stream was asked for and nothing is there to say yet."""
        self.waiting_since = asyncio.get_running_loop().time()

    def shows_wait(self, position: int, seconds: float) -> None:
        """Tell who shows it (the console) that this exchange waits in line: its position and the predicted seconds."""
        if self.waiting_since is not None and b"x-freehold-wait" in self.headers:
            self._stream(b': waiting {"position":%d,"seconds":%d}\n\n' % (position, max(1, round(seconds))))

    def keep_alive(self, now: float) -> None:
        """Say that there is nothing to say yet, in a comment, which clients skip."""
        self.waiting_since = now
        self._stream(b": waiting\n\n")

    def end(self, events: bytes = b"") -> None:
        """End the stream, after some last events."""
        self.waiting_since = None
        if not self.begun:
            self._stream(events)
            events = b""
        self.ended = True
        self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(events), events) if events else b"0\r\n\r\n")

    def fed_by(self, source: Flow) -> None:
        """Whose reading to pause while the client does not read."""
        self._source = source

    # --- the connection's side
    def receive(self, data: bytes) -> None:
        """More of the request's body."""
        self.size += len(data)
        if self.ended:
            return
        self._body.append(data)
        if self._received:
            self._wake()
        elif self.size > _PAUSE_BYTES and not self._held:
            self._held = True
            self._transport.pause_reading()

    def drain(self) -> None:
        """Read on, whether somebody wants it or not."""
        if self._held and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()

    def complete(self) -> None:
        """The request has arrived whole. What was held is let go: the rest came with what was read already."""
        self.arrived = True
        self.drain()
        self._wake()

    def pause(self) -> None:
        """The client reads too slowly."""
        if self._source is not None:
            self._source.pause()

    def resume(self) -> None:
        """It reads again."""
        if self._source is not None:
            self._source.resume()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():  # else the client has left, and this call is about to be cancelled
            self._transport.write(data)

    def _stream(self, events: bytes) -> None:
        chunk = b"%x\r\n%b\r\n" % (len(events), events) if events else b""
        if self.begun:
            self._write(chunk)
        else:
            self.streaming = True
            self._head(_STREAM_HEAD, (), b"", chunk)

    def _head(self, head: bytes, headers: Headers, length: bytes, rest: bytes) -> None:
        self.begun = True
        more = b"".join([b"%b: %b\r\n" % row for row in headers]) if headers else b""
        self._write(b"%b%b%b%bx-request-id: %b\r\n\r\n%b" % (head, length, self.limits, more, self.id.encode(), rest))
