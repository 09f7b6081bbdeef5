"""Sign-in providers of a workspace, and which person is whom at a provider.

Every change of a provider is announced, since the gateway's keys and the relay's routes depend on it; a change of who
is whom is announced for the person. What a provider is trusted with ends with it: its sessions, its places in groups.
"""

import time
from typing import Any

import msgspec
from sqlalchemy import delete, false, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage import credentials
from freehold.storage.changes import announce
from freehold.storage.tables import credentials as credentials_table
from freehold.storage.tables import external_identities, group_members, providers, users


class Provider(msgspec.Struct, frozen=True):
    """`options` and `metadata` are JSON, read by `identity.providers`. `client_secret` is sealed."""

    id: str
    workspace_id: str
    name: str
    title: str
    issuer: str
    client_id: str
    client_secret: bytes | None
    audience: str | None
    options: str
    metadata: str | None
    fetched_at: float | None
    created_at: float
    disabled_at: float | None


class Held(msgspec.Struct, frozen=True):
    """The account behind a subject of a provider, with what it may do. `groups`: id → the role that the group gives."""

    user_id: str
    workspace_id: str
    role: str
    groups: dict[str, str | None]


class Linked(msgspec.Struct, frozen=True):
    """That somebody is known to a provider."""

    name: str
    title: str
    created_at: float


_columns = tuple(providers.c[name] for name in Provider.__struct_fields__)


async def create(
    connection: AsyncConnection,
    workspace_id: str,
    *,
    name: str,
    title: str,
    issuer: str,
    client_id: str,
    audience: str | None,
    options: str,
    metadata: str,
    provider_id: str | None = None,
    client_secret: bytes | None = None,
) -> Provider:
    """A new provider. Raises IntegrityError when the name is taken in this workspace."""
    now = time.time()
    made = Provider(provider_id or new_id("idp"), workspace_id, name, title, issuer, client_id, client_secret, audience,
                    options, metadata, now, now, None)  # fmt: skip
    await connection.execute(insert(providers).values(**msgspec.structs.asdict(made)))
    await announce(connection, "provider", made.id)
    return made


async def listed(connection: AsyncConnection, workspace_id: str, *, enabled: bool = False) -> list[Provider]:
    """A workspace's providers by title; only those that are on when `enabled`."""
    query = select(*_columns).where(providers.c.workspace_id == workspace_id)
    if enabled:
        query = query.where(providers.c.disabled_at.is_(None))
    return [Provider(*row) for row in await connection.execute(query.order_by(providers.c.title, providers.c.id))]


async def enabled_everywhere(connection: AsyncConnection) -> list[Provider]:
    """The providers of all workspaces that are on."""
    query = select(*_columns).where(providers.c.disabled_at.is_(None)).order_by(providers.c.created_at, providers.c.id)
    return [Provider(*row) for row in await connection.execute(query)]


async def named(connection: AsyncConnection, workspace_id: str, name: str) -> Provider | None:
    """The provider of that name, whatever its state."""
    return await _one(connection, providers.c.workspace_id == workspace_id, providers.c.name == name)


async def get(connection: AsyncConnection, provider_id: str) -> Provider | None:
    """The provider of that id, whatever its state."""
    return await _one(connection, providers.c.id == provider_id)


async def learned(
    connection: AsyncConnection, provider_id: str, metadata: str, *, fetched_at: float | None, changed: bool
) -> None:
    """Keep what a provider said of itself; announced when it says something else than before."""
    values: dict[str, Any] = {"metadata": metadata}
    if fetched_at is not None:
        values["fetched_at"] = fetched_at
    await connection.execute(update(providers).where(providers.c.id == provider_id).values(**values))
    if changed:
        await announce(connection, "provider", provider_id)


async def want_keys(connection: AsyncConnection, provider_id: str) -> None:
    """Ask the console to fetch a provider's keys again."""
    await announce(connection, "keys_wanted", provider_id)


async def enable(connection: AsyncConnection, provider_id: str) -> None:
    """Let people sign in by it (again), announced."""
    await connection.execute(update(providers).where(providers.c.id == provider_id).values(disabled_at=None))
    await announce(connection, "provider", provider_id)


async def disable(connection: AsyncConnection, provider_id: str) -> None:
    """Let nobody in by it any more, and end the sessions that it opened; announced."""
    await connection.execute(update(providers).where(providers.c.id == provider_id).values(disabled_at=time.time()))
    await end_sessions(connection, provider_id)
    await announce(connection, "provider", provider_id)


