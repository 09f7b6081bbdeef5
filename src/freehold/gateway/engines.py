"""What a principal may name in `model`: the engines of its workspace, from memory."""

from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.gateway.book import Book
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused
from freehold.storage import engines
from freehold.storage.changes import Topic
from freehold.storage.engine import Database


class EngineBook(Book):
    """Engines by workspace."""

    topic: Topic = "engine"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._engines: dict[str, dict[str, engines.Engine]] = {}

    async def read(self, connection: AsyncConnection) -> None:
        """Read all engines."""
        book: dict[str, dict[str, engines.Engine]] = {}
        for engine in await engines.everywhere(connection):
            book.setdefault(engine.workspace_id, {})[engine.name] = engine
        self._engines = book

    def visible(self, principal: Principal) -> list[engines.Engine]:
        """What the principal may use, the default first."""
        return [e for e in self._engines.get(principal.workspace_id, {}).values() if principal.may_use(e.name)]

    def allowed(self, principal: Principal, name: str, *, kind: Literal["chat", "embedder"]) -> engines.Engine:
        """The engine of that name. Raises Refused 404, the same whether it does not exist or is another workspace's."""
        engine = self._engines.get(principal.workspace_id, {}).get(name)
        if engine is None or not principal.may_use(name):
            raise Refused("The model does not exist or you do not have access to it.", status=404,
                          code="model_not_found", param="model")  # fmt: skip
        if (engine.kind == "embedder") != (kind == "embedder"):
            wanted = "make embeddings" if kind == "embedder" else "chat"
            raise Refused(f"This model cannot {wanted}.", code="model_not_suitable", param="model")
        return engine
