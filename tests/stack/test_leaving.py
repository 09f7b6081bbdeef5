"""A client that leaves stops the engine, through the edge: streaming, not streaming, and while the prompt is read."""

import asyncio
import json
import socket
import time

import msgspec
import pytest

from freehold.protocol.chat import RunnerHealth
from freehold.protocol.http import UnixClient
from freehold.settings import load
from tests.conftest import until
from tests.stack.conftest import Stack

pytestmark = pytest.mark.stack


def _runner(stack: Stack) -> UnixClient:
    (path,) = load(stack.state).layout.runners.glob("*/runner.sock")
    return UnixClient(str(path))


async def _in_flight(client: UnixClient) -> int:
    async with client.request("GET", "/health") as response:
        return msgspec.json.decode(await response.read(), type=RunnerHealth).in_flight


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("prompt", ["Write a very long story.", "word " * 1500], ids=["decode", "prefill"])
async def test_the_engine_stops_when_the_client_leaves(stack: Stack, stream: bool, prompt: str) -> None:
    runner = _runner(stack)
    body = json.dumps(
        {"model": "smollm2-135m-instruct-q4_1", "messages": [{"role": "user", "content": prompt}], "stream": stream}
    ).encode()
    reader, writer = await asyncio.open_connection("localhost", stack.port, ssl=stack.context, family=socket.AF_INET)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost:%d\r\nauthorization: Bearer %s\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % (stack.port, stack.key.encode(), len(body))
        + body
    )

    async def busy() -> bool:
        return await _in_flight(runner) == 1

    async def idle() -> bool:
        return await _in_flight(runner) == 0

    await until(busy)
    if stream and prompt.startswith("Write"):
        await reader.readuntil(b"data: ")
    writer.transport.abort()
    left = time.monotonic()
    await until(idle, 5)
    runner.close()
    took = time.monotonic() - left
    assert took < 0.1 if prompt.startswith("Write") else took < 1.0, took
