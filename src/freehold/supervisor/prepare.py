"""Everything that must be true before a process starts: database, workspace, models, certificate, Envoy's files.

Idempotent: the first start makes what is missing, a later one finds it there. The supervisor has `refresh` run every
hour and when engines or providers change. Both run in a short-lived process (`python -m
freehold.supervisor.prepare start|refresh`), so that migrations and certificate tools do not stay in the supervisor's
memory.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence

from freehold.audit.events import Action, By
from freehold.audit.log import signer
from freehold.audit.trail import errand, written
from freehold.edge import certificates, config, process, relay
from freehold.edge.identity import SignIn
from freehold.edge.names import local_names, reachable
from freehold.edge.sites import site
from freehold.identity import accounts
from freehold.identity import providers as identity
from freehold.models import catalogue
from freehold.models.store import ModelStore
from freehold.protocol.errors import Misconfigured, Unavailable
from freehold.settings import Settings, parse
from freehold.storage import changes, engines, providers, users, workspaces
from freehold.storage.engine import Database
from freehold.storage.migrate import migrate
from freehold.supervisor.fetching import install
from freehold.supervisor.memory import total_memory
from freehold.supervisor.progress import Failed, Prepared, ProblemText, Progress, Served, Step, Tell, encode

DEFAULT_WORKSPACE = "Home"
_DESCRIPTIONS = {
    "default": "Answers questions, writes and explains code; runs on this machine.",
    "small": "A smaller, faster model; runs on this machine.",
    "tiny": "A very small model to try things out; its answers are often wrong.",
}


async def prepare(settings: Settings, tell: Tell) -> Prepared:
    """Bring state, database and Envoy's files up to date. Raises Misconfigured with what stands in the way."""
    store = ModelStore(settings.layout.models)
    signer(settings.layout)
    async with errand(settings.layout, By.SYSTEM) as trail, Database(settings.database_url) as database:
        tell(Step("database"))
        await migrate(database)
        async with written(database) as (connection, told):
            workspace = await workspaces.first(connection)
            if workspace is None:
                workspace = await workspaces.create(connection, DEFAULT_WORKSPACE)
                told(Action.WORKSPACE_CREATE, workspace=workspace.id, subject=workspace.id)
            trail.workspace = workspace.id
            unclaimed = await users.count(connection, workspace.id) == 0
            await changes.prune(connection)
        claim = await _claim(settings, database, workspace.id) if unclaimed else None
        await _engines(settings, database, store, workspace.id, tell)
        async with database.read() as connection:
            seq = await changes.latest(connection)
            listed = await engines.everywhere(connection)
            tenants = await workspaces.everything(connection)
            trusted = await providers.enabled_everywhere(connection)
    for model in _models(listed, store):
        tell(Step("verify", model.name))
        await store.verify(model)
    tell(Step("certificate"))
    return _prepared(settings, listed, tenants, trusted, seq, claim)


async def refresh(settings: Settings, tell: Tell) -> Prepared:
    """Only what time or a change can ask for: certificate, edge, relay. Raises Misconfigured."""
    async with Database(settings.database_url) as database, database.read() as connection:
        seq = await changes.latest(connection)
        listed = await engines.everywhere(connection)
        tenants = await workspaces.everything(connection)
        trusted = await providers.enabled_everywhere(connection)
    return _prepared(settings, listed, tenants, trusted, seq)


def prepare_edge(settings: Settings, tenants: Sequence[workspaces.Workspace]) -> bool:
    """Certificate and configuration of the edge, checked by Envoy when changed. True with a certificate of ours."""
    names = reachable(settings.edge, local_names())
    certificate = certificates.ensure(settings.edge, settings.layout, names)
    sites = [
        site(
            settings.edge,
            settings.layout,
            workspace.id,
            workspace.domain,
            worker=settings.gateway.worker_of(workspace.id),
        )
        for workspace in tenants
        if workspace.domain
    ]
    workers, worker = settings.gateway.workers, settings.gateway.worker_of(tenants[0].id) if tenants else 0
    if config.write(settings.edge, settings.layout, names, certificate, sites, workers=workers, worker=worker):
        process.validate(settings.layout.edge / config.CHECK)
    return certificate.own


