"""The database as one object with two doors: `read` and `write`. Every process opens one at start.

On SQLite a write takes its lock at once (BEGIN IMMEDIATE), so that two writers queue instead of failing in the middle.
A fault of the disk or the server surfaces as `Unavailable` with a fixed text; the cause goes to the operator's log only
as a class name, since driver messages can quote values.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from freehold.protocol.errors import Misconfigured, Problem, Unavailable


class Database:
    """Connections to the state. Use as `async with Database(url) as database`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: AsyncEngine | None = None

    async def __aenter__(self) -> "Database":
        self._engine = create_async_engine(self._url, pool_pre_ping=not self._url.startswith("sqlite"))
        if self._url.startswith("sqlite"):
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._engine is not None:
            await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view. Raises Unavailable when the database cannot be reached."""
        with _faults():
            async with self._opened().connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block. Raises Unavailable when nothing can be written."""
        with _faults():
            async with self._opened().connect() as connection:
                await connection.execution_options(freehold_write=True)
                async with connection.begin():
                    yield connection

    async def check(self) -> None:
        """Raise Misconfigured when the file is not a sound database."""
        if not self._url.startswith("sqlite"):
            return
        try:
            async with self._opened().connect() as connection:
                verdict = (await connection.exec_driver_sql("PRAGMA quick_check(1)")).scalar()
        except DBAPIError:
            verdict = None
        if verdict != "ok":
            raise Misconfigured(
                Problem(
                    "the database file is damaged or is not a database",
                    "Restore freehold.db from a backup, or start with another --state folder. Nothing was changed.",
                )
            )

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("the database is not open")
        return self._engine


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if error.__class__.__name__ == "IntegrityError":
            raise
        raise Unavailable(
            "The installation's storage cannot be used at the moment. Try again later.",
            code="storage_unavailable",
            retry_after=5,
        ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=5000",
        "trusted_schema=OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("freehold_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
