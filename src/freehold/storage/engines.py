"""The engines of a workspace: which models its runners load, which outside servers they may ask."""

import time
from typing import Literal

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.changes import announce
from freehold.storage.tables import engines

EngineKind = Literal["llamacpp", "embedder", "openai"]


class Engine(msgspec.Struct, frozen=True):
    """`model` is a catalogue name or the SHA-256 of a file in the store; for `openai` the model's name at `url`.

    `secret_name` names the file under `keys/` with the outside server's API key.
    """

    id: str
    workspace_id: str
    name: str
    kind: EngineKind
    description: str
    model: str
    url: str | None
    secret_name: str | None
    is_default: bool
    created_at: float


_columns = tuple(engines.c[name] for name in Engine.__struct_fields__)


async def listed(connection: AsyncConnection, workspace_id: str) -> list[Engine]:
    """A workspace's engines, the default first, then by age."""
    query = select(*_columns).where(engines.c.workspace_id == workspace_id)
    return [
        Engine(*row)
        for row in await connection.execute(query.order_by(engines.c.is_default.desc(), engines.c.created_at))
    ]


async def everywhere(connection: AsyncConnection) -> list[Engine]:
    """All engines of all workspaces, each workspace's default first: for the gateway's book and the supervisor."""
    query = select(*_columns).order_by(engines.c.workspace_id, engines.c.is_default.desc(), engines.c.created_at)
    return [Engine(*row) for row in await connection.execute(query)]


async def add(
    connection: AsyncConnection,
    workspace_id: str,
    *,
    name: str,
    kind: EngineKind,
    model: str,
    description: str = "",
    url: str | None = None,
    secret_name: str | None = None,
    default: bool = False,
) -> Engine:
    """A new engine; `default` takes the place of the old default. Raises IntegrityError when the name is taken."""
    engine = Engine(new_id("eng"), workspace_id, name, kind, description, model, url, secret_name, default, time.time())
    if default:
        await connection.execute(update(engines).where(engines.c.workspace_id == workspace_id).values(is_default=False))
    await connection.execute(insert(engines).values(**msgspec.structs.asdict(engine)))
    await announce(connection, "engine", engine.id)
    return engine


async def remove(connection: AsyncConnection, workspace_id: str, name: str) -> bool:
    """Forget an engine. False when there is none of that name."""
    done = await connection.execute(
        delete(engines).where(engines.c.workspace_id == workspace_id, engines.c.name == name)
    )
    if done.rowcount:
        await announce(connection, "engine", name[:40])
    return bool(done.rowcount)


async def make_default(connection: AsyncConnection, workspace_id: str, name: str) -> bool:
    """Answer with this engine when nothing else is asked for. False when there is none of that name."""
    await connection.execute(update(engines).where(engines.c.workspace_id == workspace_id).values(is_default=False))
    done = await connection.execute(
        update(engines).where(engines.c.workspace_id == workspace_id, engines.c.name == name).values(is_default=True)
    )
    await announce(connection, "engine", name[:40])
    return bool(done.rowcount)
