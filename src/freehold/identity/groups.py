"""Groups of people, changed by administrators. A group that gives a role is changed only by those who may give it."""

import contextlib

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity import accounts, people, roles
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused
from freehold.storage import groups, users
from freehold.storage.engine import Database


async def create(
    database: Database, workspace_id: str, name: str, role: str | None, *, actor: Principal | None
) -> groups.Group:
    """A new group; `actor` None is the operator at the machine. Raises Refused 400, 403, 409."""
    name, given = accounts.checked_name(name), roles.of_group(role)
    _may_give(actor, given)
    async with written(database) as (connection, tell):
        try:
            group = await groups.create(connection, workspace_id, name, given)
        except IntegrityError:
            raise _taken() from None
        tell(Action.GROUP_CREATE, subject=group.id, role=given)
        return group


async def change(
    database: Database, workspace_id: str, group_id: str, *, name: str, role: str | None, actor: Principal | None
) -> groups.Group:
    """Give a group this name and role. Raises Refused 400, 403, 404, 409."""
    name, given = accounts.checked_name(name), roles.of_group(role)
    async with written(database) as (connection, tell):
        group = await _group(connection, actor, workspace_id, group_id)
        _may_give(actor, given)
        try:
            await groups.change(connection, group.id, name=name, role=given)
        except IntegrityError:
            raise _taken() from None
        tell(Action.GROUP_CHANGE, subject=group.id, role=given, role_before=group.role)
        return await groups.get(connection, workspace_id, group_id) or group


async def remove(database: Database, workspace_id: str, group_id: str, *, actor: Principal | None) -> None:
    """Delete a group; its members stay. Raises Refused 403, 404."""
    async with written(database) as (connection, tell):
        group = await _group(connection, actor, workspace_id, group_id)
        await groups.remove(connection, group.id)
        tell(Action.GROUP_REMOVE, subject=group.id, role_before=group.role)


async def add(database: Database, workspace_id: str, group_id: str, user_id: str, *, actor: Principal | None) -> None:
    """Put a person into a group; nothing happens when they are in it. Raises Refused 403, 404."""
    async with written(database) as (connection, tell):
        group = await _group(connection, actor, workspace_id, group_id)
        user = await users.of_workspace(connection, workspace_id, user_id)
        if user is None or user.role == "service":
            raise people.no_person()
        with contextlib.suppress(IntegrityError):  # somebody else put them in at the same moment
            if await groups.add(connection, group.id, user.id):
                tell(Action.GROUP_JOIN, subject=user.id, other=group.id, role=group.role)


async def take_out(
    database: Database, workspace_id: str, group_id: str, user_id: str, *, actor: Principal | None
) -> None:
    """Take a person out of a group. Raises Refused 403, 404."""
    async with written(database) as (connection, tell):
        group = await _group(connection, actor, workspace_id, group_id)
        if not await groups.take_out(connection, group.id, user_id):
            raise people.no_person()
        tell(Action.GROUP_LEAVE, subject=user_id, other=group.id, role_before=group.role)


def no_group() -> Refused:
    """There is no group of that id in this workspace."""
    return Refused("There is no such group.", status=404, code="group_not_found")


async def _group(
    connection: AsyncConnection, actor: Principal | None, workspace_id: str, group_id: str
) -> groups.Group:
    group = await groups.get(connection, workspace_id, group_id)
    if group is None:
        raise no_group()
    _may_give(actor, group.role)
    return group


def _may_give(actor: Principal | None, role: str | None) -> None:
    if actor is not None:
        roles.demand(actor.role, role or "member")


def _taken() -> Refused:
    return Refused("There is a group of this name already.", status=409, code="name_taken", param="name")
