"""A real gateway on a Unix socket, in front of a scripted runner: the peer that behaves as badly as a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from freehold.gateway.app import gateway
from freehold.isolation.pool import LiveRunner, write_pool_file
from freehold.protocol.http import UnixClient
from tests.conftest import Home

Script = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(*events: dict[str, Any]) -> bytes:
    data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    return b"%x\r\n%s\r\n" % (len(data), data)


def delta(text: str) -> dict[str, Any]:
    return {"type": "delta", "text": text}


FINISHED = {"type": "finished", "reason": "stop", "usage": {"prompt": 3, "completion": 2, "cached": 0}}
LAST = b"0\r\n\r\n"


async def answers(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + chunk(delta("Hel"), delta("lo")) + chunk(FINISHED) + LAST)


@dataclass
class Stage:
    """The gateway, how to call it, and what its runner does and saw."""

    home: Home
    client: UnixClient
    script: Script = answers
    seen: list[bytes] = field(default_factory=list)
    in_flight: int = 0

    async def post(self, path: str, body: Any, *, key: str | None = None) -> tuple[int, dict[str, str], bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key or self.home.api_key}", "content-type": "application/json"}
        async with self.client.request("POST", path, data, headers) as response:
            return response.status, dict(response.headers), await response.read()

    async def chat(self, **more: Any) -> tuple[int, dict[str, str], bytes]:
        return await self.post("/v1/chat/completions", {**CHAT, **more})


CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def stage(home: Home) -> AsyncIterator[Stage]:
    layout = home.settings.layout
    client = UnixClient(str(layout.gateway_socket))
    stage = Stage(home, client)

    async def runner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stage.in_flight += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
            stage.seen.append(head + body)
            await stage.script(body, reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            stage.in_flight -= 1
            writer.close()

    socket = layout.runners / "r.sock"
    runner_server = await asyncio.start_unix_server(runner, str(socket))
    write_pool_file(layout.pool_file, [LiveRunner("r", home.workspace.id, str(socket), 2)])
    async with gateway(home.settings):
        yield stage
        client.close()
    runner_server.close()
