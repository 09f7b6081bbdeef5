"""Something of the database kept in memory and read again when the change feed says so: for engines and limits."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Self

from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.background import during
from freehold.protocol.errors import Unavailable
from freehold.storage.changes import Change, Topic
from freehold.storage.engine import Database


class Book(ABC):
    """Use as `async with Book(database).running() as book`; `note` tells it of changes."""

    topic: Topic

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = asyncio.Event()

    @abstractmethod
    async def read(self, connection: AsyncConnection) -> None:
        """Read everything anew."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Keep the book up to date while the block runs."""
        await self._read()
        async with during(self._follow()):
            yield self

    def note(self, change: Change) -> None:
        """A change of the feed."""
        if change.topic == self.topic:
            self._changed.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._read()
            except Unavailable:
                self._changed.set()
                await asyncio.sleep(1)

    async def _read(self) -> None:
        async with self._database.read() as connection:
            await self.read(connection)
