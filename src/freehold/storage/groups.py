"""Groups of people: a name, the role that it gives its members at least, and who is in it.

A group's change is announced for each of its members, since it is their rights that change. `source` says who put a
person into a group: "" an administrator, else the name of the provider, which takes out only those it put in.
"""

import time
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.changes import announce, announce_each
from freehold.storage.tables import group_members, groups, users
from freehold.storage.users import Role


class Group(msgspec.Struct, frozen=True):
    """`role`: what its members may do at least; None: the group gives none."""

    id: str
    workspace_id: str
    name: str
    role: Role | None
    external_id: str | None
    created_at: float


_columns = tuple(groups.c[name] for name in Group.__struct_fields__)


async def create(
    connection: AsyncConnection, workspace_id: str, name: str, role: Role | None, external_id: str | None = None
) -> Group:
    """A new group. Raises IntegrityError when the name is taken in this workspace."""
    group = Group(new_id("grp"), workspace_id, name, role, external_id, time.time())
    await connection.execute(insert(groups).values(**msgspec.structs.asdict(group)))
    return group


async def get(connection: AsyncConnection, workspace_id: str, group_id: str) -> Group | None:
    """The group of that id if it is in this workspace."""
    return await _one(connection, groups.c.workspace_id == workspace_id, groups.c.id == group_id)


async def named(connection: AsyncConnection, workspace_id: str, name: str) -> Group | None:
    """The group of that name (or id)."""
    return await _one(
        connection, groups.c.workspace_id == workspace_id, (groups.c.name == name) | (groups.c.id == name)
    )


async def listed(connection: AsyncConnection, workspace_id: str) -> list[Group]:
    """A workspace's groups by name."""
    query = select(*_columns).where(groups.c.workspace_id == workspace_id).order_by(groups.c.name)
    return [Group(*row) for row in await connection.execute(query)]


async def memberships(connection: AsyncConnection, workspace_id: str) -> dict[str, list[str]]:
    """Group id → the ids of its members, for a whole workspace."""
    query = (
        select(group_members.c.group_id, group_members.c.user_id)
        .join(groups, groups.c.id == group_members.c.group_id)
        .where(groups.c.workspace_id == workspace_id)
        .order_by(group_members.c.user_id)
    )
    found: dict[str, list[str]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.group_id, []).append(row.user_id)
    return found


async def members(connection: AsyncConnection, group_id: str) -> list[str]:
    """The ids of a group's members."""
    query = select(group_members.c.user_id).where(group_members.c.group_id == group_id)
    return [row.user_id for row in await connection.execute(query.order_by(group_members.c.user_id))]


async def roles(connection: AsyncConnection, user_id: str) -> list[str]:
    """The roles that a person's groups give."""
    query = (
        select(groups.c.role)
        .join(group_members, group_members.c.group_id == groups.c.id)
        .where(group_members.c.user_id == user_id, groups.c.role.is_not(None))
    )
    return [row.role for row in await connection.execute(query)]


async def change(connection: AsyncConnection, group_id: str, **values: Any) -> None:
    """Set columns of a group (name, role, external_id), announced. Raises IntegrityError when the name is taken."""
    await connection.execute(update(groups).where(groups.c.id == group_id).values(**values))
    await _announce_members(connection, group_id)


async def remove(connection: AsyncConnection, group_id: str) -> None:
    """Delete a group; its members stay, with what they may do by themselves. Announced."""
    await _announce_members(connection, group_id)
    await connection.execute(delete(groups).where(groups.c.id == group_id))


async def add(connection: AsyncConnection, group_id: str, user_id: str, source: str = "") -> bool:
    """Put a person into a group, announced. False when they are in it already, or are not in its workspace."""
    same = (
        select(group_members.c.user_id)
        .where(group_members.c.group_id == group_id, group_members.c.user_id == user_id)
        .exists()
    )
    query = (
        select(groups.c.id, users.c.id)
        .join(users, users.c.workspace_id == groups.c.workspace_id)
        .where(groups.c.id == group_id, users.c.id == user_id, ~same)
    )
    if (await connection.execute(query)).first() is None:
        return False
    await connection.execute(insert(group_members).values(group_id=group_id, user_id=user_id, source=source))
    await announce(connection, "user", user_id)
    return True


async def take_out(connection: AsyncConnection, group_id: str, user_id: str, source: str | None = None) -> bool:
    """Take a person out of a group (only if `source` put them in, when given), announced. False when not in it."""
    query = delete(group_members).where(group_members.c.group_id == group_id, group_members.c.user_id == user_id)
    if source is not None:
        query = query.where(group_members.c.source == source)
    if (await connection.execute(query)).rowcount != 1:
        return False
    await announce(connection, "user", user_id)
    return True


async def _announce_members(connection: AsyncConnection, group_id: str) -> None:
    await announce_each(connection, "user", await members(connection, group_id))


async def _one(connection: AsyncConnection, *conditions: Any) -> Group | None:
    row = (await connection.execute(select(*_columns).where(*conditions))).first()
    return Group(*row) if row else None
