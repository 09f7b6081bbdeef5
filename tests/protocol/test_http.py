"""The lean client against a real server on a Unix socket: framing, reuse, broken peers, cancellation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from freehold.protocol.http import PeerGone, UnixClient

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(path: Path, answer: Answer) -> AsyncIterator[tuple[UnixClient, list[int]]]:
    connections: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(handle, str(path))
    client = UnixClient(str(path))
    try:
        yield client, connections
    finally:
        client.close()
        server.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await _head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with peer(tmp_path / "s", answer) as (client, connections):
        for _ in range(3):
            async with client.request("GET", "/") as response:
                assert (response.status, await response.read()) == (200, b"ok")
        assert len(connections) == 1


async def test_chunks_arrive_as_they_are_sent(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await go_on.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    async with peer(tmp_path / "s", answer) as (client, _), client.request("GET", "/") as response:
        stream = response.body()
        assert await anext(stream) == b"one"
        go_on.set()
        assert [chunk async for chunk in stream] == [b"two"]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000,
    ],
)
async def test_a_broken_answer_is_never_a_whole_one(tmp_path: Path, sent: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(sent)
        await writer.drain()

    async with peer(tmp_path / "s", answer) as (client, _):
        with pytest.raises(PeerGone):
            async with client.request("GET", "/") as response:
                await response.read()


async def test_an_idle_connection_that_was_closed_is_replaced(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    async with peer(tmp_path / "s", answer) as (client, connections):
        for _ in range(3):
            async with client.request("GET", "/") as response:
                assert await response.read() == b"ok"
        assert len(connections) == 3


async def test_leaving_early_closes_the_connection(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await reader.read()
        closed.set()

    async with peer(tmp_path / "s", answer) as (client, _):
        async with client.request("GET", "/") as response:
            assert await anext(response.body()) == b"one"
        await asyncio.wait_for(closed.wait(), 1)


async def test_no_peer_and_a_silent_peer(tmp_path: Path) -> None:
    with pytest.raises(PeerGone):
        async with UnixClient(str(tmp_path / "none")).request("GET", "/"):
            pass

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with peer(tmp_path / "s", answer) as (client, _):
        with pytest.raises(TimeoutError):
            async with client.request("GET", "/", timeout=0.05):
                pass


async def test_a_fast_peer_is_held_back(tmp_path: Path) -> None:
    total = 8 << 20

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        writer.write(b"x" * total)
        await writer.drain()
        await reader.read()

    async with peer(tmp_path / "s", answer) as (client, _):
        async with client.request("GET", "/") as response:
            sizes = [len(chunk) async for chunk in response.body()]
        assert sum(sizes) == total
