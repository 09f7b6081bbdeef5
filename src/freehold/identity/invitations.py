"""Invitations: a one-time link for one address with a role. Made by administrators, in the console or at the machine.

Nothing is sent: whoever invites gets the link and hands it over. Its secret is the fragment of the address, which no
server and no log sees.
"""

import time

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity import accounts, roles
from freehold.identity.directory import secret_digest
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_secret, secret_kind
from freehold.storage import claims, users
from freehold.storage.engine import Database

LINK = "/join#token="
"""Between the origin and the secret of an invitation's address."""


async def invite(
    database: Database,
    key: bytes,
    workspace_id: str,
    *,
    email: str,
    role: str,
    actor: Principal | None,
    hours: float,
) -> tuple[claims.Claim, str]:
    """An invitation and its secret. `actor`: None for the operator at the machine. Raises Refused."""
    email, personal = accounts.checked_email(email), roles.personal(role)
    if actor is not None:
        roles.demand(actor.role, personal)
    secret = new_secret("fhc")
    async with written(database) as (connection, tell):
        if await users.by_email(connection, workspace_id, email) is not None:
            raise accounts.email_taken()
        claim = await claims.invite(
            connection,
            workspace_id,
            secret_digest(key, secret),
            email=email,
            role=personal,
            invited_by=actor.user_id if actor is not None else None,
            expires_at=time.time() + hours * 3600,
        )
        tell(Action.PERSON_INVITE, subject=claim.id, role=personal, email=email)
    return claim, secret


async def look(database: Database, key: bytes, workspace_id: str, secret: str) -> claims.Claim:
    """The invitation of this secret, unused still. Raises Refused 403, the same for every reason."""
    digest = secret_digest(key, secret)
    async with database.read() as connection:
        claim = await claims.find(connection, workspace_id, digest)
    if secret_kind(secret) != "fhc" or claim is None or claim.email is None:
        raise accounts.claim_invalid()
    return claim


async def listed(database: Database, workspace_id: str) -> list[claims.Claim]:
    """The invitations that wait, newest first."""
    async with database.read() as connection:
        return await claims.invitations(connection, workspace_id)


async def revoke(database: Database, workspace_id: str, claim_id: str) -> None:
    """End an invitation. Raises Refused 404 when none waits."""
    async with written(database) as (connection, tell):
        if not await claims.revoke(connection, workspace_id, claim_id):
            raise Refused("There is no such invitation, or it was used.", status=404, code="invitation_not_found")
        tell(Action.INVITATION_REVOKE, subject=claim_id)
