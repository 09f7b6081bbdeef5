"""API keys and sessions, each known only by the digest of its secret."""

import time
from typing import Literal

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.storage.changes import announce
from freehold.storage.tables import credentials, group_members, groups, users

Kind = Literal["key", "session", "scim"]


class Credential(msgspec.Struct, frozen=True):
    """What a list shows of a credential. `hint` is the secret's recognisable beginning, useless by itself."""

    id: str
    workspace_id: str
    user_id: str | None
    kind: Kind
    name: str
    hint: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    scopes: str = ""
    assistants: str = ""
    sources: str = ""
    methods: str = ""
    provider_id: str | None = None
    external_session: str | None = None


class Holder(msgspec.Struct, frozen=True):
    """A valid credential together with who holds it. `groups`: id → the role that the group gives, if any."""

    credential_id: str
    workspace_id: str
    user_id: str | None
    kind: Literal["key", "session"]
    role: str | None
    digest: bytes
    expires_at: float | None
    scopes: str
    assistants: str
    sources: str
    groups: dict[str, str | None] = {}


_listed = tuple(credentials.c[name] for name in Credential.__struct_fields__)


async def create(connection: AsyncConnection, credential: Credential, digest: bytes) -> None:
    """Store a credential."""
    await connection.execute(insert(credentials).values(**msgspec.structs.asdict(credential), digest=digest))


async def find(connection: AsyncConnection, digest: bytes) -> Holder | None:
    """Who holds the secret with this digest: None when unknown, revoked, expired, or its user is disabled."""
    query = (
        select(
            credentials.c.id,
            credentials.c.workspace_id,
            credentials.c.user_id,
            credentials.c.kind,
            users.c.role,
            credentials.c.digest,
            credentials.c.expires_at,
            credentials.c.scopes,
            credentials.c.assistants,
            credentials.c.sources,
        )
        .select_from(credentials.outerjoin(users, users.c.id == credentials.c.user_id))
        .where(
            credentials.c.digest == digest,
            credentials.c.revoked_at.is_(None),
            (credentials.c.expires_at.is_(None)) | (credentials.c.expires_at > time.time()),
            users.c.disabled_at.is_(None),
        )
    )
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    return msgspec.structs.replace(Holder(*row), groups=await groups_of(connection, row.user_id))


async def is_live(connection: AsyncConnection, credential_id: str) -> bool:
    """Whether the credential is there, neither revoked nor expired. Says nothing of its user."""
    query = select(credentials.c.id).where(
        credentials.c.id == credential_id,
        credentials.c.revoked_at.is_(None),
        (credentials.c.expires_at.is_(None)) | (credentials.c.expires_at > time.time()),
    )
    return (await connection.execute(query)).first() is not None


async def provisioning(
    connection: AsyncConnection, workspace_id: str, digest: bytes
) -> tuple[Credential, bytes] | None:
    """The workspace's live SCIM token with this digest, and the digest as it is stored."""
    query = select(*_listed, credentials.c.digest).where(
        credentials.c.digest == digest,
        credentials.c.workspace_id == workspace_id,
        credentials.c.kind == "scim",
        credentials.c.revoked_at.is_(None),
        (credentials.c.expires_at.is_(None)) | (credentials.c.expires_at > time.time()),
    )
    row = (await connection.execute(query)).first()
    return (Credential(*row[:-1]), row[-1]) if row else None


async def groups_of(connection: AsyncConnection, user_id: str | None) -> dict[str, str | None]:
    """The groups of a person: id → the role that the group gives, if any."""
    if user_id is None:
        return {}
    query = (
        select(groups.c.id, groups.c.role)
        .join(group_members, group_members.c.group_id == groups.c.id)
        .where(group_members.c.user_id == user_id)
    )
    return {row.id: row.role for row in await connection.execute(query)}


async def get(connection: AsyncConnection, workspace_id: str, credential_id: str) -> Credential | None:
    """The credential of that id, whatever its state."""
    query = select(*_listed).where(credentials.c.id == credential_id, credentials.c.workspace_id == workspace_id)
    row = (await connection.execute(query)).first()
    return Credential(*row) if row else None


async def listed(
    connection: AsyncConnection, workspace_id: str, kind: Kind, *, user_id: str | None = None, live: bool = False
) -> list[Credential]:
    """A workspace's credentials of one kind, newest first; only one person's when `user_id` is given.

    `live`: without those that are revoked or expired.
    """
    query = select(*_listed).where(credentials.c.workspace_id == workspace_id, credentials.c.kind == kind)
    if user_id is not None:
        query = query.where(credentials.c.user_id == user_id)
    if live:
        expires = credentials.c.expires_at
        query = query.where(credentials.c.revoked_at.is_(None), expires.is_(None) | (expires > time.time()))
    return [Credential(*row) for row in await connection.execute(query.order_by(credentials.c.created_at.desc()))]


async def revoke(
    connection: AsyncConnection,
    workspace_id: str,
    credential_id: str,
    *,
    user_id: str | None = None,
    kind: Kind | None = None,
) -> bool:
    """Revoke a credential and announce it. False when there is none to revoke (of this person and kind, if given)."""
    query = update(credentials).where(
        credentials.c.id == credential_id,
        credentials.c.workspace_id == workspace_id,
        credentials.c.revoked_at.is_(None),
    )
    if user_id is not None:
        query = query.where(credentials.c.user_id == user_id)
    if kind is not None:
        query = query.where(credentials.c.kind == kind)
    done = await connection.execute(query.values(revoked_at=time.time()))
    if done.rowcount != 1:
        return False
    await announce(connection, "credential", credential_id)
    return True


async def revoke_sessions(connection: AsyncConnection, user_id: str, *, keep: str | None = None) -> int:
    """End a person's sessions but the one to keep, announced; how many there were."""
    query = select(credentials.c.id, credentials.c.workspace_id).where(
        credentials.c.user_id == user_id, credentials.c.kind == "session", credentials.c.revoked_at.is_(None)
    )
    if keep is not None:
        query = query.where(credentials.c.id != keep)
    rows = (await connection.execute(query)).all()
    return sum([await revoke(connection, row.workspace_id, row.id) for row in rows])


async def extend(connection: AsyncConnection, credential_id: str, expires_at: float) -> None:
    """Let a credential live until then, announced."""
    await connection.execute(update(credentials).where(credentials.c.id == credential_id).values(expires_at=expires_at))
    await announce(connection, "credential", credential_id)


async def touch(connection: AsyncConnection, used: dict[str, float]) -> None:
    """Note when credentials were last used: credential id → time."""
    for credential_id, at in used.items():
        await connection.execute(update(credentials).where(credentials.c.id == credential_id).values(last_used_at=at))
