"""The state as commands use it: opened, checked to be there, with its workspace. Works while Freehold runs or not."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from freehold.audit.events import By
from freehold.audit.trail import errand
from freehold.cli.output import State, spoken
from freehold.protocol.errors import Misconfigured, Problem, Refused
from freehold.settings import Settings, load
from freehold.storage import workspaces
from freehold.storage.engine import Database
from freehold.supervisor.instance import read_instance

T = TypeVar("T")


@contextlib.asynccontextmanager
async def on_database(
    settings: Settings, workspace_name: str | None = None
) -> AsyncIterator[tuple[Database, workspaces.Workspace]]:
    """The open database and the workspace of that name (or id, or domain), else the first one. What is changed
    in the block is told to the audit log as this login user's doing.

    Raises Misconfigured where Freehold was never started, Refused where there is no such workspace.
    """
    if not settings.database and not (settings.state / "freehold.db").is_file():
        raise Misconfigured(
            Problem(
                f"there is no Freehold in {settings.state}", "Start one with 'freehold up', or name its --state folder."
            )
        )
    async with (
        errand(settings.layout, By.COMMAND, uid=login_user()) as trail,
        Database(settings.database_url) as database,
    ):
        await database.check()
        async with database.read() as connection:
            first = await workspaces.first(connection)
            workspace = await workspaces.named(connection, workspace_name) if workspace_name else first
        if first is None:
            raise Misconfigured(Problem("the first start was not finished", "Run 'freehold up' once more."))
        if workspace is None:
            raise Refused("There is no workspace of that name. 'freehold workspace list' shows them.", status=404)
        trail.workspace = workspace.id
        yield database, workspace


def run(
    work: Callable[[Settings, Database, workspaces.Workspace], Awaitable[T]],
    workspace_name: str | None,
    state: State,
    as_json: bool,
) -> T:
    """Do `work` on the state folder's database and the named workspace; errors are told and end the program."""
    with spoken(as_json):
        settings = load(state)

        async def inside() -> T:
            async with on_database(settings, workspace_name) as (database, workspace):
                return await work(settings, database, workspace)

        return asyncio.run(inside())
    raise AssertionError("unreachable: errors leave by `spoken`")


def login_user() -> int:
    """Who types this: the login's user, which stays the same through sudo, else the process's."""
    try:
        login = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        login = 0xFFFFFFFF
    return login if login != 0xFFFFFFFF else os.getuid()


def origin(settings: Settings, domain: str | None) -> str:
    """Where people of a workspace reach it (`domain` None: the first one): as it runs now, else as it would."""
    running = read_instance(settings.layout)
    address = urlsplit(running.url if running is not None else f"https://localhost:{settings.edge.port}")
    host = domain or address.hostname
    return f"https://{host}" if address.port in (None, 443) else f"https://{host}:{address.port}"
