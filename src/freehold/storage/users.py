"""Accounts of people and services. A service has no e-mail; a person signs in by password, passkey or a provider.

A change that anybody's rights depend on is announced in the same transaction, so that every process forgets what it
remembered of the account within a second.
"""

import time
from typing import Any, Literal

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.changes import announce
from freehold.storage.tables import users

Role = Literal["owner", "admin", "reviewer", "member", "auditor", "service"]


class User(msgspec.Struct, frozen=True):
    """An account of one workspace. `email` is lower case and unique in it; none for a service.

    `role` is the account's own; `identity.roles.effective` says what it is with the groups' roles.
    """

    id: str
    workspace_id: str
    name: str
    email: str | None
    role: Role
    password_hash: str | None
    disabled_at: float | None
    external_id: str | None = None
    created_at: float = 0.0


_columns = tuple(users.c[name] for name in User.__struct_fields__)


async def create(
    connection: AsyncConnection,
    workspace_id: str,
    *,
    name: str,
    email: str | None,
    role: Role,
    password_hash: str | None = None,
    external_id: str | None = None,
) -> User:
    """A new account. Raises IntegrityError when the e-mail or the external id is taken in this workspace."""
    address = email.lower() if email is not None else None
    user = User(new_id("usr"), workspace_id, name, address, role, password_hash, None, external_id, time.time())
    await connection.execute(insert(users).values(**msgspec.structs.asdict(user)))
    return user


async def by_email(connection: AsyncConnection, workspace_id: str, email: str) -> User | None:
    """The account with that e-mail."""
    return await _one(connection, users.c.workspace_id == workspace_id, users.c.email == email.lower())


async def by_external_id(connection: AsyncConnection, workspace_id: str, external_id: str) -> User | None:
    """The account that a SCIM client knows by this id."""
    return await _one(connection, users.c.workspace_id == workspace_id, users.c.external_id == external_id)


async def get(connection: AsyncConnection, user_id: str) -> User | None:
    """The account of that id."""
    return await _one(connection, users.c.id == user_id)


async def of_workspace(connection: AsyncConnection, workspace_id: str, user_id: str) -> User | None:
    """The account of that id if it is in this workspace."""
    return await _one(connection, users.c.workspace_id == workspace_id, users.c.id == user_id)


async def listed(connection: AsyncConnection, workspace_id: str, *, services: bool = False) -> list[User]:
    """The people of a workspace, or its services; by name."""
    kind = users.c.role == "service" if services else users.c.role != "service"
    query = select(*_columns).where(users.c.workspace_id == workspace_id, kind).order_by(users.c.name, users.c.id)
    return [User(*row) for row in await connection.execute(query)]


async def count(connection: AsyncConnection, workspace_id: str) -> int:
    """How many people have an account in a workspace."""
    query = (
        select(func.count()).select_from(users).where(users.c.workspace_id == workspace_id, users.c.role != "service")
    )
    return int((await connection.execute(query)).scalar_one())


async def other_owners(connection: AsyncConnection, workspace_id: str, user_id: str) -> int:
    """How many owners can act besides this one. Locks the owners' rows, so that two changes at once are one by one."""
    query = select(users.c.id).where(
        users.c.workspace_id == workspace_id, users.c.role == "owner", users.c.disabled_at.is_(None)
    )
    rows = await connection.execute(query.with_for_update())
    return sum(row.id != user_id for row in rows)


async def change(connection: AsyncConnection, user_id: str, **values: Any) -> None:
    """Set columns of an account (name, email, role, password_hash, external_id, disabled_at), announced.

    Raises IntegrityError when the e-mail or the external id is another's.
    """
    if isinstance(values.get("email"), str):
        values["email"] = values["email"].lower()
    await connection.execute(update(users).where(users.c.id == user_id).values(**values))
    await announce(connection, "user", user_id)


async def remove(connection: AsyncConnection, user_id: str) -> None:
    """Delete an account with its keys, sessions, factors and conversations, announced."""
    await connection.execute(delete(users).where(users.c.id == user_id))
    await announce(connection, "user", user_id)


async def _one(connection: AsyncConnection, *conditions: Any) -> User | None:
    row = (await connection.execute(select(*_columns).where(*conditions))).first()
    return User(*row) if row else None
