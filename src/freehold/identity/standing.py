"""Whether a principal that was let in would be let in now. Asked by the gateway for exchanges that are under way."""

from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.identity import roles
from freehold.identity.principal import Principal
from freehold.storage import credentials, users


async def still_let_in(connection: AsyncConnection, principal: Principal) -> bool:
    """False when its credential has ended, its user is disabled or gone, or its role may chat no longer."""
    if principal.kind != "token" and not await credentials.is_live(connection, principal.credential_id):
        return False
    if principal.user_id is None:
        return True
    user = await users.get(connection, principal.user_id)
    if user is None or user.disabled_at is not None:
        return False
    given = await credentials.groups_of(connection, user.id)
    return roles.permits(roles.effective(user.role, given.values()), "chat")
