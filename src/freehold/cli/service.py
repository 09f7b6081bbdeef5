"""`freehold service …`: accounts of programs. Their keys come from `freehold key create --service`."""

from typing import Annotated

import typer

from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table
from freehold.cli.work import run
from freehold.identity import services
from freehold.settings import Settings
from freehold.storage import users, workspaces
from freehold.storage.engine import Database

app = typer.Typer(help="Service accounts: programs with keys of their own.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the program is called.")],
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a service account."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> users.User:
        return await services.create(database, workspace.id, name)

    made = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"id": made.id, "name": made.name})
    else:
        people.print(f"{made.name} is there. Give it a key: freehold key create NAME --service {made.id}")


@app.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """All service accounts."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> list[users.User]:
        return await services.listed(database, workspace.id)

    found = run(work, workspace_name, state, as_json)
    if as_json:
        show_json([{"id": one.id, "name": one.name, "created_at": one.created_at} for one in found])
    else:
        show_table("Service accounts", ["id", "name"], [[one.id, one.name] for one in found])


@app.command()
def remove(
    service_id: Annotated[str, typer.Argument(metavar="ID", help="As 'freehold service list' shows it.")],
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Delete a service account; its keys are refused within a second."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        await services.remove(database, workspace.id, service_id)

    run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"removed": service_id})
    else:
        people.print("Removed.")
