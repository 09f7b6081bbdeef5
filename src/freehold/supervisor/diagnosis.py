"""`freehold doctor`: looks at everything a start needs, changes nothing, and says what to do about what is wrong."""

import dataclasses
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from freehold.console import STATIC
from freehold.isolation.driver import open_driver
from freehold.models.store import ModelStore
from freehold.protocol.errors import Misconfigured, Unavailable
from freehold.settings import Settings
from freehold.storage import engines, workspaces
from freehold.storage.engine import Database
from freehold.supervisor.edges import public_url
from freehold.supervisor.instance import check_port
from freehold.supervisor.memory import total_memory
from freehold.supervisor.prepare import prepare_edge

_LOW_DISK = 2 << 30


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


async def examine(settings: Settings, *, running: bool) -> list[Finding]:
    """All findings, in the order in which a start would meet them."""
    looks: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("state folder", lambda: _state(settings)),
        ("port", lambda: _port(settings, running)),
        ("isolation", lambda: _driver(settings)),
        ("web interface", _static),
        ("database", lambda: _database(settings)),
        ("models", lambda: _models(settings)),
        ("edge", lambda: _edge(settings)),
        ("disk", lambda: _disk(settings)),
        ("memory", _memory),
    ]
    findings = []
    for name, look in looks:
        try:
            findings.append(Finding(name, True, await look()))
        except Misconfigured as error:
            findings += [Finding(name, False, problem.what, problem.remedy) for problem in error.problems]
        except Unavailable as error:
            findings.append(Finding(name, False, error.message, "Look at the database's server or disk."))
    return findings


async def _state(settings: Settings) -> str:
    settings.layout.create()
    return f"{settings.state} is writable and closed to others"


async def _port(settings: Settings, running: bool) -> str:
    if running:
        return "Freehold is running and holds it"
    check_port(settings.edge.bind, settings.edge.port)
    return f"{settings.edge.bind}:{settings.edge.port} is free"


async def _driver(settings: Settings) -> str:
    driver = open_driver(settings.runner.driver)
    if problems := driver.problems():
        raise Misconfigured(*problems)
    return f"{driver.name}: {', '.join(sorted(driver.guarantees)) or 'guarantees nothing'}"


async def _static() -> str:
    return "built" if (STATIC / "index.html").is_file() else "not built: run 'make web'"


async def _database(settings: Settings) -> str:
    if not settings.database and not (settings.state / "freehold.db").exists():
        return "will be made at the first start"
    async with Database(settings.database_url) as database:
        await database.check()
    return "sound"


async def _models(settings: Settings) -> str:
    if not settings.database and not (settings.state / "freehold.db").exists():
        return "will be fetched at the first start"
    store, names = ModelStore(settings.layout.models), []
    async with Database(settings.database_url) as database, database.read() as connection:
        listed = await engines.everywhere(connection)
    for engine in listed:
        if engine.kind != "openai":
            await store.verify(store.resolve(engine.model), full=True)
            names.append(engine.name)
    return f"{len(names)} verified by hash: {', '.join(names)}"


async def _edge(settings: Settings) -> str:
    tenants = []
    if settings.database or (settings.state / "freehold.db").exists():
        async with Database(settings.database_url) as database, database.read() as connection:
            tenants = await workspaces.everything(connection)
    with tempfile.TemporaryDirectory(prefix="freehold-") as scratch:  # the live files belong to the running edge
        elsewhere = dataclasses.replace(settings, state=Path(scratch))
        elsewhere.layout.create()
        prepare_edge(elsewhere, tenants)
    return f"configuration accepted, certificate valid; {public_url(settings)}"


async def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(settings.state).free
    return f"{free / (1 << 30):.1f} GiB free" + (" (low)" if free < _LOW_DISK else "")


async def _memory() -> str:
    return f"{total_memory() / (1 << 30):.1f} GiB"
