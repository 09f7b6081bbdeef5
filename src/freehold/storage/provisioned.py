"""What provisioning clients (SCIM) see and change: people with what the client said of them, groups that it pushed.

Every person of a workspace is seen, so that a client finds whom it is to take over; a group is seen from when it is
pushed. Membership changes are a few statements however many people they name, and announced for each of them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.storage.changes import announce_each
from freehold.storage.groups import Group
from freehold.storage.tables import group_members, groups, provisioned_groups, provisioned_users, users
from freehold.storage.users import User

SOURCE = "scim"
"""The source of a membership that a provisioning client asked for."""

_CHUNK = 500


class Person(msgspec.Struct, frozen=True):
    """An account, and what the client said of it (JSON): None for one that no client has touched.

    `deactivated_at` is the account's `disabled_at` if the client disabled it.
    """

    user: User
    said: str | None
    deactivated_at: float | None


# --- what a filter can name, and what that is in the tables


@dataclass(frozen=True)
class Text:
    """A text. `case`: it counts, or the stored text is in lower case, or it may be any and does not count."""

    column: ColumnElement[Any]
    case: Literal["exact", "lowered", "any"] = "any"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    expression: ColumnElement[bool]


@dataclass(frozen=True)
class Fixed:
    """The same for everybody."""

    value: str | bool


@dataclass(frozen=True)
class Held:
    """One of several values; `exists` gives the condition for one."""

    exists: Callable[[str], ColumnElement[bool]]


Attribute = Text | Flag | Fixed | Held


def _has_member(user_id: str) -> ColumnElement[bool]:
    return (
        select(literal(1))
        .where(group_members.c.group_id == groups.c.id, group_members.c.user_id == user_id)
        .correlate(groups)
        .exists()
    )


def _in_group(group_id: str) -> ColumnElement[bool]:
    return (
        select(literal(1))
        .select_from(group_members.join(provisioned_groups, provisioned_groups.c.group_id == group_members.c.group_id))
        .where(group_members.c.user_id == users.c.id, group_members.c.group_id == group_id)
        .correlate(users)
        .exists()
    )


_user_name = func.coalesce(provisioned_users.c.user_name, users.c.email)  # the client's name for it, else the address

PEOPLE: Mapping[str, Attribute] = {
    "id": Text(users.c.id, "exact"),
    "externalid": Text(users.c.external_id, "exact"),
    "username": Text(_user_name, "lowered"),
    "displayname": Text(users.c.name),
    "name.formatted": Text(users.c.name),
    "emails": Text(users.c.email, "lowered"),
    "emails.value": Text(users.c.email, "lowered"),
    "emails.type": Fixed("work"),
    "emails.primary": Fixed(True),
    "active": Flag(users.c.disabled_at.is_(None)),
    "groups": Held(_in_group),
    "groups.value": Held(_in_group),
    "meta.resourcetype": Fixed("User"),
}
"""A person's attributes, named in lower case."""

GROUPS: Mapping[str, Attribute] = {
    "id": Text(groups.c.id, "exact"),
    "externalid": Text(groups.c.external_id, "exact"),
    "displayname": Text(groups.c.name),
    "members": Held(_has_member),
    "members.value": Held(_has_member),
    "members.type": Fixed("User"),
    "meta.resourcetype": Fixed("Group"),
}
"""A group's attributes, named in lower case."""


# --- people

_person = tuple(users.c[name] for name in User.__struct_fields__)
_of_client = (provisioned_users.c.said, provisioned_users.c.deactivated_at)
_people_from = users.outerjoin(provisioned_users, provisioned_users.c.user_id == users.c.id)


async def person(connection: AsyncConnection, workspace_id: str, user_id: str) -> Person | None:
    """The person of that id; None for a service, and for another workspace's."""
    found, _ = await people(connection, workspace_id, users.c.id == user_id, offset=0, limit=1)
    return found[0] if found else None


async def people(
    connection: AsyncConnection, workspace_id: str, where: ColumnElement[bool] | None, *, offset: int, limit: int
) -> tuple[list[Person], int]:
    """People from `offset` on, oldest account first, and how many there are in all."""
    query = (
        select(*_person, *_of_client)
        .select_from(_people_from)
        .where(users.c.workspace_id == workspace_id, users.c.role != "service")
    )
    if where is not None:
        query = query.where(where)
    rows, total = await _page(connection, query, (users.c.created_at, users.c.id), offset, limit)
    return [Person(User(*row[:-2]), row[-2], row[-1]) for row in rows], total


def called(user_name: str) -> ColumnElement[bool]:
    """The condition that a client calls the account so."""
    return _user_name == user_name.lower()


async def keep_person(
    connection: AsyncConnection, user: User, user_name: str, said: str, deactivated_at: float | None
) -> None:
    """Remember what the client said of an account. Raises IntegrityError when the user name is another's."""
    values = {"user_name": user_name.lower(), "said": said, "deactivated_at": deactivated_at}
    kept = await connection.execute(
        update(provisioned_users).where(provisioned_users.c.user_id == user.id).values(**values)
    )
    if kept.rowcount == 0:
        await connection.execute(
            insert(provisioned_users).values(user_id=user.id, workspace_id=user.workspace_id, **values)
        )


