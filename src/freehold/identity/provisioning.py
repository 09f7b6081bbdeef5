"""What a provisioning client may do to people and groups, each in one transaction. Called by the console's SCIM routes.

The client makes accounts of members without a password, disables and restores them, and fills groups; it gives no
role. An account that an administrator disabled stays disabled, whom an administrator put into a group stays in it, and
the last owner stays. A group has a role only if an administrator gave it one: pushing a group of the same name links
to it, and from then on the client decides who gets that role.
"""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity import accounts, people
from freehold.identity.scim.groups import Change
from freehold.identity.scim.patch import invalid_value
from freehold.identity.scim.people import Draft, draft_of, said
from freehold.protocol.errors import Refused
from freehold.storage import credentials, groups, provisioned, users
from freehold.storage.engine import Database
from freehold.storage.groups import Group
from freehold.storage.provisioned import Person

Listed = tuple[list[Person], dict[str, list[tuple[str, str]]], int]
"""People, the pushed groups of each (id and name), and how many people there are in all."""


# --- people


async def find_people(
    database: Database, workspace_id: str, where: ColumnElement[bool] | None, *, offset: int, limit: int
) -> Listed:
    """A page of the workspace's people."""
    async with database.read() as connection:
        found, total = await provisioned.people(connection, workspace_id, where, offset=offset, limit=limit)
        return found, await provisioned.groups_of(connection, [person.user.id for person in found]), total


async def get_person(database: Database, workspace_id: str, user_id: str) -> tuple[Person, list[tuple[str, str]]]:
    """One person with their pushed groups. Raises Refused 404."""
    async with database.read() as connection:
        return await _with_groups(connection, await _person(connection, workspace_id, user_id))


async def create_person(database: Database, workspace_id: str, draft: Draft) -> Person:
    """A new account: a member without a password. Raises Refused 400, 409."""
    draft.check()
    async with written(database) as (connection, tell):
        await _free(connection, workspace_id, draft, None)
        with _Unique():
            user = await users.create(
                connection,
                workspace_id,
                name=draft.called,
                email=draft.address,
                role="member",
                external_id=draft.externalid,
            )
            disabled_at = time.time() if draft.active is False else None
            if disabled_at is not None:
                await users.change(connection, user.id, disabled_at=disabled_at)
            await provisioned.keep_person(connection, user, draft.username, said(draft), disabled_at)
        tell(Action.PERSON_JOIN, subject=user.id, role=user.role, email=user.email)
        return await _person(connection, workspace_id, user.id)


async def change_person(
    database: Database, workspace_id: str, user_id: str, change: Callable[[Draft], Draft]
) -> tuple[Person, list[tuple[str, str]]]:
    """Let `change` make another draft of what is said of a person, and do it. Raises Refused 400, 404, 409."""
    async with written(database) as (connection, tell):
        person = await _person(connection, workspace_id, user_id)
        draft = change(draft_of(person))
        draft.check()
        await _free(connection, workspace_id, draft, user_id)
        values: dict[str, Any] = {"name": draft.called, "external_id": draft.externalid}
        values["email"] = draft.address.lower() if draft.address is not None else None
        standing, deactivated_at = await _standing(connection, person, draft.active)
        values = {name: value for name, value in (values | standing).items() if getattr(person.user, name) != value}
        with _Unique():
            if values:
                await users.change(connection, user_id, **values)
            await provisioned.keep_person(connection, person.user, draft.username, said(draft), deactivated_at)
        if "disabled_at" in values:
            tell(Action.PERSON_DISABLE if values["disabled_at"] is not None else Action.PERSON_ENABLE, subject=user_id)
        else:
            tell(Action.SCIM_CHANGE, subject=user_id)
        return await _with_groups(connection, await _person(connection, workspace_id, user_id))


async def remove_person(database: Database, workspace_id: str, user_id: str) -> None:
    """Delete an account with all that is its. Raises Refused 404, 409."""
    async with written(database) as (connection, tell):
        person = await _person(connection, workspace_id, user_id)
        await people.keep_an_owner(connection, person.user)
        await users.remove(connection, user_id)
        tell(Action.PERSON_REMOVE, subject=user_id, role=person.user.role, email=person.user.email)


async def _standing(
    connection: AsyncConnection, person: Person, active: bool | None
) -> tuple[dict[str, Any], float | None]:
    """What to write for `active`, and when the client disabled the account (None: it did not)."""
    user, ours = person.user, person.deactivated_at
    mine = ours if ours is not None and ours == user.disabled_at else None
    if active is False and user.disabled_at is None:
        await people.keep_an_owner(connection, user)
        await credentials.revoke_sessions(connection, user.id)
        now = time.time()
        return {"disabled_at": now}, now
    if active is True and mine is not None:
        return {"disabled_at": None}, None
    return {}, mine