def prepare_relay(settings: Settings, listed: list[engines.Engine], trusted: Sequence[providers.Provider] = ()) -> bool:
    """Configuration of the relay for the declared outside engines and providers. False when there are none."""
    layout = settings.layout
    declared: dict[str, list[relay.OutsideEngine]] = {}
    for engine in listed:
        if engine.kind == "openai":
            key = layout.keys / engine.secret_name if engine.secret_name else None
            declared.setdefault(engine.workspace_id, []).append(relay.OutsideEngine(engine.name, engine.url or "", key))
    asked = [sign_in for provider in trusted if (sign_in := _sign_in(provider)) is not None]
    needed = bool(declared or asked)
    if relay.write(layout, declared, asked) and needed:
        process.validate(layout.edge / relay.BOOTSTRAP)
    return needed


def _sign_in(provider: providers.Provider) -> SignIn | None:
    """What the relay lets through for a provider; nothing for one that was never asked."""
    metadata = identity.metadata_of(provider)
    if metadata is None:
        return None
    ca = identity.options_of(provider).ca
    return SignIn(provider.name, identity.outward(provider.issuer, metadata), ca)


def _prepared(
    settings: Settings,
    listed: list[engines.Engine],
    tenants: Sequence[workspaces.Workspace],
    trusted: Sequence[providers.Provider],
    seq: int,
    claim: str | None = None,
) -> Prepared:
    own = prepare_edge(settings, tenants)
    return Prepared(
        claim,
        str(certificates.ca_file(settings.layout)) if own else None,
        prepare_relay(settings, listed, trusted),
        tuple(Served(e.workspace_id, e.name, e.kind, e.model, e.url) for e in listed),
        seq,
    )


async def _claim(settings: Settings, database: Database, workspace_id: str) -> str:
    key = settings.layout.secret("credentials")
    return await accounts.create_claim(database, key, workspace_id, settings.console.claim_hours)


async def _engines(settings: Settings, database: Database, store: ModelStore, workspace_id: str, tell: Tell) -> None:
    """The workspace has an embedder and a default chat engine: the one that was asked for, else one that fits."""
    async with database.read() as connection:
        present = {engine.name: engine for engine in await engines.listed(connection, workspace_id)}
    wanted = settings.models.default
    if wanted != "auto":
        model = store.resolve(wanted)
    elif any(engine.is_default for engine in present.values()):
        model = None
    else:
        model = catalogue.choose(total_memory())
    for entry in (model, catalogue.EMBEDDER):
        if entry is None or (entry.name in present and (entry.kind == "embedding" or present[entry.name].is_default)):
            continue
        got = await install(store, entry, offline=settings.models.offline, tell=tell)
        if got is None:
            continue
        async with written(database) as (connection, told):
            if got.name in present:
                await engines.make_default(connection, workspace_id, got.name)
                told(Action.ENGINE_CHANGE, subject=present[got.name].id)
                continue
            made = await engines.add(
                connection,
                workspace_id,
                name=got.name,
                kind="embedder" if got.kind == "embedding" else "llamacpp",
                model=got.name,
                description=_DESCRIPTIONS.get(got.alias, ""),
                default=got.kind == "chat",
            )
            told(Action.ENGINE_CREATE, subject=made.id, digest=got.files[0].sha256)


def _models(listed: list[engines.Engine], store: ModelStore) -> Iterator[catalogue.Model]:
    for engine in listed:
        if engine.kind != "openai":
            yield store.resolve(engine.model)


def _main() -> int:
    settings = parse(sys.stdin.buffer.read())

    def tell(progress: Progress) -> None:
        os.write(1, encode(progress))

    try:
        tell(asyncio.run({"start": prepare, "refresh": refresh}[sys.argv[1]](settings, tell)))
    except Unavailable as error:
        tell(Failed((ProblemText(error.message, "Free space on the disk of the state folder, or make it writable."),)))
        return Misconfigured.exit_code
    except Misconfigured as error:
        tell(Failed(tuple(ProblemText(p.what, p.remedy) for p in error.problems)))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
