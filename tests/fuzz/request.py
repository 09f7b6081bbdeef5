"""The gateway's reader of requests: wherever a request is cut, it is the same request, and nothing else is served."""

import asyncio
import contextlib
from collections.abc import Iterator

from freehold.gateway.call import Call
from freehold.gateway.connection import Connection
from freehold.protocol.errors import Refused
from tests.fuzz.target import LOOP, Target, Wire, cut, turns

Served = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes]


async def _fed(pieces: list[bytes]) -> list[Served]:
    served: list[Served] = []

    async def serve(call: Call) -> None:
        try:
            body = await call.body(1 << 16)
        except Refused as error:
            call.reply(b"{}", status=error.status)
            return
        served.append((call.method, bytes(call.target), tuple(sorted(call.headers.items())), body))
        _ = call.path, call.last
        call.reply(b"{}")

    wire, connections = Wire(), set[Connection]()
    connection = Connection(serve, connections)
    connection.connection_made(wire)
    for piece in pieces:
        if wire.closed:
            break
        connection.data_received(piece)
        await turns()
    task = connection.task
    connection.connection_lost(None)
    if task is not None:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert not connections
    assert wire.written.count(b"") == 0
    return served


def run(data: bytes) -> None:
    """Whole and in pieces."""
    raw, pieces = cut(data)
    whole, parts = LOOP.run_until_complete(_fed([raw])), LOOP.run_until_complete(_fed(pieces))
    if whole and parts:
        assert whole[0] == parts[0], (whole[0], parts[0])
    assert len(whole) <= 1


def seeds() -> Iterator[bytes]:
    """Requests of each shape."""
    head = b"\x05\x09POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\n"
    yield head + b"content-length: 17\r\n\r\n" + b'{"model":"m","a":'
    yield head + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\nx: y\r\n\r\n"
    yield b"\x02\x01GET /v1/models/%61 HTTP/1.1\r\nhost: a\r\nx: y\r\nX: z\r\n\r\n"
    yield b"\x16\x40" + b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" * 2
    yield b"\x01\x01DELETE /v1/responses/r HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n"


TARGET = Target(run, seeds)
