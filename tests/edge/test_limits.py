"""Everything that comes in is bounded, and what takes too long ends (BAR-11)."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from freehold.settings import Edge
from tests.edge.door import Door, free_port, opened, read

LIMIT = 100_000


@pytest.fixture(scope="module")
def impatient_door() -> Iterator[Door]:
    """An edge with small bounds."""
    edge = Edge(
        port=free_port(), max_body_bytes=LIMIT, header_timeout=0.3, body_timeout=1.2, idle_timeout=3, max_connections=40
    )
    with opened(edge) as door:
        yield door


@pytest.fixture
def impatient(impatient_door: Door) -> Door:
    """The impatient edge with forgetful upstreams."""
    impatient_door.gateway.clear()
    impatient_door.console.clear()
    return impatient_door


def _memory(door: Door) -> int:
    """Envoy's anonymous resident memory, bytes."""
    status = Path(f"/proc/{door.envoy.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) << 10


@pytest.mark.parametrize("size", [33 << 10, 64 << 10, 1 << 20])
def test_large_headers(door: Door, size: int) -> None:
    begin = time.monotonic()
    assert door.ask("GET", "/v1/x", "authorization: " + "x" * size).status == 431
    assert time.monotonic() - begin < 1
    assert door.seen() == 0


def test_headers_below_the_limit_pass(door: Door) -> None:
    assert door.ask("GET", "/v1/x", "authorization: " + "x" * (30 << 10)).status == 200


def test_many_headers(door: Door) -> None:
    assert door.ask("GET", "/v1/x", *(f"a{number}: x" for number in range(120))).status in (400, 431)
    assert door.ask("GET", "/v1/x", *(f"a{number}: x" for number in range(80))).status == 200


def test_a_body_of_exactly_the_limit_passes(impatient: Door) -> None:
    assert impatient.ask("POST", "/v1/x", body=b"x" * LIMIT).status == 200
    assert len(impatient.gateway.requests[0].body) == LIMIT


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("extra", [1, 10_000_000])
def test_a_body_beyond_the_limit(impatient: Door, extra: int, declared: bool) -> None:
    begin, before = time.monotonic(), _memory(impatient)
    body = b"x" * (LIMIT + extra)
    if declared:
        reply = impatient.ask("POST", "/v1/x", body=body)
    else:
        head = f"POST /v1/x HTTP/1.1\r\nhost: {impatient.host}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        reply = impatient.send(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert reply.status == 413
    assert time.monotonic() - begin < 1
    assert impatient.seen() == 0
    assert _memory(impatient) - before < 32 << 20


def test_a_declared_length_is_refused_before_the_body(impatient: Door) -> None:
    head = f"POST /v1/x HTTP/1.1\r\nhost: {impatient.host}\r\ncontent-length: {LIMIT + 1}\r\n\r\n".encode()
    begin = time.monotonic()
    assert impatient.send(head).status == 413
    assert time.monotonic() - begin < 0.4


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", ""])
def test_content_codings(door: Door, coding: str) -> None:
    reply = door.ask("POST", "/v1/x", f"content-encoding: {coding}", body=b"\x1f\x8b")
    assert reply.status == 415
    assert door.seen() == 0


@pytest.mark.slow
def test_slow_requests_end(impatient: Door) -> None:
    head = f"POST /v1/x HTTP/1.1\r\nhost: {impatient.host}\r\ncontent-length: 10\r\n".encode()
    slow = {"no bytes": b"", "half a head": head, "half a body": head + b"\r\nabc"}

    def stall(name: str) -> tuple[float, int]:
        begin = time.monotonic()
        with impatient.connect() as connection:
            connection.sendall(slow[name])
            reply = read(connection)
        return time.monotonic() - begin, reply.status

    with ThreadPoolExecutor(3) as pool:
        ends = dict(zip(slow, pool.map(stall, slow), strict=True))
    assert ends["half a head"][1] == 408
    assert ends["half a body"][1] == 408
    assert ends["half a head"][0] < 1.1
    assert ends["half a body"][0] < 2.5
    assert ends["no bytes"][0] < 5
    assert impatient.seen() == 0


def test_an_unfinished_handshake_ends(impatient: Door) -> None:
    async def stall(sent: bytes) -> float:
        begin = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.edge.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        return time.monotonic() - begin

    async def both() -> tuple[float, float]:
        async with asyncio.timeout(8):
            return await asyncio.gather(stall(b"\x16\x03\x01\x02\x00"), stall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))

    hello, plain = asyncio.run(both())
    assert hello < 3
    assert plain < 1


def test_connections_are_bounded_and_room_comes_back(impatient: Door) -> None:
    with contextlib.ExitStack() as stack:
        refused = 0
        for _ in range(60):
            try:
                stack.enter_context(impatient.connect(timeout=1))
            except OSError:
                refused += 1
        assert refused >= 60 - impatient.edge.max_connections
    deadline = time.monotonic() + 5
    while True:
        with contextlib.suppress(OSError):
            if impatient.ask("GET", "/v1/models").status == 200:
                break
        assert time.monotonic() < deadline
