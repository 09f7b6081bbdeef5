"""The life of one machine's Freehold, start to stop, in order. Called by `cli/up.py` and `supervisor/__main__`.

First what must be true (state, lock, port, driver, database, model), then edge, gateway, console and runners at once,
then the facts for other commands. Whatever ends the block, everything that was started is stopped in reverse.
"""

import asyncio
import contextlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path

from freehold.audit.events import Action, By, Digest, Event
from freehold.audit.log import AuditLog, signer
from freehold.console import STATIC
from freehold.isolation.driver import open_driver
from freehold.models.store import ModelStore
from freehold.protocol.errors import Misconfigured, Problem, Unavailable
from freehold.protocol.http import PeerGone, UnixClient
from freehold.settings import Settings, dump
from freehold.supervisor import control
from freehold.supervisor.children import Child, python_command
from freehold.supervisor.edges import Edges, public_url
from freehold.supervisor.instance import Instance, Lock, check_port, clear_run, write_instance
from freehold.supervisor.preparing import prepare_apart
from freehold.supervisor.progress import Notice, Ready, Step, Tell
from freehold.supervisor.report import Report
from freehold.supervisor.runners import Runners

_START_SECONDS = 30.0
_POLL_SECONDS = 0.3
_HOUR = 3600.0
_AGAIN_SECONDS = 30.0


