"""Workspaces: the tenants."""

import time

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.changes import announce
from freehold.storage.tables import workspaces


class Workspace(msgspec.Struct, frozen=True):
    """A tenant. `domain` is None for the first one, which answers under every name that is nobody else's."""

    id: str
    name: str
    domain: str | None = None


_columns = (workspaces.c.id, workspaces.c.name, workspaces.c.domain)


async def create(connection: AsyncConnection, name: str, domain: str | None = None) -> Workspace:
    """A new workspace, announced. Raises IntegrityError when the domain is another's."""
    workspace = Workspace(new_id("ws"), name, domain)
    await connection.execute(
        insert(workspaces).values(id=workspace.id, name=name, domain=domain, created_at=time.time())
    )
    await announce(connection, "workspace", workspace.id)
    return workspace


async def first(connection: AsyncConnection) -> Workspace | None:
    """The workspace that was made first."""
    row = (await connection.execute(select(*_columns).order_by(workspaces.c.created_at))).first()
    return Workspace(*row) if row else None


async def get(connection: AsyncConnection, workspace_id: str) -> Workspace | None:
    """The workspace of that id."""
    row = (await connection.execute(select(*_columns).where(workspaces.c.id == workspace_id))).first()
    return Workspace(*row) if row else None


async def everything(connection: AsyncConnection) -> list[Workspace]:
    """All workspaces, the oldest first."""
    return [Workspace(*row) for row in await connection.execute(select(*_columns).order_by(workspaces.c.created_at))]


async def named(connection: AsyncConnection, name: str) -> Workspace | None:
    """The workspace of that name (or id, or domain)."""
    query = select(*_columns).where(
        (workspaces.c.name == name) | (workspaces.c.id == name) | (workspaces.c.domain == name.lower())
    )
    row = (await connection.execute(query.order_by(workspaces.c.created_at))).first()
    return Workspace(*row) if row else None


async def set_domain(connection: AsyncConnection, workspace_id: str, domain: str | None) -> None:
    """Give a workspace another domain, announced. Raises IntegrityError when the domain is another's."""
    await connection.execute(update(workspaces).where(workspaces.c.id == workspace_id).values(domain=domain))
    await announce(connection, "workspace", workspace_id)


async def remove(connection: AsyncConnection, workspace_id: str) -> None:
    """Remove a workspace with everything in it, announced."""
    await connection.execute(delete(workspaces).where(workspaces.c.id == workspace_id))
    await announce(connection, "workspace", workspace_id)
