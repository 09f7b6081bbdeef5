"""Tokens of provisioning clients: made, listed, revoked at the machine, checked by the console for every request.

Kept like every credential: by the digest of 256 random bits, for one workspace, with an end. A token is looked up anew
each time, since provisioning is not hot, so that a revoked one is refused by the next request.
"""

import contextlib
import hmac
import time

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity.directory import secret_digest
from freehold.identity.keys import HINT_CHARACTERS
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.ids import new_id, new_secret, secret_kind
from freehold.storage import credentials
from freehold.storage.engine import Database

BASE = "/scim/v2"
"""Between the origin and an endpoint's name."""

DEFAULT_DAYS, MAX_DAYS = 365, 3650
_TOUCH_SECONDS = 60.0


async def create(
    database: Database, key: bytes, workspace_id: str, name: str, *, days: int = DEFAULT_DAYS
) -> tuple[credentials.Credential, str]:
    """A new token: what lists show of it, and its secret. Raises Refused with what to correct."""
    name = name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise Refused("A token needs a name of 1 to 100 characters.", param="name", code="name_invalid")
    if not 1 <= days <= MAX_DAYS:
        raise Refused(f"A token lasts 1 to {MAX_DAYS} days.", param="days", code="expiry_invalid")
    secret, now = new_secret("fhp"), time.time()
    token = credentials.Credential(
        id=new_id("pvt"),
        workspace_id=workspace_id,
        user_id=None,
        kind="scim",
        name=name,
        hint=secret[:HINT_CHARACTERS],
        created_at=now,
        expires_at=now + days * 86400,
        revoked_at=None,
        last_used_at=None,
    )
    async with written(database) as (connection, tell):
        await credentials.create(connection, token, secret_digest(key, secret))
        tell(Action.SCIM_CLIENT_CREATE, subject=token.id)
    return token, secret


async def listed(database: Database, workspace_id: str) -> list[credentials.Credential]:
    """A workspace's tokens, newest first."""
    async with database.read() as connection:
        return await credentials.listed(connection, workspace_id, "scim")


async def revoke(database: Database, workspace_id: str, token_id: str) -> None:
    """Refuse a token from the next request on. Raises Refused 404 when there is none to revoke."""
    async with written(database) as (connection, tell):
        if not await credentials.revoke(connection, workspace_id, token_id, kind="scim"):
            raise Refused("There is no such token, or it is revoked already.", status=404, code="token_not_found")
        tell(Action.SCIM_CLIENT_REVOKE, subject=token_id)


async def demand(database: Database, key: bytes, workspace_id: str, secret: str) -> str:
    """The id of this live token of the workspace. Raises Refused 401, the same for every reason, for any other."""
    if secret_kind(secret) != "fhp":
        raise _unknown()
    digest = secret_digest(key, secret)
    async with database.read() as connection:
        found = await credentials.provisioning(connection, workspace_id, digest)
    if found is None or not hmac.compare_digest(found[1], digest):
        raise _unknown()
    token, now = found[0], time.time()
    if token.last_used_at is None or now - token.last_used_at > _TOUCH_SECONDS:
        with contextlib.suppress(Unavailable):
            async with database.write() as connection:
                await credentials.touch(connection, {token.id: now})
    return token.id


def _unknown() -> Refused:
    return Refused(
        "The provisioning token is missing or not valid. Make one with 'freehold scim token create'.",
        status=401,
        code="invalid_token",
    )