async def remove(connection: AsyncConnection, provider_id: str) -> None:
    """Forget a provider with its sessions, its links and the places in groups that it gave; announced."""
    await end_sessions(connection, provider_id)
    given = await connection.execute(select(group_members.c.user_id).where(group_members.c.source == provider_id))
    for user_id in {row.user_id for row in given}:
        await announce(connection, "user", user_id)
    await connection.execute(delete(group_members).where(group_members.c.source == provider_id))
    await connection.execute(delete(providers).where(providers.c.id == provider_id))
    await announce(connection, "provider", provider_id)


async def end_sessions(
    connection: AsyncConnection, provider_id: str, *, session: str | None = None, user_id: str | None = None
) -> int:
    """End the live sessions that a provider opened (of that name at it, of that person, if given); how many.

    Where both are given, a person's session without a name is meant too: its provider named none when it began.
    """
    table = credentials_table.c
    query = select(table.id, table.workspace_id).where(
        table.provider_id == provider_id, table.kind == "session", table.revoked_at.is_(None)
    )
    if session is not None:
        of_that_name = table.external_session == session
        nameless = table.external_session.is_(None) if user_id is not None else false()
        query = query.where(of_that_name | nameless)
    if user_id is not None:
        query = query.where(table.user_id == user_id)
    rows = (await connection.execute(query)).all()
    return sum([await credentials.revoke(connection, row.workspace_id, row.id) for row in rows])


async def of_session(connection: AsyncConnection, credential_id: str) -> Provider | None:
    """The provider that opened a session; None for a session that was opened here."""
    joined = providers.join(credentials_table, credentials_table.c.provider_id == providers.c.id)
    row = (
        await connection.execute(select(*_columns).select_from(joined).where(credentials_table.c.id == credential_id))
    ).first()
    return Provider(*row) if row else None


# --- who is whom
async def link(connection: AsyncConnection, provider_id: str, subject: str, user_id: str) -> None:
    """This subject of the provider is that person, announced. Raises IntegrityError when it is somebody already."""
    await connection.execute(
        insert(external_identities).values(
            provider_id=provider_id, subject=subject, user_id=user_id, created_at=time.time()
        )
    )
    await announce(connection, "user", user_id)


async def unlink(connection: AsyncConnection, provider_id: str, user_id: str) -> int:
    """The provider knows this person no more: their sessions by it end; how many subjects there were. Announced."""
    done = await connection.execute(
        delete(external_identities).where(
            external_identities.c.provider_id == provider_id, external_identities.c.user_id == user_id
        )
    )
    if done.rowcount:
        await end_sessions(connection, provider_id, user_id=user_id)
        await announce(connection, "user", user_id)
    return done.rowcount


async def user_of(connection: AsyncConnection, provider_id: str, subject: str) -> str | None:
    """The id of the person who is this subject of the provider."""
    query = select(external_identities.c.user_id).where(
        external_identities.c.provider_id == provider_id, external_identities.c.subject == subject
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def held(connection: AsyncConnection, provider_id: str, subject: str) -> Held | None:
    """The account behind a subject with what it may do; None when there is none, or it is disabled."""
    query = (
        select(users.c.id, users.c.workspace_id, users.c.role)
        .join(external_identities, external_identities.c.user_id == users.c.id)
        .where(
            external_identities.c.provider_id == provider_id,
            external_identities.c.subject == subject,
            users.c.disabled_at.is_(None),
        )
    )
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    return Held(row.id, row.workspace_id, row.role, await credentials.groups_of(connection, row.id))


async def linked(connection: AsyncConnection, user_id: str) -> list[Linked]:
    """The providers that know this person."""
    query = (
        select(providers.c.name, providers.c.title, external_identities.c.created_at)
        .join(external_identities, external_identities.c.provider_id == providers.c.id)
        .where(external_identities.c.user_id == user_id)
        .order_by(providers.c.title, external_identities.c.subject)
    )
    return [Linked(*row) for row in await connection.execute(query)]


async def count_linked(connection: AsyncConnection, provider_id: str) -> int:
    """How many people a provider knows."""
    query = select(external_identities.c.user_id).where(external_identities.c.provider_id == provider_id).distinct()
    return len((await connection.execute(query)).all())


async def memberships(connection: AsyncConnection, provider_id: str, user_id: str) -> list[str]:
    """The ids of the groups that a provider put this person into."""
    query = select(group_members.c.group_id).where(
        group_members.c.source == provider_id, group_members.c.user_id == user_id
    )
    return [row.group_id for row in await connection.execute(query)]


async def _one(connection: AsyncConnection, *conditions: Any) -> Provider | None:
    row = (await connection.execute(select(*_columns).where(*conditions))).first()
    return Provider(*row) if row else None
