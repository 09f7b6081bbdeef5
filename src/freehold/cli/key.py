"""`freehold key create|list|revoke`: API keys of the workspace."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table, spoken
from freehold.cli.work import on_database
from freehold.identity import keys, services
from freehold.settings import load
from freehold.storage.credentials import Credential

app = typer.Typer(help="API keys for programs.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, to recognise it later.")],
    days: Annotated[int | None, typer.Option(help="Days until it expires. [default: never]", min=1)] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it is for: chat, embeddings, models, responses. [default: all]")
    ] = None,
    assistant: Annotated[list[str] | None, typer.Option(help="A model it may use. [default: all]")] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="An address or network it may come from. [default: any]")
    ] = None,
    service: Annotated[
        str | None, typer.Option(metavar="ID", help="The service account that it is for. [default: the workspace]")
    ] = None,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its secret is shown once, here."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> tuple[Credential, str]:
            async with on_database(settings, workspace_name) as (database, workspace):
                expires = time.time() + days * 86400 if days else None
                key = settings.layout.secret("credentials")
                owner = (await services.get(database, workspace.id, service)).id if service else None
                return await keys.create_key(
                    database,
                    key,
                    workspace.id,
                    owner,
                    name,
                    expires_at=expires,
                    scopes=scope or (),
                    assistants=assistant or (),
                    sources=source or (),
                )

        made, secret = asyncio.run(work())
    if as_json:
        show_json({"id": made.id, "name": made.name, "key": secret, "expires_at": made.expires_at})
    else:
        people.print(
            f"[bold]{secret}[/]\n\nKeep it now: it is not shown again. Revoke it: freehold key revoke {made.id}",
            soft_wrap=True,
        )


@app.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """All keys of the workspace; secrets are never shown."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> list[Credential]:
            async with on_database(settings, workspace_name) as (database, workspace):
                return await keys.list_keys(database, workspace.id)

        found = asyncio.run(work())
    if as_json:
        show_json(found)
        return
    show_table(
        "Keys",
        ["id", "name", "begins", "made", "last used", "state"],
        [[k.id, k.name, k.hint + "…", _day(k.created_at), _day(k.last_used_at), _state(k)] for k in found],
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As 'freehold key list' shows it.")],
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: it is refused everywhere within a second."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> None:
            async with on_database(settings, workspace_name) as (database, workspace):
                await keys.revoke_key(database, workspace.id, key_id)

        asyncio.run(work())
    if as_json:
        show_json({"revoked": key_id})
    else:
        people.print("Revoked.")


def _state(key: Credential) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= time.time() else "valid"


def _day(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") if at else "–"
