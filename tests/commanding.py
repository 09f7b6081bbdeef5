"""The command line on a state folder that is not running: made in a moment, asked as a program asks."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from freehold import settings as configuration
from freehold.cli.app import app
from freehold.identity import accounts
from freehold.settings import Settings
from freehold.storage import workspaces
from freehold.storage.engine import Database
from freehold.storage.workspaces import Workspace

PASSWORD = "correct horse battery"
Fill = Callable[[Settings, Database, Workspace], Awaitable[None]]


def folder(tmp_path: Path, migrated: Path, *fillings: Fill) -> Settings:
    """A state folder with the workspace First, and what `fillings` put into it."""
    settings = configuration.load(tmp_path / "state")
    settings.layout.create()
    shutil.copy(migrated, settings.state / "freehold.db")

    async def fill() -> None:
        async with Database(settings.database_url) as database:
            async with database.write() as connection:
                first = await workspaces.create(connection, "First")
            for filling in fillings:
                await filling(settings, database, first)

    asyncio.run(fill())
    return settings


async def second(settings: Settings, database: Database, first: Workspace) -> None:
    """A second workspace, with a domain of its own."""
    async with database.write() as connection:
        await workspaces.create(connection, "Second", "second.example")


async def owner(settings: Settings, database: Database, first: Workspace) -> None:
    """Ada owns the first workspace."""
    key = settings.layout.secret("credentials")
    claim = await accounts.create_claim(database, key, first.id, 1)
    await accounts.redeem_claim(database, key, first.id, claim, name="Ada", email="ada@example.org", password=PASSWORD)


def run(state: Settings, *arguments: str, code: int = 0, given: str | None = None) -> Any:
    """What a command says with `--json`; it must end with `code`. `given`: its standard input."""
    done = CliRunner().invoke(app, [*arguments, "--json", "--state", str(state.state)], input=given)
    assert done.exit_code == code, (arguments, done.output, done.exception)
    return json.loads(done.stdout)
