"""The guard's policies (JSON of `guard.policy.Policy`) and registered values, of which only fingerprints are kept."""

import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.storage.changes import announce
from freehold.storage.tables import guard_policies, guard_values


class StoredValue(msgspec.Struct, frozen=True):
    """One registered value, as `guard.fingerprint` made it. `label` tells people which it is."""

    workspace_id: str
    fingerprint: bytes
    kind: str
    label: str
    length: int
    head: int
    tail: int


_columns = tuple(guard_values.c[name] for name in StoredValue.__struct_fields__)
_AT_ONCE = 1000


async def policy(connection: AsyncConnection, workspace_id: str) -> str | None:
    """A workspace's policy; None: the default."""
    found = await connection.execute(
        select(guard_policies.c.policy).where(guard_policies.c.workspace_id == workspace_id)
    )
    return found.scalar_one_or_none()


async def policies(connection: AsyncConnection) -> dict[str, str]:
    """The policies of all workspaces that have one."""
    rows = await connection.execute(select(guard_policies.c.workspace_id, guard_policies.c.policy))
    return {row[0]: row[1] for row in rows}


async def put_policy(connection: AsyncConnection, workspace_id: str, text: str) -> None:
    """Set a workspace's policy in place of the one it had, and announce it."""
    await connection.execute(delete(guard_policies).where(guard_policies.c.workspace_id == workspace_id))
    await connection.execute(
        insert(guard_policies).values(workspace_id=workspace_id, policy=text, changed_at=time.time())
    )
    await announce(connection, "guard", workspace_id)


async def add_values(connection: AsyncConnection, values: Sequence[StoredValue]) -> int:
    """Add the values of one workspace that are not there yet, and announce it. Gives how many were new."""
    if not values:
        return 0
    workspace_id = values[0].workspace_id
    known = await connection.execute(
        select(guard_values.c.fingerprint).where(guard_values.c.workspace_id == workspace_id)
    )
    there = {row[0] for row in known}
    fresh = {value.fingerprint: value for value in values if value.fingerprint not in there}
    rows = [{**msgspec.structs.asdict(value), "created_at": time.time()} for value in fresh.values()]
    for at in range(0, len(rows), _AT_ONCE):
        await connection.execute(insert(guard_values), rows[at : at + _AT_ONCE])
    if rows:
        await announce(connection, "guard", workspace_id)
    return len(rows)


async def remove_values(connection: AsyncConnection, workspace_id: str, label: str) -> int:
    """Remove a workspace's values of this label and announce it. Gives how many there were."""
    done = await connection.execute(
        delete(guard_values).where(guard_values.c.workspace_id == workspace_id, guard_values.c.label == label)
    )
    if done.rowcount:
        await announce(connection, "guard", workspace_id)
    return done.rowcount


async def counted_values(connection: AsyncConnection, workspace_id: str) -> list[tuple[str, str, int]]:
    """Of a workspace: (kind, label, how many)."""
    query = (
        select(guard_values.c.kind, guard_values.c.label, func.count())
        .where(guard_values.c.workspace_id == workspace_id)
        .group_by(guard_values.c.kind, guard_values.c.label)
        .order_by(guard_values.c.kind, guard_values.c.label)
    )
    return [(kind, label, count) for kind, label, count in await connection.execute(query)]


async def values(connection: AsyncConnection) -> list[StoredValue]:
    """The registered values of all workspaces."""
    return [StoredValue(*row) for row in await connection.execute(select(*_columns))]
