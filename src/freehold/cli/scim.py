"""`freehold scim token …`: tokens by which an identity provider provisions a workspace's people and groups."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table
from freehold.cli.work import origin, run
from freehold.identity.scim import tokens
from freehold.settings import Settings
from freehold.storage import workspaces
from freehold.storage.credentials import Credential
from freehold.storage.engine import Database

app = typer.Typer(help="SCIM: people and groups that an identity provider provisions.", no_args_is_help=True)
token = typer.Typer(help="Tokens of provisioning clients.", no_args_is_help=True)
app.add_typer(token, name="token")


@token.command()
def create(
    name: Annotated[str, typer.Argument(help="Which provider it is for, to recognise it later.")],
    days: Annotated[int, typer.Option(help="Days until it expires.", min=1, max=tokens.MAX_DAYS)] = tokens.DEFAULT_DAYS,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown once, here, with the address that goes with it."""

    async def work(settings: Settings, database: Database, workspace: workspaces.Workspace) -> dict[str, Any]:
        key = settings.layout.secret("credentials")
        made, secret = await tokens.create(database, key, workspace.id, name, days=days)
        url = f"{origin(settings, workspace.domain)}{tokens.BASE}"
        return {"id": made.id, "name": made.name, "url": url, "token": secret, "expires_at": made.expires_at}

    made = run(work, workspace_name, state, as_json)
    if as_json:
        show_json(made)
    else:
        people.print(
            f"Address  [bold]{made['url']}[/]\nToken    [bold]{made['token']}[/]\n\n"
            f"Give both to the identity provider. The token is good until {_day(made['expires_at'])} and is not shown "
            f"again. Revoke it: freehold scim token revoke {made['id']}",
            soft_wrap=True,
        )


@token.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """All tokens of the workspace; secrets are never shown."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> list[Credential]:
        return await tokens.listed(database, workspace.id)

    found = run(work, workspace_name, state, as_json)
    if as_json:
        show_json(
            [
                {
                    "id": one.id,
                    "name": one.name,
                    "hint": one.hint,
                    "created_at": one.created_at,
                    "expires_at": one.expires_at,
                    "revoked_at": one.revoked_at,
                    "last_used_at": one.last_used_at,
                }
                for one in found
            ]
        )
        return
    show_table(
        "Provisioning tokens",
        ["id", "name", "begins", "made", "last used", "until", "state"],
        [
            [
                one.id,
                one.name,
                f"{one.hint}…",
                _day(one.created_at),
                _day(one.last_used_at),
                _day(one.expires_at),
                _state(one),
            ]
            for one in found
        ],
    )


@token.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As 'freehold scim token list' shows it.")],
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token: the next request with it is refused."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        await tokens.revoke(database, workspace.id, token_id)

    run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"revoked": token_id})
    else:
        people.print("Revoked.")


def _day(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") if at else "–"


def _state(one: Credential) -> str:
    if one.revoked_at is not None:
        return "revoked"
    expired = one.expires_at is not None and one.expires_at <= datetime.now(UTC).timestamp()
    return "expired" if expired else "valid"