async def _free(connection: AsyncConnection, workspace_id: str, draft: Draft, user_id: str | None) -> None:
    same = provisioned.called(draft.username)
    found, _ = await provisioned.people(connection, workspace_id, same, offset=0, limit=2)
    if any(person.user.id != user_id for person in found):
        raise _taken()


async def _person(connection: AsyncConnection, workspace_id: str, user_id: str) -> Person:
    found = await provisioned.person(connection, workspace_id, user_id)
    if found is None:
        raise people.no_person()
    return found


async def _with_groups(connection: AsyncConnection, person: Person) -> tuple[Person, list[tuple[str, str]]]:
    return person, (await provisioned.groups_of(connection, [person.user.id])).get(person.user.id, [])


# --- groups


async def find_groups(
    database: Database,
    workspace_id: str,
    where: ColumnElement[bool] | None,
    *,
    offset: int,
    limit: int,
    members: bool,
) -> tuple[list[Group], dict[str, list[str]], int]:
    """A page of the pushed groups, their members if asked for, and how many groups there are in all."""
    async with database.read() as connection:
        found, total = await provisioned.pushed(connection, workspace_id, where, offset=offset, limit=limit)
        inside = await provisioned.members(connection, [group.id for group in found]) if members else {}
    return found, inside, total


async def get_group(database: Database, workspace_id: str, group_id: str, *, members: bool) -> tuple[Group, list[str]]:
    """One pushed group, with its members if asked for. Raises Refused 404."""
    async with database.read() as connection:
        group = await _group(connection, workspace_id, group_id)
        inside = await provisioned.members(connection, [group_id]) if members else {}
    return group, inside.get(group_id, [])


async def create_group(database: Database, workspace_id: str, change: Change) -> tuple[Group, list[str]]:
    """Push a group: link to the one of that name if there is one, else make it. Raises Refused 400, 409."""
    if change.name is None:
        raise invalid_value()
    name = accounts.checked_name(change.name)
    async with written(database) as (connection, tell):
        there = next((group for group in await groups.listed(connection, workspace_id) if group.name == name), None)
        if there is not None and await provisioned.is_pushed(connection, there.id):
            raise _taken()
        with _Unique():
            group = there or await groups.create(connection, workspace_id, name, None)
            await provisioned.link(connection, group.id)
        filled = await _fill(connection, group, change)
        made = Action.GROUP_CREATE if there is None else Action.SCIM_CHANGE
        tell(made, subject=group.id, role=group.role, count=len(filled[1]))
        return filled


async def change_group(database: Database, workspace_id: str, group_id: str, change: Change) -> tuple[Group, list[str]]:
    """Do a change. Raises Refused 400, 404, 409."""
    async with written(database) as (connection, tell):
        filled = await _fill(connection, await _group(connection, workspace_id, group_id), change)
        tell(Action.SCIM_CHANGE, subject=group_id, role=filled[0].role, count=len(filled[1]))
        return filled


async def remove_group(database: Database, workspace_id: str, group_id: str) -> None:
    """Take the client's people out. The group goes too, unless an administrator gave it a role or members."""
    async with written(database) as (connection, tell):
        group = await _group(connection, workspace_id, group_id)
        await provisioned.unlink(connection, group_id)
        gone = group.role is None and not await provisioned.has_members_of_others(connection, group_id)
        if gone:
            await groups.remove(connection, group_id)
        tell(Action.GROUP_REMOVE if gone else Action.SCIM_CHANGE, subject=group_id, role=group.role)


async def _fill(connection: AsyncConnection, group: Group, change: Change) -> tuple[Group, list[str]]:
    values: dict[str, Any] = {"name": accounts.checked_name(change.name)} if change.name is not None else {}
    if change.identified:
        values["external_id"] = change.external_id
    values = {name: value for name, value in values.items() if getattr(group, name) != value}
    if values:
        with _Unique():
            await groups.change(connection, group.id, **values)
    come = sorted(change.come)
    if len(await provisioned.known(connection, group.workspace_id, come)) != len(come):
        raise Refused("A member is nobody of this workspace.", code="invalid_value")
    inside = (await provisioned.members(connection, [group.id])).get(group.id, [])
    leaving = set(inside) - change.come if change.emptied else change.go
    if leaving:
        await provisioned.take_out(connection, group.id, sorted(leaving))
    await provisioned.put_in(connection, group.id, come)
    inside = (await provisioned.members(connection, [group.id])).get(group.id, [])
    return await groups.get(connection, group.workspace_id, group.id) or group, inside


async def _group(connection: AsyncConnection, workspace_id: str, group_id: str) -> Group:
    found = await provisioned.group(connection, workspace_id, group_id)
    if found is None:
        raise Refused("There is no such group.", status=404, code="group_not_found")
    return found


# --- what is another's already


class _Unique:
    """A block whose broken uniqueness is answered as a conflict."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            raise _taken() from None


def _taken() -> Refused:
    return Refused(
        "Something of this workspace has this name, user name, e-mail address or external id already.",
        status=409,
        code="taken",
    )
