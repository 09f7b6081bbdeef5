"""The edge before a real gateway and a real console, each a process of its own, with a runner that a test scripts.

Everything that a stranger can reach is there, without a model: what takes a model is the whole-stack tests' business.
"""

import asyncio
import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold import settings as configuration
from freehold.admission.limits import LimitSet
from freehold.console.app import Console
from freehold.gateway import app as gateway_app
from freehold.gateway.routes import Routes
from freehold.identity import keys
from freehold.identity.sessions import open_session
from freehold.isolation.pool import LiveRunner, write_pool_file
from freehold.settings import Edge, Settings
from freehold.storage import conversations, engines, limits, users, workspaces
from freehold.storage.conversations import Owner
from freehold.storage.engine import Database
from freehold.storage.migrate import migrate
from tests.conftest import serving, until
from tests.edge.door import Entrance, free_port, started
from tests.edge.recorder import Recorded, Recorder

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class Whole(Entrance):
    """What runs, and what a client of each kind holds: a key, one that may do little, a session, a conversation."""

    runner: Recorder
    gateway: subprocess.Popen[bytes]
    console: subprocess.Popen[bytes]
    key: str
    narrow_key: str
    spent_key: str
    session: str
    conversation: str
    routes: frozenset[tuple[str, str]]
    """Method and path of every route of both processes, from their live tables."""

    @property
    def own_page(self) -> tuple[str, ...]:
        """What the browser of the person who is signed in says when our page asks."""
        return (
            f"cookie: __Host-freehold={self.session}", f"origin: https://{self.host}", "sec-fetch-site: same-origin",
            "content-type: application/json",
        )  # fmt: skip


async def say(request: Recorded, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The runner says hello and ends; or that it is well."""
    if request.method == "GET":
        well = b'{"ready":true,"in_flight":0,"engines":[]}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(well) + well)
        return
    finished = {"type": "finished", "reason": "stop", "usage": {"prompt": 3, "completion": 2, "cached": 0}}
    events = ({"type": "delta", "text": "hello"}, finished)
    data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    )


async def _furnish(settings: Settings) -> dict[str, str]:
    """A workspace with an engine, an owner with a session and a conversation, and three keys."""
    secret = settings.layout.secret("credentials")
    async with Database(settings.database_url) as database:
        await migrate(database)
        async with database.write() as connection:
            workspace = await workspaces.create(connection, "Test")
            await engines.add(connection, workspace.id, name="m", kind="llamacpp", model="tiny", default=True)
            await engines.add(connection, workspace.id, name="e", kind="embedder", model="all-minilm-l6-v2")
            owner = await users.create(
                connection, workspace.id, name="Ada", email="ada@example.org", role="owner", password_hash=None
            )
            conversation = await conversations.create(connection, Owner(workspace.id, owner.id))
        _, key = await keys.create_key(database, secret, workspace.id, None, "all")
        _, narrow = await keys.create_key(database, secret, workspace.id, None, "narrow", scopes=["models"])
        spent, spent_key = await keys.create_key(database, secret, workspace.id, None, "spent")
        async with database.write() as connection:
            once = msgspec.json.encode(LimitSet(requests_per_minute=1)).decode()
            await limits.put(connection, workspace.id, "key", spent.id, once)
        session = await open_session(database, secret, owner, 1, methods="pwd")
    return {
        "workspace": workspace.id, "key": key, "narrow_key": narrow, "spent_key": spent_key, "session": session,
        "conversation": conversation.id,
    }  # fmt: skip


async def _routes(settings: Settings) -> frozenset[tuple[str, str]]:
    """The live route tables, asked of the applications themselves."""
    seen: list[Routes] = []

    class Seen(Routes):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            seen.append(self)

    console, layout = Console(settings), settings.layout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway_app, "Routes", Seen)
        async with gateway_app.gateway(settings), serving(console, layout.console_socket):
            found = {(method, path) for path, methods in seen[0].table.items() for method in methods}
            found |= {(route.method, route.path) for route in console.declared()}
    layout.console_socket.unlink()
    return frozenset(found)


@contextlib.contextmanager
def _process(settings: Settings, room: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m freehold.ROOM`, as the supervisor starts it."""
    with (settings.layout.logs / f"{room}.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", f"freehold.{room}"], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    assert child.stdin is not None
    child.stdin.write(configuration.dump(settings))
    child.stdin.close()
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)


@contextlib.contextmanager
def opened_whole() -> Iterator[Whole]:
    """Start everything; stop it at the end."""
    state = Path(tempfile.mkdtemp(prefix="fh-whole-"))
    edge = Edge(port=free_port(), domains=("ai.example.org",), header_timeout=2, body_timeout=2)
    settings = dataclasses.replace(configuration.load(state), edge=edge)
    layout = settings.layout
    layout.create()
    made = asyncio.run(_furnish(settings))
    routes = asyncio.run(_routes(settings))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        socket = layout.runners / "r.sock"
        runner = stack.enter_context(Recorder().listening(socket))
        runner.otherwise = say
        write_pool_file(layout.pool_file, [LiveRunner("r", made.pop("workspace"), str(socket), 4)])
        gateway = stack.enter_context(_process(settings, "gateway"))
        console = stack.enter_context(_process(settings, "console"))
        envoy = stack.enter_context(started(edge, layout))
        whole = Whole(edge, layout, envoy, runner, gateway, console, routes=routes, **made)
        for path in ("/healthz", "/api/site"):
            asyncio.run(until(lambda path=path: whole.ask("GET", path).status == 200, 30))  # type: ignore[misc]
        yield whole
