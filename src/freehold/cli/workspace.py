"""`freehold workspace create|list|domain|remove`: tenants, with members, engines, limits and runners of their own."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.cli.output import AsJson, State, people, show_json, show_table, spoken
from freehold.cli.work import on_database, origin
from freehold.edge import certificates, sites
from freehold.edge.names import local_names, reachable
from freehold.identity import accounts
from freehold.protocol.errors import Misconfigured, Problem, Refused
from freehold.settings import Settings, load, write_private
from freehold.storage import engines, workspaces
from freehold.storage.engine import Database

app = typer.Typer(help="Workspaces: tenants that share nothing.", no_args_is_help=True)

_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
Certificate = Annotated[
    Path | None, typer.Option("--tls-cert", help="PEM chain of a real certificate for the domain.", exists=True)
]
PrivateKey = Annotated[Path | None, typer.Option("--tls-key", help="Its PEM private key.", exists=True)]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    domain: Annotated[str, typer.Option(help="The domain under which its people and programs reach it.")],
    tls_cert: Certificate = None,
    tls_key: PrivateKey = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a workspace with the engines of the first one. A running Freehold takes it up without a restart."""
    with spoken(as_json):
        settings = load(state)
        domain = _checked(settings, domain)
        _pair(tls_cert, tls_key)

        async def work() -> tuple[workspaces.Workspace, str]:
            async with on_database(settings) as (database, first):
                async with _domain_is_free(domain), written(database) as (connection, tell):
                    made = await _make(connection, name.strip(), domain, first.id)
                    _prepare(settings, made.id, domain, tls_cert, tls_key)
                    tell(Action.WORKSPACE_CREATE, workspace=made.id, subject=made.id, domain=domain)
                key = settings.layout.secret("credentials")
                claim = await accounts.create_claim(database, key, made.id, settings.console.claim_hours)
                return made, claim

        made, claim = asyncio.run(work())
    claim_url = f"{origin(settings, domain)}/claim#token={claim}"
    if as_json:
        show_json({"id": made.id, "name": made.name, "domain": domain, "claim_url": claim_url})
        return
    people.print(
        f"{made.name} is there. Its first administrator claims it at\n\n[bold]{claim_url}[/]\n", soft_wrap=True
    )
    if not tls_cert:
        ca = certificates.ca_file(settings.layout)
        people.print(f"{domain} must lead to this machine; its certificate is signed by the local CA, {ca}.")


@app.command("list")
def listing(state: State = None, as_json: AsJson = False) -> None:
    """All workspaces; the first answers under every name that is no other's."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> list[workspaces.Workspace]:
            async with on_database(settings) as (database, _), database.read() as connection:
                return await workspaces.everything(connection)

        found = asyncio.run(work())
    if as_json:
        show_json(found)
        return
    show_table("Workspaces", ["id", "name", "domain"], [[w.id, w.name, w.domain or "all other names"] for w in found])


@app.command()
def domain(
    name: Annotated[str, typer.Argument(help="The workspace's name or id.")],
    new: Annotated[str, typer.Argument(metavar="DOMAIN", help="Its domain from now on.")],
    tls_cert: Certificate = None,
    tls_key: PrivateKey = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Give a workspace another domain, or the same one another certificate."""
    with spoken(as_json):
        settings = load(state)
        new = _checked(settings, new)
        _pair(tls_cert, tls_key)

        async def work() -> None:
            async with on_database(settings) as (database, first):
                found = await _named(database, name)
                if found.id == first.id:
                    raise Refused("The first workspace has the names of edge.domains. Change them there.", status=409)
                async with _domain_is_free(new), written(database) as (connection, tell):
                    await workspaces.set_domain(connection, found.id, new)
                    _prepare(settings, found.id, new, tls_cert, tls_key)
                    tell(Action.WORKSPACE_DOMAIN, workspace=found.id, subject=found.id, domain=new)

        asyncio.run(work())
    if as_json:
        show_json({"domain": new})
    else:
        people.print(f"{name} is at {new} now.")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The workspace's name or id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Remove a workspace with its people, conversations, keys and limits. This cannot be undone."""
    with spoken(as_json):
        settings = load(state)
        if not yes and not as_json:
            typer.confirm(f"Remove the workspace {name} and everything in it?", abort=True)

        async def work() -> str:
            async with on_database(settings) as (database, first):
                found = await _named(database, name)
                if found.id == first.id:
                    raise Refused("The first workspace cannot be removed.", status=409)
                async with written(database) as (connection, tell):
                    await workspaces.remove(connection, found.id)
                    tell(Action.WORKSPACE_REMOVE, workspace=found.id, subject=found.id)
                for folder in (settings.layout.certificates / found.id, settings.layout.keys / found.id):
                    shutil.rmtree(folder, ignore_errors=True)
                return found.id

        removed = asyncio.run(work())
    if as_json:
        show_json({"removed": removed})
    else:
        people.print(f"{name} is removed.")


async def _make(connection: AsyncConnection, name: str, domain: str, like: str) -> workspaces.Workspace:
    if not 1 <= len(name) <= 100:
        raise Refused("A workspace needs a name of 1 to 100 characters.")
    if await workspaces.named(connection, name) is not None:
        raise Refused("There is a workspace of that name already.", status=409)
    made = await workspaces.create(connection, name, domain)
    for engine in await engines.listed(connection, like):
        if engine.kind != "openai":  # an outside engine is declared for one workspace at a time
            await engines.add(
                connection,
                made.id,
                name=engine.name,
                kind=engine.kind,
                model=engine.model,
                description=engine.description,
                default=engine.is_default,
            )
    return made


async def _named(database: Database, name: str) -> workspaces.Workspace:
    async with database.read() as connection:
        found = await workspaces.named(connection, name)
    if found is None:
        raise Refused("There is no workspace of that name. 'freehold workspace list' shows them.", status=404)
    return found


@contextlib.asynccontextmanager
async def _domain_is_free(domain: str) -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError:
        raise Refused(f"{domain} is another workspace's domain.", status=409) from None


def _prepare(settings: Settings, workspace_id: str, domain: str, chain: Path | None, key: Path | None) -> None:
    """Keep the operator's pair, or forget an old one, and see that there is a certificate. Raises Misconfigured."""
    kept_chain, kept_key = sites.given(settings.layout, workspace_id)
    for path in (kept_chain, kept_key):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)
    if chain and key:
        write_private(kept_chain, chain.read_bytes())
        write_private(kept_key, key.read_bytes())
    try:
        sites.site(settings.edge, settings.layout, workspace_id, domain)
    except Misconfigured:
        kept_chain.unlink(missing_ok=True)
        kept_key.unlink(missing_ok=True)
        raise


def _checked(settings: Settings, domain: str) -> str:
    domain = domain.lower().rstrip(".")
    if not _DOMAIN.fullmatch(domain) or len(domain) > 253:
        raise Misconfigured(Problem("that is no domain", "Give a full host name, such as acme.example."))
    own = reachable(settings.edge, local_names())
    if domain in own.hosts:
        raise Misconfigured(
            Problem(f"{domain} is a name of the installation itself", "Give the workspace a name of its own.")
        )
    return domain


def _pair(chain: Path | None, key: Path | None) -> None:
    if (chain is None) != (key is None):
        raise Misconfigured(Problem("only one of --tls-cert and --tls-key is given", "Give both or neither."))
