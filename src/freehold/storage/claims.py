"""One-time rights to make an account: the first owner's claim (no address) and invitations (for one address)."""

import time

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.tables import claims
from freehold.storage.users import Role


class Claim(msgspec.Struct, frozen=True):
    """A one-time right to make an account with `role`; with an `email`, an invitation of that address."""

    id: str
    workspace_id: str
    role: Role
    email: str | None
    invited_by: str | None
    created_at: float
    expires_at: float


_columns = tuple(claims.c[name] for name in Claim.__struct_fields__)


async def create_owner(connection: AsyncConnection, workspace_id: str, digest: bytes, expires_at: float) -> None:
    """The right to become the first owner, by its digest; earlier unused ones of the workspace end now."""
    now = time.time()
    await connection.execute(
        update(claims)
        .where(claims.c.workspace_id == workspace_id, claims.c.email.is_(None), claims.c.used_at.is_(None))
        .values(expires_at=now)
    )
    await _insert(connection, Claim(new_id("clm"), workspace_id, "owner", None, None, now, expires_at), digest)


async def invite(
    connection: AsyncConnection,
    workspace_id: str,
    digest: bytes,
    *,
    email: str,
    role: Role,
    invited_by: str | None,
    expires_at: float,
) -> Claim:
    """An invitation, by its digest; an earlier unused one of the address ends now."""
    now, address = time.time(), email.lower()
    await connection.execute(
        update(claims)
        .where(claims.c.workspace_id == workspace_id, claims.c.email == address, claims.c.used_at.is_(None))
        .values(expires_at=now)
    )
    claim = Claim(new_id("inv"), workspace_id, role, address, invited_by, now, expires_at)
    await _insert(connection, claim, digest)
    return claim


async def find(connection: AsyncConnection, workspace_id: str, digest: bytes) -> Claim | None:
    """The claim of this workspace that can still be used."""
    query = select(*_columns).where(
        claims.c.digest == digest,
        claims.c.workspace_id == workspace_id,
        claims.c.used_at.is_(None),
        claims.c.expires_at > time.time(),
    )
    row = (await connection.execute(query)).first()
    return Claim(*row) if row else None


async def use(connection: AsyncConnection, claim: Claim) -> bool:
    """Use the claim up, once. False when another did so before."""
    used = await connection.execute(
        update(claims).where(claims.c.id == claim.id, claims.c.used_at.is_(None)).values(used_at=time.time())
    )
    return used.rowcount == 1


async def invitations(connection: AsyncConnection, workspace_id: str) -> list[Claim]:
    """The invitations that wait for their person, newest first."""
    query = select(*_columns).where(
        claims.c.workspace_id == workspace_id,
        claims.c.email.is_not(None),
        claims.c.used_at.is_(None),
        claims.c.expires_at > time.time(),
    )
    return [Claim(*row) for row in await connection.execute(query.order_by(claims.c.created_at.desc()))]


async def revoke(connection: AsyncConnection, workspace_id: str, claim_id: str) -> bool:
    """End an invitation. False when there is none that waits."""
    now = time.time()
    done = await connection.execute(
        update(claims)
        .where(
            claims.c.id == claim_id,
            claims.c.workspace_id == workspace_id,
            claims.c.email.is_not(None),
            claims.c.used_at.is_(None),
            claims.c.expires_at > now,
        )
        .values(expires_at=now)
    )
    return done.rowcount == 1


async def _insert(connection: AsyncConnection, claim: Claim, digest: bytes) -> None:
    await connection.execute(insert(claims).values(**msgspec.structs.asdict(claim), digest=digest))
