"""`freehold group …`: groups of people, and the role that a group gives its members."""

from typing import Annotated, Any

import typer

from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table
from freehold.cli.user import Person, named
from freehold.cli.work import run
from freehold.identity import groups
from freehold.protocol.errors import Refused
from freehold.settings import Settings
from freehold.storage import groups as stored
from freehold.storage import users, workspaces
from freehold.storage.engine import Database

app = typer.Typer(help="Groups of people.", no_args_is_help=True)

Group = Annotated[str, typer.Argument(metavar="GROUP", help="A group's name or id.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    role: Annotated[
        str | None, typer.Option(help="What its members may do at least: member, reviewer or admin.")
    ] = None,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a group."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> stored.Group:
        return await groups.create(database, workspace.id, name, role, actor=None)

    made = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"id": made.id, "name": made.name, "role": made.role})
    else:
        people.print(f"The group {made.name} is there. Put people into it: freehold group add {made.id} PERSON")


@app.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """All groups with who is in them."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> list[dict[str, Any]]:
        async with database.read() as connection:
            found = await stored.listed(connection, workspace.id)
            members = await stored.memberships(connection, workspace.id)
            names = {user.id: user.email or user.name for user in await users.listed(connection, workspace.id)}
        return [
            {
                "id": group.id,
                "name": group.name,
                "role": group.role,
                "members": [names.get(user_id, user_id) for user_id in members.get(group.id, [])],
            }
            for group in found
        ]

    found = run(work, workspace_name, state, as_json)
    if as_json:
        show_json(found)
        return
    rows = [[g["id"], g["name"], g["role"] or "–", ", ".join(g["members"]) or "nobody"] for g in found]
    show_table("Groups", ["id", "name", "role", "members"], rows)


@app.command()
def add(
    group: Group, person: Person, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False
) -> None:
    """Put somebody into a group. In force within a second."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        found, user = await _group(database, workspace.id, group), await named(database, workspace.id, person)
        await groups.add(database, workspace.id, found.id, user.id, actor=None)

    run(work, workspace_name, state, as_json)
    _say(as_json, {"group": group, "added": person}, f"{person} is in {group}.")


@app.command()
def remove(
    group: Group, person: Person, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False
) -> None:
    """Take somebody out of a group. In force within a second."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        found, user = await _group(database, workspace.id, group), await named(database, workspace.id, person)
        await groups.take_out(database, workspace.id, found.id, user.id, actor=None)

    run(work, workspace_name, state, as_json)
    _say(as_json, {"group": group, "removed": person}, f"{person} is not in {group} any more.")


@app.command()
def delete(group: Group, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Delete a group; its members stay."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        found = await _group(database, workspace.id, group)
        await groups.remove(database, workspace.id, found.id, actor=None)

    run(work, workspace_name, state, as_json)
    _say(as_json, {"deleted": group}, f"The group {group} is deleted.")


async def _group(database: Database, workspace_id: str, name: str) -> stored.Group:
    async with database.read() as connection:
        found = await stored.named(connection, workspace_id, name)
    if found is None:
        raise Refused("There is no such group. 'freehold group list' shows them.", status=404)
    return found


def _say(as_json: bool, value: dict[str, str], said: str) -> None:
    if as_json:
        show_json(value)
    else:
        people.print(said)
