"""API keys: make, list, revoke. Called by the console and the command line; a secret is shown once, when it is made.

A key can be held to scopes, to assistants and to the networks it is used from; `Directory` turns these into what the
gateway enforces.
"""

import ipaddress
import json
import time
from collections.abc import Sequence
from typing import get_args

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity.directory import secret_digest
from freehold.identity.principal import Scope
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_id, new_secret
from freehold.storage import credentials, engines
from freehold.storage.engine import Database

HINT_CHARACTERS = 9
MOST_RULES = 32
SCOPES: tuple[str, ...] = get_args(Scope)


async def create_key(
    database: Database,
    key: bytes,
    workspace_id: str,
    user_id: str | None,
    name: str,
    *,
    expires_at: float | None = None,
    scopes: Sequence[str] = (),
    assistants: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> tuple[credentials.Credential, str]:
    """A new API key: what lists show of it, and its secret. Empty rules mean: for everything, from anywhere.

    `expires_at` is in seconds since 1970, `sources` are networks as CIDR. Raises Refused with what to correct.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise Refused("A key needs a name of 1 to 100 characters.", param="name", code="name_invalid")
    if expires_at is not None and expires_at <= time.time():
        raise Refused("A key's end is in the future.", param="expires_at", code="expiry_invalid")
    networks = _networks(sources)
    for rules in (scopes, assistants):
        if len(rules) > MOST_RULES:
            raise _too_many()
    if not set(scopes) <= set(SCOPES):
        raise Refused(f"The scopes are {', '.join(SCOPES)}.", param="scopes", code="scope_invalid")
    secret = new_secret("fh")
    credential = credentials.Credential(
        id=new_id("key"),
        workspace_id=workspace_id,
        user_id=user_id,
        kind="key",
        name=name,
        hint=secret[:HINT_CHARACTERS],
        created_at=time.time(),
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
        scopes=" ".join(scope for scope in SCOPES if scope in scopes),
        assistants=json.dumps(sorted(set(assistants))) if assistants else "",
        sources=json.dumps(networks) if networks else "",
    )
    async with written(database) as (connection, tell):
        if assistants:
            known = {engine.name for engine in await engines.listed(connection, workspace_id)}
            if not set(assistants) <= known:
                raise Refused("There is no assistant of that name.", param="assistants", code="assistant_invalid")
        await credentials.create(connection, credential, secret_digest(key, secret))
        tell(Action.KEY_CREATE, subject=credential.id, other=user_id)
    return credential, secret


async def list_keys(
    database: Database, workspace_id: str, *, user_id: str | None = None
) -> list[credentials.Credential]:
    """The keys of a workspace, or of one person in it, newest first."""
    async with database.read() as connection:
        return await credentials.listed(connection, workspace_id, "key", user_id=user_id)


async def revoke_key(database: Database, workspace_id: str, key_id: str, *, user_id: str | None = None) -> None:
    """Revoke a key, everywhere within a second. Raises Refused 404 when there is none to revoke."""
    async with written(database) as (connection, tell):
        if not await credentials.revoke(connection, workspace_id, key_id, user_id=user_id, kind="key"):
            raise Refused("There is no such key, or it is revoked already.", status=404, code="key_not_found")
        tell(Action.KEY_REVOKE, subject=key_id)


def _networks(sources: Sequence[str]) -> list[str]:
    if len(sources) > MOST_RULES:
        raise _too_many()
    try:
        return sorted({str(ipaddress.ip_network(source.strip(), strict=False)) for source in sources})
    except ValueError:
        raise Refused(
            "A source is a network such as 192.0.2.0/24 or 2001:db8::/32.", param="sources", code="source_invalid"
        ) from None


def _too_many() -> Refused:
    return Refused(f"A key takes at most {MOST_RULES} of each rule.", code="too_many_rules")
