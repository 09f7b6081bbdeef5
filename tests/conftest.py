"""What several rooms' tests need: a prepared state folder, and waiting for a condition without sleeping blindly."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop

from freehold import settings as configuration
from freehold.identity import keys
from freehold.serving import listen
from freehold.settings import Settings
from freehold.storage import engines, workspaces
from freehold.storage.engine import Database
from freehold.storage.migrate import migrate


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips", action="store_true", help="CI: a skipped test fails the run, since its program was prepared"
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.getoption("--strict-skips") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("skipped tests are failures here (--strict-skips)", red=True)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """Both loops that the product runs on: the supervisor is on asyncio, the ASGI processes are on uvloop."""
    both = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if "protocol/test_http" in item.nodeid:
        return both
    served = any(f"tests/{room}/" in item.nodeid for room in ("gateway", "console", "runner"))
    return {"uvloop": both["uvloop"]} if served else {"asyncio": both["asyncio"]}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--strict-skips") and reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def short_scratch() -> Iterator[None]:
    """One short-named folder for everything temporary of this run: sockets need short paths, and nothing may stay."""
    before, tempfile.tempdir = tempfile.tempdir, tempfile.mkdtemp(prefix="fh-", dir="/tmp")
    os.chmod(tempfile.tempdir, 0o711)  # noqa: S103 - tests of an ordinary user pass through it
    yield
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    tempfile.tempdir = before


@dataclass
class Home:
    """A state folder with one workspace that offers a chat engine `m` and an embedder `e`, and a key for it."""

    settings: Settings
    database: Database
    workspace: workspaces.Workspace
    key: bytes
    api_key: str


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the newest schema, to copy: migrations cost more than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "freehold.db"

    async def make() -> None:
        async with Database(f"sqlite+aiosqlite:///{path}") as database:
            await migrate(database)
            async with database.read() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    asyncio.run(make())
    return path


@pytest.fixture
async def home(tmp_path: Path, migrated: Path) -> AsyncIterator[Home]:
    settings = configuration.load(tmp_path / "state")
    settings.layout.create()
    key = settings.layout.secret("credentials")
    shutil.copy(migrated, settings.state / "freehold.db")
    async with Database(settings.database_url) as database:
        async with database.write() as connection:
            workspace = await workspaces.create(connection, "Test")
            await engines.add(connection, workspace.id, name="m", kind="llamacpp", model="tiny", default=True)
            await engines.add(connection, workspace.id, name="e", kind="embedder", model="all-minilm-l6-v2")
        _, secret = await keys.create_key(database, key, workspace.id, None, "test")
        yield Home(settings, database, workspace, key, secret)


@contextlib.asynccontextmanager
async def serving(application: Any, path: Path) -> AsyncIterator[None]:
    """One of our ASGI applications on a Unix socket, served as the product serves it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    server = uvicorn.Server(listen.config(application))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        await task
        listener.close()


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0) -> float:
    """Wait until `condition` holds, at most `seconds`; gives how long it took. Fails loudly when it does not come."""
    began = time.monotonic()
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"still not so after {seconds} s"
        await asyncio.sleep(0.005)
