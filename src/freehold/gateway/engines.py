"""What a principal may name in `model`: the engines of its workspace, from memory, read again when the feed says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal

from freehold.identity.principal import Principal
from freehold.protocol.background import during
from freehold.protocol.errors import Refused, Unavailable
from freehold.storage import engines
from freehold.storage.changes import Change
from freehold.storage.engine import Database


class EngineBook:
    """Engines by workspace. Use as `async with EngineBook(database).running() as book`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engines: dict[str, dict[str, engines.Engine]] = {}
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["EngineBook"]:
        """Keep the book up to date while the block runs; `note` tells it of changes."""
        await self._read()
        async with during(self._follow()):
            yield self

    def note(self, change: Change) -> None:
        """A change of the feed."""
        if change.topic == "engine":
            self._changed.set()

    def visible(self, principal: Principal) -> list[engines.Engine]:
        """What the principal may use, the default first."""
        return list(self._engines.get(principal.workspace_id, {}).values())

    def allowed(self, principal: Principal, name: str, *, kind: Literal["chat", "embedder"]) -> engines.Engine:
        """The engine of that name. Raises Refused 404, the same whether it does not exist or is another workspace's."""
        engine = self._engines.get(principal.workspace_id, {}).get(name)
        if engine is None:
            raise Refused("The model does not exist or you do not have access to it.", status=404,
                          code="model_not_found", param="model")  # fmt: skip
        if (engine.kind == "embedder") != (kind == "embedder"):
            wanted = "make embeddings" if kind == "embedder" else "chat"
            raise Refused(f"This model cannot {wanted}.", code="model_not_suitable", param="model")
        return engine

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
        book: dict[str, dict[str, engines.Engine]] = {}
        async with self._database.read() as connection:
            for engine in await engines.everywhere(connection):
                book.setdefault(engine.workspace_id, {})[engine.name] = engine
        self._engines = book
