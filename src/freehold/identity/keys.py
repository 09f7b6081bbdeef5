"""API keys: make, list, revoke. Called by the console and the command line; a secret is shown once, when it is made."""

import json
import time
from collections.abc import Sequence
from ipaddress import ip_network
from typing import get_args

from freehold.identity.directory import secret_digest
from freehold.identity.principal import Scope
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_id, new_secret
from freehold.storage import credentials
from freehold.storage.engine import Database

HINT_CHARACTERS = 9


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
    """A new API key: what lists show of it, and its secret.

    Empty `scopes`, `assistants` and `sources` (networks such as 192.0.2.0/24) mean: all, from anywhere. Raises Refused
    for a name that is empty or too long and for scopes and networks that are none.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise Refused("A key needs a name of 1 to 100 characters.", param="name", code="name_invalid")
    if wrong := [scope for scope in scopes if scope not in get_args(Scope)]:
        raise Refused(
            f"{', '.join(wrong)} is no scope. There are: {', '.join(get_args(Scope))}.",
            param="scopes",
            code="scope_invalid",
        )
    try:
        networks = [str(ip_network(source)) for source in sources]
    except ValueError:
        raise Refused(
            "A source is an address or a network such as 192.0.2.0/24.", param="sources", code="source_invalid"
        ) from None
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
        scopes=" ".join(sorted(set(scopes))),
        assistants=json.dumps(sorted(set(assistants))) if assistants else "",
        sources=json.dumps(networks) if networks else "",
    )
    async with database.write() as connection:
        await credentials.create(connection, credential, secret_digest(key, secret))
    return credential, secret


async def list_keys(
    database: Database, workspace_id: str, *, user_id: str | None = None
) -> list[credentials.Credential]:
    """The keys of a workspace, or of one person in it, newest first."""
    async with database.read() as connection:
        return await credentials.listed(connection, workspace_id, "key", user_id=user_id)


async def revoke_key(database: Database, workspace_id: str, key_id: str, *, user_id: str | None = None) -> None:
    """Revoke a key, everywhere within a second. Raises Refused 404 when there is none to revoke."""
    async with database.write() as connection:
        if not await credentials.revoke(connection, workspace_id, key_id, user_id=user_id):
            raise Refused("There is no such key, or it is revoked already.", status=404, code="key_not_found")
