"""Changes of other people's accounts, with the rules that hold whoever asks: the console, the machine, a provider.

Nobody acts on somebody above them or gives a role above their own, and the last owner stays one. `actor` is who asks;
None is the operator at the machine or a provisioning client, for whom only the last owner is out of reach.
"""

import time
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action, Reason
from freehold.audit.trail import written
from freehold.identity import accounts, roles
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused
from freehold.storage import credentials, factors, groups, users
from freehold.storage.engine import Database


async def change(
    database: Database,
    workspace_id: str,
    user_id: str,
    *,
    actor: Principal | None,
    name: str | None = None,
    email: str | None = None,
    role: str | None = None,
    disabled: bool | None = None,
) -> users.User:
    """Change what is given. Raises Refused 403 (above the actor), 404, 409 (the last owner, a taken address)."""
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = accounts.checked_name(name)
    if email is not None:
        values["email"] = accounts.checked_email(email)
    async with written(database) as (connection, tell):
        user = await _person(connection, actor, workspace_id, user_id)
        if role is not None and role != user.role:
            values["role"] = roles.personal(role)
            if actor is not None:
                roles.demand(actor.role, role)
        if disabled is not None and disabled != (user.disabled_at is not None):
            if disabled and actor is not None and actor.user_id == user_id:
                raise Refused("Nobody can disable their own account.", status=409, code="own_account")
            values["disabled_at"] = time.time() if disabled else None
        if "role" in values or disabled:
            await keep_an_owner(connection, user)
        if disabled:
            await credentials.revoke_sessions(connection, user_id)
        if values:
            try:
                await users.change(connection, user_id, **values)
            except IntegrityError:
                raise accounts.email_taken() from None
        if "role" in values:
            tell(Action.PERSON_ROLE, subject=user_id, role=values["role"], role_before=user.role)
        if "disabled_at" in values:
            tell(Action.PERSON_DISABLE if disabled else Action.PERSON_ENABLE, subject=user_id)
        if any(getattr(user, given) != values.get(given, getattr(user, given)) for given in ("name", "email")):
            tell(Action.PERSON_CHANGE, subject=user_id)
        changed = await users.get(connection, user_id)
    return changed or user


async def remove(database: Database, workspace_id: str, user_id: str, *, actor: Principal | None) -> None:
    """Delete an account with all that is its. Raises Refused 403, 404, 409."""
    async with written(database) as (connection, tell):
        user = await _person(connection, actor, workspace_id, user_id)
        await keep_an_owner(connection, user)
        await users.remove(connection, user_id)
        tell(Action.PERSON_REMOVE, subject=user_id, role=user.role, email=user.email)


async def end_sessions(database: Database, workspace_id: str, user_id: str, *, actor: Principal | None) -> int:
    """Sign somebody out everywhere; how many sessions there were. Raises Refused 403, 404."""
    async with written(database) as (connection, tell):
        user = await _person(connection, actor, workspace_id, user_id)
        ended = await credentials.revoke_sessions(connection, user.id)
        tell(Action.SESSION_END, subject=user.id, reason=Reason.REVOKED, count=ended)
        return ended


async def reset_factors(database: Database, workspace_id: str, user_id: str, *, actor: Principal | None) -> None:
    """Forget somebody's authenticator app, recovery codes and passkeys, and sign them out. Raises Refused 403, 404."""
    async with written(database) as (connection, tell):
        user = await _person(connection, actor, workspace_id, user_id)
        await factors.remove_everything(connection, user.id)
        ended = await credentials.revoke_sessions(connection, user.id)
        tell(Action.FACTOR_REMOVE, subject=user.id, count=ended)


async def keep_an_owner(connection: AsyncConnection, user: users.User) -> None:
    """Raise Refused 409 when this is the last owner who can act."""
    if user.role != "owner" or user.disabled_at is not None:
        return
    if not await users.other_owners(connection, user.workspace_id, user.id):
        raise Refused("The last owner stays one. Make somebody else an owner first.", status=409, code="last_owner")


async def effective_role(connection: AsyncConnection, user: users.User) -> str:
    """What a user is with the roles of their groups."""
    return roles.effective(user.role, await groups.roles(connection, user.id))


def no_person() -> Refused:
    """There is nobody of that id in this workspace."""
    return Refused("There is no such person.", status=404, code="person_not_found")


async def _person(connection: AsyncConnection, actor: Principal | None, workspace_id: str, user_id: str) -> users.User:
    user = await users.of_workspace(connection, workspace_id, user_id)
    if user is None or user.role == "service":
        raise no_person()
    if actor is not None:
        roles.demand(actor.role, await effective_role(connection, user))
    return user
