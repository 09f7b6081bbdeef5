"""`freehold user …`: the people of a workspace, from the machine. Works while Freehold runs or not."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table
from freehold.cli.work import origin, run
from freehold.identity import accounts, invitations, roles
from freehold.identity import people as persons
from freehold.protocol.errors import Refused
from freehold.settings import Settings
from freehold.storage import credentials, groups, users, workspaces
from freehold.storage.engine import Database

app = typer.Typer(help="People: invite, list, change, remove.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(metavar="PERSON", help="An e-mail address, or an id as 'user list' shows it.")]
OfPerson = Annotated[str, typer.Option("--role", help="owner, admin, reviewer, member or auditor.")]


@app.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Everybody with an account, and the invitations that wait."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> tuple[list[Any], list[Any]]:
        async with database.read() as connection:
            found = await users.listed(connection, workspace.id)
            shown = [
                {
                    "id": user.id,
                    "name": user.name,
                    "email": user.email,
                    "role": user.role,
                    "effective_role": roles.effective(user.role, await groups.roles(connection, user.id)),
                    "disabled": user.disabled_at is not None,
                }
                for user in found
            ]
        waiting = await invitations.listed(database, workspace.id)
        return shown, [{"id": c.id, "email": c.email, "role": c.role, "expires_at": c.expires_at} for c in waiting]

    shown, waiting = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"people": shown, "invitations": waiting})
        return
    rows = [
        [p["id"], p["name"], p["email"] or "–", p["effective_role"], "disabled" if p["disabled"] else "active"]
        for p in shown
    ]
    show_table("People", ["id", "name", "e-mail", "role", "state"], rows)
    if waiting:
        rows = [[c["id"], c["email"], c["role"], _day(c["expires_at"])] for c in waiting]
        show_table("Invitations", ["id", "e-mail", "role", "until"], rows)


@app.command()
def invite(
    email: Annotated[str, typer.Argument(help="The address that the account will have. Nothing is sent to it.")],
    role: OfPerson = "member",
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a one-time link by which somebody makes their account."""

    async def work(settings: Settings, database: Database, workspace: workspaces.Workspace) -> dict[str, Any]:
        key = settings.layout.secret("credentials")
        claim, secret = await invitations.invite(
            database, key, workspace.id, email=email, role=role, actor=None, hours=settings.console.claim_hours
        )
        url = f"{origin(settings, workspace.domain)}{invitations.LINK}{secret}"
        return {"id": claim.id, "email": claim.email, "url": url}

    made = run(work, workspace_name, state, as_json)
    if as_json:
        show_json(made)
    else:
        people.print(f"[bold]{made['url']}[/]\n\nGive it to {made['email']} only. It works once.", soft_wrap=True)


@app.command()
def role(
    person: Person,
    new: Annotated[str, typer.Argument(metavar="ROLE", help="owner, admin, reviewer, member or auditor.")],
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Give somebody another role. In force within a second."""
    _changed(person, workspace_name, state, as_json, f"{person} is {new} now.", role=new)


@app.command()
def disable(person: Person, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Keep an account, and let nobody use it: sessions end, keys are refused."""
    _changed(person, workspace_name, state, as_json, f"{person} is disabled.", disabled=True)


@app.command()
def enable(person: Person, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Let a disabled account be used again."""
    _changed(person, workspace_name, state, as_json, f"{person} is enabled.", disabled=False)


@app.command()
def remove(
    person: Person,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Delete an account with its conversations and keys. This cannot be undone."""
    if not yes and not as_json:
        typer.confirm(f"Delete {person} with all conversations and keys?", abort=True)

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> str:
        user = await named(database, workspace.id, person)
        await persons.remove(database, workspace.id, user.id, actor=None)
        return user.id

    removed = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"removed": removed})
    else:
        people.print(f"{person} is removed.")


@app.command()
def password(
    person: Person,
    secret: Annotated[
        str, typer.Option("--password", prompt=True, hide_input=True, confirmation_prompt=True, help="The new one.")
    ],
    reset_factors: Annotated[
        bool, typer.Option("--reset-factors", help="Forget the authenticator app and the passkeys too.")
    ] = False,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Set somebody's password and end their sessions: the way back for who is locked out."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> str:
        user = await named(database, workspace.id, person)
        await accounts.set_password(database, user, secret)
        if reset_factors:
            await persons.reset_factors(database, workspace.id, user.id, actor=None)
        return user.id

    changed = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"changed": changed})
    else:
        people.print(f"{person} has a new password.")


@app.command()
def sessions(
    person: Person,
    end: Annotated[bool, typer.Option("--end", help="End them all.")] = False,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Where somebody is signed in."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> list[credentials.Credential]:
        user = await named(database, workspace.id, person)
        async with database.read() as connection:
            found = await credentials.listed(connection, workspace.id, "session", user_id=user.id, live=True)
        if end:
            await persons.end_sessions(database, workspace.id, user.id, actor=None)
        return found

    found = run(work, workspace_name, state, as_json)
    if as_json:
        columns = ("id", "hint", "methods", "created_at", "last_used_at", "expires_at")
        show_json({"ended": end, "sessions": [{name: getattr(s, name) for name in columns} for s in found]})
        return
    rows = [[s.id, s.hint or "–", s.methods, _day(s.created_at), _day(s.last_used_at)] for s in found]
    show_table("Ended sessions" if end else "Sessions", ["id", "from", "proved by", "opened", "last used"], rows)


def _changed(person: str, workspace_name: str | None, state: State, as_json: bool, said: str, **values: Any) -> None:
    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> users.User:
        user = await named(database, workspace.id, person)
        return await persons.change(database, workspace.id, user.id, actor=None, **values)

    user = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"id": user.id, "role": user.role, "disabled": user.disabled_at is not None})
    else:
        people.print(said)


async def named(database: Database, workspace_id: str, name: str) -> users.User:
    """The person of that address or id. Raises Refused 404."""
    async with database.read() as connection:
        found = await users.by_email(connection, workspace_id, name)
        found = found or await users.of_workspace(connection, workspace_id, name)
    if found is None or found.role == "service":
        raise Refused("There is no such person. 'freehold user list' shows who there is.", status=404)
    return found


def _day(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") if at else "–"
