"""The state as commands use it: opened, checked to be there, with its workspace. Works while Freehold runs or not."""

import contextlib
from collections.abc import AsyncIterator

from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Settings
from freehold.storage import workspaces
from freehold.storage.engine import Database


@contextlib.asynccontextmanager
async def on_database(settings: Settings) -> AsyncIterator[tuple[Database, workspaces.Workspace]]:
    """The open database and the workspace. Raises Misconfigured where Freehold was never started."""
    if not settings.database and not (settings.state / "freehold.db").is_file():
        raise Misconfigured(
            Problem(
                f"there is no Freehold in {settings.state}", "Start one with 'freehold up', or name its --state folder."
            )
        )
    async with Database(settings.database_url) as database:
        await database.check()
        async with database.read() as connection:
            workspace = await workspaces.first(connection)
        if workspace is None:
            raise Misconfigured(Problem("the first start was not finished", "Run 'freehold up' once more."))
        yield database, workspace
