"""Workspaces: the tenants."""

import time

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.tables import workspaces


class Workspace(msgspec.Struct, frozen=True):
    """A tenant."""

    id: str
    name: str


async def create(connection: AsyncConnection, name: str) -> Workspace:
    """A new workspace."""
    workspace = Workspace(new_id("ws"), name)
    await connection.execute(insert(workspaces).values(id=workspace.id, name=name, created_at=time.time()))
    return workspace


async def first(connection: AsyncConnection) -> Workspace | None:
    """The workspace that was made first: the only one until workspaces have domains."""
    row = (
        await connection.execute(select(workspaces.c.id, workspaces.c.name).order_by(workspaces.c.created_at))
    ).first()
    return Workspace(*row) if row else None


async def get(connection: AsyncConnection, workspace_id: str) -> Workspace | None:
    """The workspace of that id."""
    row = (
        await connection.execute(select(workspaces.c.id, workspaces.c.name).where(workspaces.c.id == workspace_id))
    ).first()
    return Workspace(*row) if row else None
