"""The client that our processes ask each other with: an answer is the same wherever it is cut, or the peer is gone."""

import contextlib
from collections.abc import Iterator

from freehold.protocol.http import PeerGone, _Channel
from tests.fuzz.target import LOOP, Target, Wire, cut, turns

Got = tuple[int, dict[str, str], bytes, bool]


async def _fed(pieces: list[bytes]) -> Got:
    wire, channel = Wire(), _Channel()
    channel.connection_made(wire)
    channel.send(b"GET / HTTP/1.1\r\n\r\n")
    for piece in pieces:
        if wire.closed:
            break
        channel.data_received(piece)
        await turns(1)
    channel.connection_lost(None)
    headers, body, complete = dict[str, str](), b"", False
    with contextlib.suppress(PeerGone):
        await channel.head()
        headers = channel.headers
        while chunk := await channel.next_chunk():
            body += chunk
        complete = True
    return channel.status, headers, body, complete


def run(data: bytes) -> None:
    """Whole and in pieces."""
    raw, pieces = cut(data)
    whole, parts = LOOP.run_until_complete(_fed([raw])), LOOP.run_until_complete(_fed(pieces))
    assert whole == parts, (whole, parts)


def seeds() -> Iterator[bytes]:
    """Answers of each shape."""
    yield b"\x03\x07HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: a\r\n\r\nhello"
    yield b"\x05\x20HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    yield b"\x05\x20HTTP/1.1 503 Oh\r\nconnection: close\r\n\r\nuntil the end"
    yield b"\x01\x01HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    yield b"\x11\x01HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


TARGET = Target(run, seeds)
