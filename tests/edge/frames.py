"""HTTP/2 written by hand: frames and header blocks exactly as given, and a connection that says what came for them.

A library refuses to say what a well-behaved client would not. Header rows are literals without the dynamic table, so a
block means the same on every connection. Used by the hostile tests of HTTP/2.
"""

import asyncio
import contextlib
import ssl
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import hpack

from tests.edge.door import Entrance

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Row = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value: bytes) -> bytes:
    """A string of a header block, not compressed."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    left, length = len(value) - 127, b"\x7f"
    while left >= 128:
        length += bytes([left % 128 | 128])
        left //= 128
    return length + bytes([left]) + value


def block(rows: Iterable[Row]) -> bytes:
    """A header block of these rows, each a literal that is never indexed."""
    return b"".join(b"\x10" + text(name) + text(value) for name, value in rows)


def head(stream: int, rows: Iterable[Row], *, end: bool = False) -> bytes:
    """A HEADERS frame with the whole block."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(rows))


def pseudo(method: bytes, path: bytes, authority: bytes = b"localhost") -> list[Row]:
    """The four rows that a request begins with."""
    return [(b":method", method), (b":scheme", b"https"), (b":authority", authority), (b":path", path)]


@dataclass
class Talk:
    """A connection and what came on it: stream → status and body, which streams ended how, the goodbye."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    statuses: dict[int, int] = field(default_factory=dict)
    bodies: defaultdict[int, bytes] = field(default_factory=lambda: defaultdict(bytes))
    ended: set[int] = field(default_factory=set)
    resets: dict[int, int] = field(default_factory=dict)
    settings: dict[int, int] = field(default_factory=dict)
    heard: bytes = b""
    """Every payload, and the header rows as they read."""
    goodbye: int | None = None
    closed: bool = False
    _decoder: hpack.Decoder = field(default_factory=hpack.Decoder)

    @property
    def over(self) -> bool:
        """Whether the server said goodbye or closed."""
        return self.closed or self.goodbye is not None

    async def say(self, data: bytes) -> bool:
        """Send; False when the connection is gone."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except (ConnectionError, ssl.SSLError):
            self.closed = True
        return not self.closed

    async def hear(self) -> None:
        """Take in one frame."""
        try:
            top = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(top[:3]))
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            self.closed = True
            return
        kind, flags, stream = top[3], top[4], int.from_bytes(top[5:]) & 0x7FFFFFFF
        self.heard += payload
        if kind == HEADERS:
            rows = dict(self._decoder.decode(payload, raw=True))
            self.heard += repr(rows).encode()
            self.statuses.setdefault(stream, int(rows.get(b":status", b"0")))
        elif kind == DATA:
            self.bodies[stream] += payload
        elif kind == RESET:
            self.resets[stream] = int.from_bytes(payload)
        elif kind == GOAWAY:
            self.goodbye = int.from_bytes(payload[4:8])
        elif kind == SETTINGS and not flags & ACK:
            self.settings.update(struct.iter_unpack(">HI", payload))
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.ended.add(stream)

    async def until(self, streams: set[int], seconds: float) -> None:
        """Listen until these streams ended, the connection is over, or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self.closed or streams <= self.ended | self.resets.keys()):
                    await self.hear()

    async def until_over(self, seconds: float) -> None:
        """Listen until the connection is over or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.over:
                    await self.hear()


@contextlib.asynccontextmanager
async def talking(
    door: Entrance, name: str = "localhost", *, context: ssl.SSLContext | None = None
) -> AsyncIterator[Talk]:
    """A connection that speaks h2, the preface and empty settings said, with a wide window for what comes."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", door.edge.port, ssl=context or door.tls("h2"), server_hostname=name
    )
    talk = Talk(reader, writer)
    await talk.say(PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)))
    try:
        yield talk
    finally:
        writer.transport.abort()
