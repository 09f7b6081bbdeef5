"""The gateway's own server under bytes that no well-behaved peer sends, and the ends of connections."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from freehold.gateway.call import Call
from freehold.gateway.connection import listening
from freehold.protocol.errors import Refused
from tests.conftest import until

LIMIT = 200_000


class Server:
    """What it served."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.bodies: list[bytes] = []
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def serve(self, call: Call) -> None:
        try:
            if call.path == "/wait":
                await self.gate.wait()
            if call.path == "/early":
                call.reply(b"{}", status=401)
                return
            if call.path == "/stream":
                call.write(b"data: 1\n\n")
                await self.gate.wait()
                call.end(b"data: 2\n\n")
                return
            try:
                self.bodies.append(await call.body(LIMIT))
            except Refused as error:
                call.reply(b"{}", status=error.status)
                return
            call.reply(json.dumps({"path": call.path, "bytes": len(self.bodies[-1])}).encode())
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def say(self, raw: bytes) -> bytes:
        """Send bytes, read until the server closes or a moment has passed."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(raw)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.5):
                while part := await reader.read(65536):
                    answer += part
        writer.close()
        return answer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path / "s.sock")
    async with listening(Path(made.path), made.serve):
        yield made


GET = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"


async def test_one_after_another_on_one_connection(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    for _ in range(3):
        writer.write(POST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"x-request-id: exg_" in head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r")[0]))
    writer.close()
    assert server.bodies == [b"abc"] * 3


@pytest.mark.parametrize("cut", range(1, len(POST)))
async def test_wherever_it_is_cut_it_is_one_request(server: Server, cut: int) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(POST[:cut])
    await asyncio.sleep(0)
    writer.write(POST[cut:])
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    assert server.bodies == [b"abc"]
    writer.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"nonsense\r\n\r\n",
        b"GET /x HTTP/1.0\r\nhost: a\r\n\r\n",
        b"GET /x HTTP/2.0\r\nhost: a\r\n\r\n",
        b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"GET /x HTTP/1.1\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_request_of_ours_is_closed_without_an_answer(server: Server, raw: bytes) -> None:
    assert await server.say(raw) == b""
    assert server.bodies == []
    assert (await server.say(GET)).startswith(b"HTTP/1.1 200 ")


async def test_a_second_request_before_the_first_was_answered_is_not_served(server: Server) -> None:
    await server.say(b"POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n" + POST)
    server.gate.set()
    assert server.bodies == []


async def test_a_large_body_is_refused_and_the_connection_goes_on(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    big = LIMIT * 3
    writer.write(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % big)

    async def send() -> None:
        for _ in range(big // 1000):
            writer.write(b"z" * 1000)
            await writer.drain()
        writer.write(POST)

    sending = asyncio.create_task(send())
    assert b" 413 " in await reader.readuntil(b"{}")
    await sending
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_body_that_comes_in_one_piece_does_not_stop_the_connection(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    for _ in range(4):
        size = (64 << 10) + 1
        writer.write(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size + b"z" * size)
        assert b'"bytes": %d' % size in await asyncio.wait_for(reader.readuntil(b"}"), 10)
    writer.close()


async def test_an_early_answer_does_not_wait_for_the_body(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n" + b"z" * 1000)
    assert b" 401 " in await reader.readuntil(b"{}")
    writer.write(b"z" * 299_000 + POST)
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_peer_that_leaves_cancels_its_call(server: Server) -> None:
    for _ in range(3):
        _, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0)
        writer.transport.abort()
    await until(lambda: server.cancelled == 3, 2)


async def test_a_stream_is_chunked_and_ends(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"text/event-stream" in head
    assert await reader.readuntil(b"\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
    server.gate.set()
    assert await reader.readuntil(b"0\r\n\r\n") == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    writer.write(GET)
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_its_end_lets_calls_end_and_refuses_new_ones(tmp_path: Path) -> None:
    made = Server(tmp_path / "s.sock")
    async with listening(Path(made.path), made.serve):
        reader, writer = await asyncio.open_unix_connection(made.path)
        writer.write(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"data: 1\n\n")
        asyncio.get_running_loop().call_later(0.05, made.gate.set)
    assert b"data: 2" in await reader.read()
    assert not Path(made.path).exists()
    writer.close()
