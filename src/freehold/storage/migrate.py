"""Brings the database to this version's schema. Called by the supervisor before anything serves."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from freehold.protocol.errors import Misconfigured, Problem
from freehold.storage.engine import Database


async def migrate(database: Database) -> None:
    """Upgrade to the newest schema in one transaction. Raises Misconfigured when a newer Freehold wrote it."""
    await database.check()
    try:
        async with database.write() as connection:
            await connection.run_sync(_upgrade)
    except CommandError:
        raise Misconfigured(
            Problem(
                "the database was written by a newer version of Freehold",
                "Install that version again, or restore a backup.",
            )
        ) from None
    except DBAPIError as error:
        raise Misconfigured(
            Problem(
                f"the database could not be migrated ({type(error).__name__})", "Nothing was changed. Restore a backup."
            )
        ) from error


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
