"""What the tests of trust do at a gateway: raw requests that can be left at any moment, people with keys, all doors."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from freehold.admission.limits import LimitSet
from freehold.gateway import app as gateway_app
from freehold.gateway.routes import Routes
from freehold.identity import keys
from freehold.isolation.pool import LiveRunner, write_pool_file
from freehold.protocol.http import UnixClient
from freehold.storage import limits, users
from freehold.storage.users import Role
from tests.conftest import Home
from tests.gateway.conftest import HEAD, Stage, chunk, delta

HI = [{"role": "user", "content": "hi"}]
CHATS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "m", "messages": HI},
    "/v1/messages": {"model": "m", "messages": HI, "max_tokens": 100},
    "/v1/responses": {"model": "m", "input": "hi"},
}
"""Every way to ask for an answer, and the least that it takes."""

BODIES = {**CHATS, "/v1/embeddings": {"model": "e", "input": "hi"}}
"""Every route that reaches a runner."""


_WELL = b'HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n{"ready":true,"in_flight":0,"engines":[]}'


@dataclass
class Exchange:
    """One request on a connection of its own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, read to the end of the connection."""
        try:
            data = await self.reader.read()
        finally:
            self.writer.transport.abort()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rows = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rows)}
        if "chunked" in headers.get("transfer-encoding", ""):
            body = unchunked(body)
        return int(first.split()[1]), headers, body

    async def leave(self) -> None:
        """Close at once."""
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def unchunked(body: bytes) -> bytes:
    """The data of a chunked body, as far as it came."""
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        found, body = found + rest[:length], rest[length + 2 :]
    return found


def message(home: Home, path: str, body: Any, key: str = "", method: str = "POST", **headers: str) -> bytes:
    """A whole request, to be followed by the end of the connection."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    rows = [f"{method} {path} HTTP/1.1", "host: x", "connection: close", f"authorization: Bearer {key or home.api_key}"]
    rows += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    rows += [f"content-length: {len(data)}"] if body is not None else []
    return "\r\n".join([*rows, "", ""]).encode() + data


async def begin(home: Home, path: str, body: Any, key: str = "", *, worker: int = 0, **headers: str) -> Exchange:
    """Send a request; its answer is read later, or never."""
    socket = str(home.settings.layout.gateway_socket_of(worker))
    exchange = Exchange(*await asyncio.open_unix_connection(socket))
    exchange.writer.write(message(home, path, body, key, **headers))
    return exchange


async def ask(home: Home, path: str, body: Any, key: str = "", **more: Any) -> tuple[int, dict[str, str], bytes]:
    """A request and its answer, over a connection of its own."""
    return await (await begin(home, path, body, key, **more)).answer()


async def person(home: Home, role: Role = "member", workspace_id: str = "") -> tuple[users.User, str]:
    """Somebody new, with a key that acts as them."""
    async with home.database.write() as connection:
        user = await users.create(
            connection, workspace_id or home.workspace.id, name=role, email=None, role=role, password_hash=None
        )
    _, secret = await keys.create_key(home.database, home.key, user.workspace_id, user.id, "own")
    return user, secret


async def limit(home: Home, kind: str, subject: str, *, workspace_id: str = "", **bounds: int) -> None:
    """Set what a subject may ask for."""
    async with home.database.write() as connection:
        text = msgspec.json.encode(LimitSet(**bounds)).decode()
        await limits.put(connection, workspace_id or home.workspace.id, kind, subject, text)


def places(stage: Stage, slots: int) -> None:
    """Let the runner serve so many at once."""
    layout = stage.home.settings.layout
    runner = LiveRunner("r", stage.home.workspace.id, str(layout.runners / "r.sock"), slots)
    write_pool_file(layout.pool_file, [runner])


@contextlib.asynccontextmanager
async def runner_for(home: Home, tenants: Sequence[str] = (), *, slots: int = 64) -> AsyncIterator[Stage]:
    """One runner for all of these workspaces, without a gateway yet."""
    layout = home.settings.layout
    stage = Stage(home, UnixClient(str(layout.gateway_socket)))
    socket = layout.runners / "r.sock"
    server = await asyncio.start_unix_server(functools.partial(_serve, stage), str(socket), backlog=1024)
    here = [LiveRunner(f"r{n}", tenant, str(socket), slots) for n, tenant in enumerate([home.workspace.id, *tenants])]
    write_pool_file(layout.pool_file, here)
    yield stage
    stage.client.close()
    server.close()


@contextlib.asynccontextmanager
async def staged(home: Home, tenants: Sequence[str] = (), *, slots: int = 64) -> AsyncIterator[Stage]:
    """A gateway before such a runner, after everything else was prepared in the database."""
    async with runner_for(home, tenants, slots=slots) as stage, gateway_app.gateway(home.settings):
        yield stage
        stage.client.close()


async def _serve(stage: Stage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    stage.in_flight += 1
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /health"):
            writer.write(_WELL)
            return
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        stage.seen.append(body)
        await stage.script(body, reader, writer)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        stage.in_flight -= 1
        writer.close()


def vectors(body: bytes) -> bytes:
    """A runner's answer to an embeddings request."""
    inputs = json.loads(body)["inputs"]
    found = json.dumps({"vectors": ["AACAPw=="] * len(inputs), "prompt_tokens": len(body) // 4}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(found), found)


async def held(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A runner's script: one piece, then nothing until the gateway leaves."""
    writer.write(HEAD + chunk(delta("a")))
    await reader.read()


@contextlib.asynccontextmanager
async def seen_routes(home: Home, plant: Callable[[Routes], None] | None = None) -> AsyncIterator[Routes]:
    """The live routes of a running gateway, after `plant` has added to them."""
    seen: list[Routes] = []

    class Seen(Routes):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            if plant is not None:
                plant(self)
            seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway_app, "Routes", Seen)
        async with gateway_app.gateway(home.settings):
            yield seen[0]