async def supervise(settings: Settings, tell: Tell, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises Misconfigured when it cannot start; nothing stays behind then."""
    began = time.monotonic()
    layout = settings.layout
    tell(Step("check"))
    layout.create()
    lock = Lock(layout)
    lock.take()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(lock.release)
        clear_run(layout)
        layout.create()
        stack.callback(clear_run, layout)
        check_port(settings.edge.bind, settings.edge.port)
        driver = open_driver(settings.runner.driver)
        if problems := (*driver.problems(), *_static_problems()):
            raise Misconfigured(*problems)
        if settings.runner.driver == "process":
            tell(
                Notice("the 'process' driver does not seal the model: it can reach the network. For development only.")
            )
        prepared = await prepare_apart(settings, "start", tell)
        log = await stack.enter_async_context(AuditLog.of(layout))
        await _started(settings, log)
        stack.callback(log.note, Event(action=Action.INSTANCE_STOP, by=By.SYSTEM))
        if settings.audit.copies:
            await stack.enter_async_context(_copies(settings, log))
        edges, runners = Edges(settings), Runners(settings, driver, ModelStore(layout.models), log.note)
        gateways = [_gateway(settings, worker) for worker in range(settings.gateway.workers)]
        console = _console(settings)
        for child in (*gateways, console):
            stack.push_async_callback(child.stop)
        stack.push_async_callback(edges.stop)
        stack.push_async_callback(runners.stop)

        tell(Step("runner"))
        await edges.refresh(relay=prepared.relay)
        async with _one_reason(), asyncio.TaskGroup() as group:
            for work in (
                edges.start(),
                *(gateway.start(_START_SECONDS) for gateway in gateways),
                console.start(_START_SECONDS),
                runners.apply(prepared.engines),
            ):
                group.create_task(work)

        report = Report(settings, [*gateways, console], edges, runners, prepared.ca_file, log)
        handlers: dict[control.Word, control.Handler] = {
            "status": report.status,
            "seal": report.seal,
            "stop": _setter(stop),
        }
        await stack.enter_async_context(control.serve(layout.control_socket, handlers))
        url = public_url(settings)
        write_instance(layout, Instance(report.pid, url, prepared.ca_file, settings.runner.driver, time.time()))
        claim_url = f"{url}/claim#token={prepared.claim}" if prepared.claim else None
        tell(Ready(url, claim_url, prepared.ca_file, str(settings.state), round(time.monotonic() - began, 2)))
        follower = _Follower(settings, prepared.seq, edges, runners)
        async with _kept(runners.watch(), follower.follow()):
            await stop.wait()


async def _started(settings: Settings, log: AuditLog) -> None:
    """Record the start and under which settings, before anything can be reached. Raises Misconfigured.

    The settings can hold a database's password, so their digest is one with a key.
    """
    digest = Digest(hmac.digest(settings.layout.secret("audit-hash"), dump(settings), "sha256").hex())
    try:
        await log.record(Event(action=Action.INSTANCE_SETTINGS, by=By.SYSTEM, digest=digest))
        await log.record(Event(action=Action.INSTANCE_START, by=By.SYSTEM, process=os.getpid()))
    except Unavailable:
        folder = settings.layout.audit
        raise Misconfigured(
            Problem(f"the audit log in {folder} cannot be written", "Make it writable, or free space on its disk.")
        ) from None


def _copies(settings: Settings, log: AuditLog) -> contextlib.AbstractAsyncContextManager[object]:
    from freehold.audit.copying import copying  # what reaches buckets and syslog is not loaded where there are none

    return copying(settings, signer(settings.layout).verifier, log)


def _gateway(settings: Settings, worker: int) -> Child:
    name = f"gateway-{worker}" if worker else "gateway"
    command = [*python_command("freehold.gateway"), str(worker)]
    return _python_child(settings, name, command, settings.layout.gateway_socket_of(worker), "/healthz")


def _console(settings: Settings) -> Child:
    command = python_command("freehold.console")
    return _python_child(settings, "console", command, settings.layout.console_socket, "/api/site")


def _python_child(settings: Settings, name: str, command: list[str], socket: Path, probe: str) -> Child:
    client = UnixClient(str(socket))

    async def ready() -> bool:
        try:
            async with asyncio.timeout(2), client.request("GET", probe) as response:
                await response.read()
                return response.status == 200
        except (PeerGone, TimeoutError):
            return False

    return Child(name, command, log=settings.layout.logs / f"{name}.log", stdin=dump(settings), ready=ready)


class _Follower:
    """Brings certificate, edge, relay and runners up to date: when something was changed, and every hour."""

    def __init__(self, settings: Settings, seq: int, edges: Edges, runners: Runners) -> None:
        self._settings = settings
        self._seq = seq
        self._edges = edges
        self._runners = runners

    async def follow(self) -> None:
        """Refresh when the gateway notes a change, else every hour, sooner after a failure; for ever."""
        due = time.monotonic() + _HOUR
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            newest = self._newest()
            if newest > self._seq or time.monotonic() >= due:
                done = await self._refresh()
                due = time.monotonic() + (_HOUR if done else _AGAIN_SECONDS)
                self._seq = max(self._seq, newest)

    def _newest(self) -> int:
        try:
            return int(self._settings.layout.changes_file.read_text())
        except (OSError, ValueError):  # the gateway is not there yet
            return 0

    async def _refresh(self) -> bool:
        try:
            prepared = await prepare_apart(self._settings, "refresh", lambda _: None)
            self._seq = max(self._seq, prepared.seq)
            await self._edges.refresh(relay=prepared.relay)
            await self._runners.apply(prepared.engines)
        except Misconfigured as error:
            self._note(error)
            return False
        return True

    def _note(self, error: Misconfigured) -> None:
        with (self._settings.layout.logs / "supervisor.log").open("a") as log:
            for problem in error.problems:
                log.write(json.dumps({"time": time.time(), "what": problem.what, "remedy": problem.remedy}) + "\n")


@contextlib.asynccontextmanager
async def _one_reason() -> AsyncIterator[None]:
    """Out of a task group: the problems of all that failed, as one Misconfigured."""
    problems: list[Problem] = []
    try:
        yield
    except* Misconfigured as group:
        for error in group.exceptions:
            problems += error.problems if isinstance(error, Misconfigured) else ()
    if problems:
        raise Misconfigured(*problems)


@contextlib.asynccontextmanager
async def _kept(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _static_problems() -> tuple[Problem, ...]:
    if (STATIC / "index.html").is_file():
        return ()
    return (Problem("the web interface is not built", "Run 'make web', or install Freehold from a wheel."),)


def _setter(stop: asyncio.Event) -> control.Handler:
    async def set_stop() -> dict[str, bool]:
        stop.set()
        return {"stopping": True}

    return set_stop
