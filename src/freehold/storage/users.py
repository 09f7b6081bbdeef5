"""People with an account, and the one-time claims by which they come in."""

import time
from typing import Literal

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.tables import claims, users

Role = Literal["owner", "admin", "member"]


class User(msgspec.Struct, frozen=True):
    """A person of one workspace. `email` is lower case and unique in it."""

    id: str
    workspace_id: str
    name: str
    email: str
    role: Role
    password_hash: str
    disabled_at: float | None


class Claim(msgspec.Struct, frozen=True):
    """A one-time right to make an account with `role`."""

    id: str
    workspace_id: str
    role: Role


_columns = (
    users.c.id,
    users.c.workspace_id,
    users.c.name,
    users.c.email,
    users.c.role,
    users.c.password_hash,
    users.c.disabled_at,
)


async def create(
    connection: AsyncConnection, workspace_id: str, *, name: str, email: str, role: Role, password_hash: str
) -> User:
    """A new account. Raises IntegrityError when the e-mail is taken in this workspace."""
    user = User(new_id("usr"), workspace_id, name, email.lower(), role, password_hash, None)
    await connection.execute(insert(users).values(**msgspec.structs.asdict(user), created_at=time.time()))
    return user


async def by_email(connection: AsyncConnection, workspace_id: str, email: str) -> User | None:
    """The account with that e-mail."""
    query = select(*_columns).where(users.c.workspace_id == workspace_id, users.c.email == email.lower())
    row = (await connection.execute(query)).first()
    return User(*row) if row else None


async def get(connection: AsyncConnection, user_id: str) -> User | None:
    """The account of that id."""
    row = (await connection.execute(select(*_columns).where(users.c.id == user_id))).first()
    return User(*row) if row else None


async def count(connection: AsyncConnection, workspace_id: str) -> int:
    """How many accounts a workspace has."""
    query = select(func.count()).select_from(users).where(users.c.workspace_id == workspace_id)
    return int((await connection.execute(query)).scalar_one())


async def create_claim(
    connection: AsyncConnection, workspace_id: str, digest: bytes, role: Role, expires_at: float
) -> None:
    """Remember a claim by its digest; earlier unused claims of the workspace for this role end now."""
    now = time.time()
    await connection.execute(
        update(claims)
        .where(claims.c.workspace_id == workspace_id, claims.c.role == role, claims.c.used_at.is_(None))
        .values(expires_at=now)
    )
    await connection.execute(
        insert(claims).values(
            id=new_id("clm"), workspace_id=workspace_id, digest=digest, role=role, created_at=now, expires_at=expires_at
        )
    )


async def use_claim(connection: AsyncConnection, digest: bytes) -> Claim | None:
    """Use up the claim, once. None when it does not exist, has expired or was used."""
    now = time.time()
    query = select(claims.c.id, claims.c.workspace_id, claims.c.role).where(
        claims.c.digest == digest, claims.c.used_at.is_(None), claims.c.expires_at > now
    )
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    claim = Claim(*row)
    used = await connection.execute(
        update(claims).where(claims.c.id == claim.id, claims.c.used_at.is_(None)).values(used_at=now)
    )
    return claim if used.rowcount == 1 else None
