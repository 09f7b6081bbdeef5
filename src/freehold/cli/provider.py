"""`freehold provider …`: OpenID Connect providers, declared at the machine, as all is that the machine may reach.

Works while Freehold runs or not; a change is in force within a few seconds, without a restart.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.cli.discovery import check_ca, discover
from freehold.cli.output import AsJson, State, Workspace, fail, people, show_json, show_table, spoken
from freehold.cli.user import named
from freehold.cli.work import origin, run
from freehold.edge.identity import SignIn, endpoints_of
from freehold.identity import declaring, services
from freehold.identity import providers as identity
from freehold.identity.declaring import Declaration
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Settings
from freehold.storage import providers, users, workspaces
from freehold.storage.engine import Database

app = typer.Typer(
    help="Sign-in providers (OpenID Connect), and whose access tokens the API takes.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the provider is called here.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A short word; it is in the redirect address.")],
    issuer: Annotated[str, typer.Option(help="The provider's issuer, as its tokens say it.")],
    client_id: Annotated[str, typer.Option(help="What the provider calls this Freehold.")],
    client_secret_file: Annotated[
        Path | None, typer.Option(help="A file with the client secret; none: a public client.", exists=True)
    ] = None,
    title: Annotated[str | None, typer.Option(help="What people read on the button. [default: NAME]")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="What is asked for. [default: profile, email]")] = None,
    audience: Annotated[str | None, typer.Option(help="Access tokens for this audience are taken by the API.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="VALUE=GROUP", help="Who has this value in the claim is in this group.")
    ] = None,
    groups_claim: Annotated[str, typer.Option(help="The claim with a person's groups; dots lead into it.")] = "groups",
    email_domain: Annotated[
        list[str] | None, typer.Option(help="Only verified addresses of these domains get accounts.")
    ] = None,
    no_create: Annotated[bool, typer.Option("--no-create", help="Make no accounts: only linked ones come in.")] = False,
    link_by_email: Annotated[
        bool,
        typer.Option(
            "--link-by-email",
            help="Who has an account with a verified address of theirs signs in to it. The "
            "provider can then speak for every account here.",
        ),
    ] = False,
    trust_email: Annotated[
        bool,
        typer.Option(
            "--trust-email",
            help="Its addresses count as verified for new accounts, though it does not say so. "
            "Only for a provider whose addresses nobody can choose.",
        ),
    ] = False,
    subject_claim: Annotated[str, typer.Option(help="What names a person for ever: sub, or oid (Entra ID).")] = "sub",
    ca_file: Annotated[
        Path | None,
        typer.Option(help="PEM file of the authorities that vouch for it. [default: the system's]", exists=True),
    ] = None,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Declare a provider: it is asked now for its endpoints and keys, and only these can be reached from then on."""
    with spoken(as_json):
        ca = check_ca(_text(ca_file)) if ca_file is not None else None
        wanted = Declaration(
            name=name,
            title=title or name,
            issuer=issuer,
            client_id=client_id,
            client_secret=_text(client_secret_file).strip() or None if client_secret_file is not None else None,
            audience=audience,
            scopes=scope or (),
            groups=_pairs(group or []),
            groups_claim=groups_claim,
            email_domains=email_domain or (),
            create=not no_create,
            link_by_email=link_by_email,
            trust_email=trust_email,
            subject_claim=subject_claim,
            ca=ca,
        )

    async def work(
        settings: Settings, database: Database, workspace: workspaces.Workspace
    ) -> tuple[providers.Provider, str]:
        metadata = discover(issuer, ca)
        async with database.read() as connection:
            others = await providers.enabled_everywhere(connection)
        endpoints_of([*_sign_ins(others), SignIn(name, identity.outward(issuer, metadata), ca)])
        key = settings.layout.secret("credentials")
        made = await declaring.declare(database, key, workspace.id, wanted, metadata)
        return made, f"{origin(settings, workspace.domain)}/sign-in/back/{name}"

    made, back = run(work, workspace_name, state, as_json)
    shown = {**_shown(made), "redirect_uri": back}
    if as_json:
        show_json(shown)
        return
    _show(made)
    people.print(f"\nTell the provider this redirect address, for each name that people use:\n  [bold]{back}[/]")
    people.print(f"and, for its logout to end sessions here:\n  {back.replace('/sign-in/back/', '/sign-out/from/')}")
    if issuer.startswith("http://"):
        people.print("\nNotice: plain http, on this machine only. For development.")


