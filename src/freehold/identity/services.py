"""Service accounts: programs with a name and keys of their own, and no way to sign in."""

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity import accounts
from freehold.protocol.errors import Refused
from freehold.storage import users
from freehold.storage.engine import Database


async def create(database: Database, workspace_id: str, name: str) -> users.User:
    """A new service account. Raises Refused for a bad name."""
    name = accounts.checked_name(name)
    async with written(database) as (connection, tell):
        made = await users.create(connection, workspace_id, name=name, email=None, role="service")
        tell(Action.SERVICE_CREATE, subject=made.id)
        return made


async def listed(database: Database, workspace_id: str) -> list[users.User]:
    """A workspace's service accounts, by name."""
    async with database.read() as connection:
        return await users.listed(connection, workspace_id, services=True)


async def get(database: Database, workspace_id: str, service_id: str) -> users.User:
    """The service account of that id. Raises Refused 404."""
    async with database.read() as connection:
        found = await users.of_workspace(connection, workspace_id, service_id)
    if found is None or found.role != "service":
        raise Refused("There is no such service account.", status=404, code="service_not_found")
    return found


async def remove(database: Database, workspace_id: str, service_id: str) -> None:
    """Delete a service account; its keys are refused within a second. Raises Refused 404."""
    found = await get(database, workspace_id, service_id)
    async with written(database) as (connection, tell):
        await users.remove(connection, found.id)
        tell(Action.SERVICE_REMOVE, subject=found.id)
