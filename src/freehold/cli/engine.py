"""`freehold engine add|list|remove`: OpenAI-compatible servers outside, reached only through the egress relay."""

import asyncio
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from sqlalchemy.exc import IntegrityError

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table, spoken
from freehold.cli.work import on_database
from freehold.protocol.errors import Misconfigured, Problem, Refused
from freehold.settings import load, write_private
from freehold.storage import engines

app = typer.Typer(help="Engines: local models, and outside servers that you declare.", no_args_is_help=True)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What clients call it in 'model'.")],
    url: Annotated[str, typer.Option(help="Its base address, such as http://127.0.0.1:11434/v1 for Ollama.")],
    model: Annotated[str, typer.Option(help="The model's name on that server.")],
    key_file: Annotated[
        Path | None, typer.Option(help="A file with the server's API key; only the relay will hold it.", exists=True)
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Answer with it when nothing else is asked for.")] = False,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Declare an OpenAI-compatible server (Ollama, vLLM, llama.cpp). Its prompts leave the box, to there only."""
    with spoken(as_json):
        settings = load(state)
        _check(name, url)
        secret_name = f"engine-{name.replace(':', '-')}" if key_file else None

        async def work() -> None:
            async with on_database(settings, workspace_name) as (database, workspace):
                if key_file and secret_name:
                    write_private(settings.layout.keys / secret_name, key_file.read_bytes().strip())
                try:
                    async with written(database) as (connection, tell):
                        made = await engines.add(
                            connection,
                            workspace.id,
                            name=name,
                            kind="openai",
                            model=model,
                            url=url.rstrip("/"),
                            secret_name=secret_name,
                            default=default,
                            description=f"Runs on another server ({urlsplit(url).hostname}).",
                        )
                        tell(Action.ENGINE_CREATE, subject=made.id, domain=urlsplit(url).hostname)
                except IntegrityError:
                    raise Refused(f"There is an engine called {name} already.", status=409) from None

        asyncio.run(work())
    if as_json:
        show_json({"added": name})
    else:
        people.print(f"{name} is declared. What is asked of it leaves this machine's sealed box, to {url} only.")


@app.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """The workspace's engines."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> list[engines.Engine]:
            async with on_database(settings, workspace_name) as (database, workspace), database.read() as connection:
                return await engines.listed(connection, workspace.id)

        found = asyncio.run(work())
    if as_json:
        show_json(found)
        return
    show_table(
        "Engines",
        ["name", "kind", "model", "where", "default"],
        [[e.name, e.kind, e.model, e.url or "this machine, sealed", "yes" if e.is_default else ""] for e in found],
    )


@app.command()
def remove(name: str, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Forget an engine."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> None:
            async with (
                on_database(settings, workspace_name) as (database, workspace),
                written(database) as (connection, tell),
            ):
                found = next((e for e in await engines.listed(connection, workspace.id) if e.name == name), None)
                if found is None or not await engines.remove(connection, workspace.id, name):
                    raise Refused("There is no engine of that name. 'freehold engine list' shows them.", status=404)
                tell(Action.ENGINE_REMOVE, subject=found.id)

        asyncio.run(work())
    if as_json:
        show_json({"removed": name})
    else:
        people.print(f"{name} is removed.")


def _check(name: str, url: str) -> None:
    problems = []
    if not _NAME.fullmatch(name):
        problems.append(Problem("that is no name for an engine", "Use letters, digits, dots, colons and hyphens."))
    try:
        parts = urlsplit(url)
        sound = (
            parts.scheme in ("http", "https")
            and bool(_HOST.fullmatch(parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")))
            and not (parts.username or parts.password or parts.query or parts.fragment)
        )
    except ValueError:
        sound = False
    if not sound:
        problems.append(
            Problem("that is no base address", "Give scheme, host and path only, such as http://127.0.0.1:11434/v1.")
        )
    if problems:
        raise Misconfigured(*problems)