@app.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """The workspace's providers."""

    async def work(
        _: Settings, database: Database, workspace: workspaces.Workspace
    ) -> list[tuple[providers.Provider, int]]:
        async with database.read() as connection:
            found = await providers.listed(connection, workspace.id)
            return [(one, await providers.count_linked(connection, one.id)) for one in found]

    found = run(work, workspace_name, state, as_json)
    if as_json:
        show_json([{**_shown(one), "people": count} for one, count in found])
        return
    rows = [[p.name, p.title, p.issuer, p.audience or "–", str(count), _state(p)] for p, count in found]
    show_table("Providers", ["name", "title", "issuer", "API audience", "people", "state"], rows)


@app.command()
def show(name: Name, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """What was decided for a provider, what it says of itself, and what can be reached of it."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> providers.Provider:
        return await declaring.find(database, workspace.id, name)

    found = run(work, workspace_name, state, as_json)
    if as_json:
        show_json(_shown(found))
    else:
        _show(found)


@app.command("test")
def ask(
    name: Name,
    take: Annotated[bool, typer.Option("--take", help="Declare what it says now, new servers included.")] = False,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Ask a provider from this machine, and say what is different from what was declared. Exit code 1: it differs."""

    async def work(
        _: Settings, database: Database, workspace: workspaces.Workspace
    ) -> tuple[providers.Provider, list[str]]:
        found = await declaring.find(database, workspace.id, name)
        fresh, before = discover(found.issuer, identity.options_of(found).ca), identity.metadata_of(found)
        strange = sorted(set(fresh.origins) - set(before.origins if before is not None else ()))
        if take or (not strange and before is not None):
            origins = fresh.origins if take or before is None else before.origins
            await declaring.take(database, found, msgspec.structs.replace(fresh, origins=origins))
            found = await declaring.find(database, workspace.id, name)
        return found, [] if take else strange

    found, strange = run(work, workspace_name, state, as_json)
    if not as_json:
        _show(found)
    if strange:
        fail(
            as_json,
            f"it names servers that were not declared: {', '.join(strange)}",
            "If that is right, take them: freehold provider test NAME --take",
        )
    if as_json:
        show_json(_shown(found))


@app.command()
def disable(name: Name, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Let nobody in by a provider: its sessions end, its tokens are refused, nothing of it can be reached."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        found = await declaring.find(database, workspace.id, name)
        async with written(database) as (connection, tell):
            await providers.disable(connection, found.id)
            tell(Action.PROVIDER_DISABLE, subject=found.id)

    run(work, workspace_name, state, as_json)
    _say(as_json, {"disabled": name}, f"{name} is disabled.")


@app.command()
def enable(name: Name, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Let people in by a provider again."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        found = await declaring.find(database, workspace.id, name)
        async with database.read() as connection:
            others = [one for one in await providers.enabled_everywhere(connection) if one.id != found.id]
        endpoints_of(_sign_ins([*others, found]))
        async with written(database) as (connection, tell):
            await providers.enable(connection, found.id)
            tell(Action.PROVIDER_ENABLE, subject=found.id)

    run(work, workspace_name, state, as_json)
    _say(as_json, {"enabled": name}, f"{name} is enabled.")


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Forget a provider and whom it knows. Accounts stay; the groups that it put people into are left."""
    if not yes and not as_json:
        typer.confirm(f"Forget {name} and whom it knows?", abort=True)

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        found = await declaring.find(database, workspace.id, name)
        async with written(database) as (connection, tell):
            await providers.remove(connection, found.id)
            tell(Action.PROVIDER_REMOVE, subject=found.id)

    run(work, workspace_name, state, as_json)
    _say(as_json, {"removed": name}, f"{name} is removed.")


Whom = Annotated[str, typer.Argument(metavar="PERSON", help="An e-mail address, or the id of a person or a service.")]


@app.command()
def link(
    name: Name,
    subject: Annotated[str, typer.Argument(help="What the provider calls them in the claim sub (or oid).")],
    person: Whom,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Say who a subject of the provider is: somebody with an account, or a service for a program's tokens."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> str:
        found, user = await declaring.find(database, workspace.id, name), await _whom(database, workspace.id, person)
        await declaring.link(database, found, subject, user)
        return user.id

    linked = run(work, workspace_name, state, as_json)
    _say(as_json, {"provider": name, "linked": linked}, f"{person} is linked.")


@app.command()
def unlink(
    name: Name, person: Whom, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False
) -> None:
    """Let somebody in by this provider no more; their sessions by it end."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> int:
        found, user = await declaring.find(database, workspace.id, name), await _whom(database, workspace.id, person)
        async with written(database) as (connection, tell):
            count = await providers.unlink(connection, found.id, user.id)
            if count:
                tell(Action.PROVIDER_CHANGE, subject=found.id, other=user.id, count=count)
            return count

    count = run(work, workspace_name, state, as_json)
    _say(as_json, {"provider": name, "unlinked": count}, f"{person} is not linked any more.")


async def _whom(database: Database, workspace_id: str, name: str) -> users.User:
    if name.startswith("usr_"):
        async with database.read() as connection:
            found = await users.of_workspace(connection, workspace_id, name)
        if found is not None and found.role == "service":
            return await services.get(database, workspace_id, name)
    return await named(database, workspace_id, name)


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(Problem(f"{path} cannot be read", "Give a text file that this user may read.")) from None


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = [one.rpartition("=") for one in given]
    if not all(value and group for value, _, group in pairs):
        raise Misconfigured(Problem("a --group is VALUE=GROUP", "For example --group 'ai-staff=Staff'."))
    return {value: group for value, _, group in pairs}


def _sign_ins(listed: list[providers.Provider]) -> list[SignIn]:
    return [
        SignIn(one.name, identity.outward(one.issuer, metadata), identity.options_of(one).ca)
        for one in listed
        if (metadata := identity.metadata_of(one)) is not None
    ]


def _shown(provider: providers.Provider) -> dict[str, Any]:
    options, metadata = identity.options_of(provider), identity.metadata_of(provider)
    decided = {**msgspec.to_builtins(options), "ca": options.ca is not None}
    return {
        "id": provider.id,
        "name": provider.name,
        "title": provider.title,
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "client_secret": provider.client_secret is not None,
        "audience": provider.audience,
        "disabled": provider.disabled_at is not None,
        "options": decided,
        "browser": [] if metadata is None else _of_browser(metadata),
        "reached": [] if metadata is None else [f"{m} {url}" for m, url in identity.outward(provider.issuer, metadata)],
        "servers": [] if metadata is None else metadata.origins,
        "undeclared": [] if metadata is None else metadata.undeclared,
        "keys": [] if metadata is None else [key.get("kid") for key in metadata.keys],
        "fetched_at": provider.fetched_at,
    }


def _of_browser(metadata: identity.Metadata) -> list[str]:
    return [metadata.authorization_endpoint, *filter(None, [metadata.end_session_endpoint])]


def _show(provider: providers.Provider) -> None:
    shown = _shown(provider)
    people.print(f"[bold]{provider.name}[/] ({_state(provider)}): {provider.title}")
    for label, value in (
        ("issuer", provider.issuer),
        ("client", f"{provider.client_id}, {'with' if provider.client_secret else 'without'} a secret"),
        ("API audience", provider.audience or "–"),
        ("reached", "\n".join(shown["reached"])),
        ("by browsers", "\n".join(shown["browser"])),
        ("keys", ", ".join(str(key) for key in shown["keys"])),
        ("asked last", _ago(provider.fetched_at)),
        ("not taken", ", ".join(shown["undeclared"])),
    ):
        if value:
            people.print(f"  {label:<13}" + value.replace("\n", "\n" + 15 * " "), markup=False, soft_wrap=True)


def _state(provider: providers.Provider) -> str:
    return "disabled" if provider.disabled_at is not None else "on"


def _ago(at: float | None) -> str:
    if at is None:
        return "never"
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC, {max(0, time.time() - at) / 3600:.1f} h ago"


def _say(as_json: bool, value: dict[str, Any], said: str) -> None:
    if as_json:
        show_json(value)
    else:
        people.print(said)