async def known(connection: AsyncConnection, workspace_id: str, user_ids: Sequence[str]) -> set[str]:
    """Those of the ids that are people of the workspace."""
    found: set[str] = set()
    for some in _chunks(user_ids):
        query = select(users.c.id).where(
            users.c.workspace_id == workspace_id, users.c.role != "service", users.c.id.in_(some)
        )
        found.update(row.id for row in await connection.execute(query))
    return found


async def groups_of(connection: AsyncConnection, user_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """For each person the pushed groups that they are in: id and name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for some in _chunks(user_ids):
        query = (
            select(group_members.c.user_id, groups.c.id, groups.c.name)
            .select_from(
                group_members.join(groups, groups.c.id == group_members.c.group_id).join(
                    provisioned_groups, provisioned_groups.c.group_id == groups.c.id
                )
            )
            .where(group_members.c.user_id.in_(some))
            .order_by(groups.c.name)
        )
        for row in await connection.execute(query):
            found.setdefault(row.user_id, []).append((row.id, row.name))
    return found


# --- groups

_group = tuple(groups.c[name] for name in Group.__struct_fields__)
_pushed_from = groups.join(provisioned_groups, provisioned_groups.c.group_id == groups.c.id)


async def group(connection: AsyncConnection, workspace_id: str, group_id: str) -> Group | None:
    """The pushed group of that id."""
    found, _ = await pushed(connection, workspace_id, groups.c.id == group_id, offset=0, limit=1)
    return found[0] if found else None


async def pushed(
    connection: AsyncConnection, workspace_id: str, where: ColumnElement[bool] | None, *, offset: int, limit: int
) -> tuple[list[Group], int]:
    """Pushed groups from `offset` on, oldest first, and how many there are in all."""
    query = select(*_group).select_from(_pushed_from).where(groups.c.workspace_id == workspace_id)
    if where is not None:
        query = query.where(where)
    rows, total = await _page(connection, query, (groups.c.created_at, groups.c.id), offset, limit)
    return [Group(*row) for row in rows], total


async def is_pushed(connection: AsyncConnection, group_id: str) -> bool:
    """Whether a client has pushed the group."""
    query = select(provisioned_groups.c.group_id).where(provisioned_groups.c.group_id == group_id)
    return (await connection.execute(query)).first() is not None


async def link(connection: AsyncConnection, group_id: str) -> None:
    """Let the client see the group."""
    await connection.execute(insert(provisioned_groups).values(group_id=group_id, created_at=time.time()))


async def unlink(connection: AsyncConnection, group_id: str) -> None:
    """The client does not see the group any more, and nothing of it stays the client's."""
    await take_out(connection, group_id, None)
    await connection.execute(update(groups).where(groups.c.id == group_id).values(external_id=None))
    await connection.execute(delete(provisioned_groups).where(provisioned_groups.c.group_id == group_id))


async def has_members_of_others(connection: AsyncConnection, group_id: str) -> bool:
    """Whether somebody is in the group whom no provisioning client put there."""
    query = select(group_members.c.user_id).where(
        group_members.c.group_id == group_id, group_members.c.source != SOURCE
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def members(connection: AsyncConnection, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """Group id → the ids of everybody in it."""
    found: dict[str, list[str]] = {}
    for some in _chunks(group_ids):
        query = select(group_members.c.group_id, group_members.c.user_id).where(group_members.c.group_id.in_(some))
        for row in await connection.execute(query.order_by(group_members.c.user_id)):
            found.setdefault(row.group_id, []).append(row.user_id)
    return found


async def put_in(connection: AsyncConnection, group_id: str, user_ids: Sequence[str]) -> None:
    """Put people of the group's workspace into it, for the client; who is in it already stays as they are."""
    there = set((await members(connection, [group_id])).get(group_id, ()))
    new = sorted(set(user_ids) - there)
    if new:
        rows = [{"group_id": group_id, "user_id": user_id, "source": SOURCE} for user_id in new]
        await connection.execute(insert(group_members), rows)
        await announce_each(connection, "user", new)


async def take_out(connection: AsyncConnection, group_id: str, user_ids: Sequence[str] | None) -> None:
    """Take those people (None: everybody) out of a group, if the client put them in."""
    query = select(group_members.c.user_id).where(
        group_members.c.group_id == group_id, group_members.c.source == SOURCE
    )
    mine = {row.user_id for row in await connection.execute(query)}
    leaving = sorted(mine if user_ids is None else mine & set(user_ids))
    for some in _chunks(leaving):
        await connection.execute(
            delete(group_members).where(group_members.c.group_id == group_id, group_members.c.user_id.in_(some))
        )
    await announce_each(connection, "user", leaving)


async def _page(
    connection: AsyncConnection, query: Select[Any], order: Sequence[Any], offset: int, limit: int
) -> tuple[Sequence[Any], int]:
    total = int((await connection.execute(select(func.count()).select_from(query.subquery()))).scalar_one())
    if not limit or offset >= total:
        return (), total
    return (await connection.execute(query.order_by(*order).offset(offset).limit(limit))).all(), total


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), _CHUNK):
        yield ids[at : at + _CHUNK]
