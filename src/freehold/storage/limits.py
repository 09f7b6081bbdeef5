"""The limits that an administrator set: for whom, and how much. `bounds` is JSON of `admission.limits.LimitSet`."""

import time

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.changes import announce
from freehold.storage.tables import limits


class StoredLimit(msgspec.Struct, frozen=True):
    """`subject` is an id of the kind, or `*` for each of the kind by itself."""

    id: str
    workspace_id: str
    kind: str
    subject: str
    bounds: str


_columns = tuple(limits.c[name] for name in StoredLimit.__struct_fields__)


async def put(connection: AsyncConnection, workspace_id: str, kind: str, subject: str, bounds: str) -> StoredLimit:
    """Set the limits of a subject in place of those it had, and announce it."""
    await _clear(connection, workspace_id, kind, subject)
    limit = StoredLimit(new_id("lim"), workspace_id, kind, subject, bounds)
    await connection.execute(insert(limits).values(**msgspec.structs.asdict(limit), created_at=time.time()))
    await announce(connection, "limit", limit.id)
    return limit


async def remove(connection: AsyncConnection, workspace_id: str, kind: str, subject: str) -> bool:
    """Remove a subject's limits and announce it. False when it had none."""
    if not await _clear(connection, workspace_id, kind, subject):
        return False
    await announce(connection, "limit", workspace_id)
    return True


async def listed(connection: AsyncConnection, workspace_id: str) -> list[StoredLimit]:
    """The limits of a workspace."""
    query = select(*_columns).where(limits.c.workspace_id == workspace_id).order_by(limits.c.kind, limits.c.subject)
    return [StoredLimit(*row) for row in await connection.execute(query)]


async def everywhere(connection: AsyncConnection) -> list[StoredLimit]:
    """The limits of all workspaces."""
    return [StoredLimit(*row) for row in await connection.execute(select(*_columns))]


async def _clear(connection: AsyncConnection, workspace_id: str, kind: str, subject: str) -> bool:
    done = await connection.execute(
        delete(limits).where(limits.c.workspace_id == workspace_id, limits.c.kind == kind, limits.c.subject == subject)
    )
    return done.rowcount > 0
