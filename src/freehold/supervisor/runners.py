"""Keeps each workspace's runner: builds its box from the workspace's engines, watches it, replaces it.

One dedicated runner a workspace for now. A runner that dies or does not answer is replaced with back-off; when the
engines change a new one is loaded beside the old and takes its place when it is ready, so that nothing is interrupted.
The live ones are written to the pool file, from which the gateway leases.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from freehold.audit.events import Action, By, Event, Id, Outcome, Reason
from freehold.isolation.driver import Box, BoxSpec, Driver, Mount
from freehold.isolation.pool import LiveRunner, write_pool_file
from freehold.models.store import ModelStore
from freehold.protocol.chat import RunnerHealth
from freehold.protocol.errors import Misconfigured, Problem
from freehold.protocol.http import PeerGone, UnixClient
from freehold.protocol.seal import Probe, SealReport
from freehold.runner import config as box
from freehold.settings import Settings
from freehold.supervisor.children import python_command
from freehold.supervisor.memory import total_memory
from freehold.supervisor.progress import Served

_POLL_SECONDS = 1.0
_HUNG_AFTER = 5
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 15.0
_DRAIN_SECONDS = 60.0
_SPARE_BYTES = 1 << 30
_OPEN_FILES = 1024
_THREADS = 128

Seen = Callable[[Path, str], str]


@dataclass
class Runner:
    """One box and what is known of it."""

    name: str
    workspace_id: str
    folder: Path
    box: Box
    client: UnixClient
    slots: int
    log: Path
    started_at: float = field(default_factory=time.monotonic)
    health: RunnerHealth | None = None
    missed: int = 0

    @property
    def ready(self) -> bool:
        """Does it serve?"""
        return self.health is not None and self.health.ready and self.missed < _HUNG_AFTER


@dataclass
class _Place:
    """A workspace's place: the engines it should have, the runner that has them."""

    workspace_id: str
    engines: tuple[Served, ...]
    runner: Runner | None = None
    restarts: int = 0
    starts: int = 0
    delay: float = _FIRST_DELAY
    not_before: float = 0.0


class Runners:
    """All runners of this machine. `apply` says what should be; `watch` makes and keeps it so."""

    def __init__(self, settings: Settings, driver: Driver, store: ModelStore, note: Callable[[Event], None]) -> None:
        self._settings = settings
        self._driver = driver
        self._store = store
        self._note = note
        self._places: dict[str, _Place] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._published: list[LiveRunner] | None = None

    def all(self) -> list[tuple[Runner, int]]:
        """The runners with how often each place was restarted."""
        return [(place.runner, place.restarts) for place in self._places.values() if place.runner is not None]

    async def apply(self, engines: Sequence[Served]) -> None:
        """These engines are to be served, grouped by workspace. Starts and replaces what differs.

        Raises Misconfigured when a box cannot be started or does not become ready.
        """
        wanted: dict[str, list[Served]] = {}
        for engine in engines:
            wanted.setdefault(engine.workspace_id, []).append(engine)
        for workspace_id in set(self._places) - set(wanted):
            place = self._places.pop(workspace_id)
            self._publish()
            if place.runner is not None:
                self._let_go(place.runner)
        for workspace_id, mine in wanted.items():
            place = self._places.setdefault(workspace_id, _Place(workspace_id, ()))
            if place.engines == tuple(mine) and place.runner is not None:
                continue
            place.engines = tuple(mine)
            await self._replace(place)

    async def watch(self) -> None:
        """Ask every runner how it is, for ever; replace the dead and the hung."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            for place in list(self._places.values()):
                await self._look_after(place)

    async def stop(self) -> None:
        """Stop every box."""
        write_pool_file(self._settings.layout.pool_file, [])
        runners = [place.runner for place in self._places.values() if place.runner is not None]
        await asyncio.gather(*(self._end(runner, 3.0) for runner in runners), *self._stopping)
        self._places.clear()

    async def ask_all(self) -> None:
        """Have every runner say how it is now, so that a report is of this moment."""
        await asyncio.gather(*(self._ask(runner) for runner, _ in self.all()))
        self._publish()

    async def attack(self, runner: Runner) -> tuple[Probe, ...]:
        """Have a live runner try to get out of its own box."""
        async with runner.client.request("POST", "/seal", b"", timeout=20) as response:
            return msgspec.json.decode(await response.read(), type=SealReport).probes

    async def _replace(self, place: _Place) -> None:
        old, fresh = place.runner, await self._start(place)
        try:
            await self._until_ready(fresh)
        except Misconfigured:
            await self._end(fresh, 1.0, Reason.RUNNER)
            raise
        place.runner = fresh
        self._publish()
        if old is not None:
            self._let_go(old)

    def _let_go(self, runner: Runner) -> None:
        task = asyncio.create_task(self._drain(runner))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _look_after(self, place: _Place) -> None:
        runner = place.runner
        if runner is not None:
            await self._ask(runner)
            if runner.missed < _HUNG_AFTER and runner.box.alive:
                if runner.ready and time.monotonic() - runner.started_at > _LONGEST_DELAY:
                    place.delay = _FIRST_DELAY
                self._publish()
                return
            place.runner = None
            self._publish()
            await self._end(runner, 1.0, Reason.RUNNER)
            place.restarts += 1
            place.not_before = time.monotonic() + place.delay
            place.delay = min(place.delay * 2, _LONGEST_DELAY)
        if place.engines and time.monotonic() >= place.not_before:
            with contextlib.suppress(Misconfigured):
                place.runner = await self._start(place)

    async def _start(self, place: _Place) -> Runner:
        place.starts += 1
        name = f"{place.workspace_id}-{place.starts:02d}"
        folder = self._settings.layout.runners / name
        folder.mkdir(mode=0o700)
        spec, slots = self._spec(name, folder, place)
        started = await self._driver.start(spec)
        client = UnixClient(str(folder / "runner.sock"), host="runner")
        self._tell(Action.RUNNER_START, name, place.workspace_id)
        return Runner(name, place.workspace_id, folder, started, client, slots, spec.log)

    async def _until_ready(self, runner: Runner, timeout: float = 180.0) -> None:
        deadline = time.monotonic() + timeout
        while True:
            await self._ask(runner)
            if runner.ready:
                return
            if not runner.box.alive or time.monotonic() > deadline:
                raise Misconfigured(
                    Problem(
                        "the runner did not start",
                        f"Look at its log: {runner.log}, or run 'freehold doctor'.",
                    )
                )
            await asyncio.sleep(0.05)

    async def _ask(self, runner: Runner) -> None:
        try:
            async with asyncio.timeout(2), runner.client.request("GET", "/health") as response:
                runner.health = msgspec.json.decode(await response.read(), type=RunnerHealth)
                runner.missed = 0
        except (PeerGone, TimeoutError, msgspec.DecodeError):
            if runner.health is not None and runner.health.ready:  # while it loads it may not answer
                runner.missed += 1

    def _publish(self) -> None:
        """Write who is ready now, if that is another list than the last."""
        live = [
            LiveRunner(runner.name, runner.workspace_id, str(runner.folder / "runner.sock"), runner.slots)
            for runner, _ in self.all()
            if runner.ready
        ]
        if live != self._published:
            write_pool_file(self._settings.layout.pool_file, live)
            self._published = live

    async def _drain(self, runner: Runner) -> None:
        """Let a replaced runner finish what it has, then end it."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        await asyncio.sleep(2 * _POLL_SECONDS)  # the gateway has read the new pool by then
        while runner.box.alive and time.monotonic() < deadline:
            await self._ask(runner)
            if runner.health is None or runner.health.in_flight == 0:
                break
            await asyncio.sleep(0.2)
        await self._end(runner, 3.0)

    async def _end(self, runner: Runner, grace: float, reason: Reason = Reason.ASKED) -> None:
        runner.client.close()
        await runner.box.stop(grace)
        shutil.rmtree(runner.folder, ignore_errors=True)
        self._tell(Action.RUNNER_END, runner.name, runner.workspace_id, reason)

    def _tell(self, action: Action, name: str, workspace_id: str, reason: Reason | None = None) -> None:
        """Tell the audit of a box. Not waited for: a box that is needed does not wait for a disk that is full."""
        outcome = Outcome.FAILED if reason is Reason.RUNNER else Outcome.DONE
        event = Event(
            action=action,
            workspace=Id(workspace_id),
            runner=Id(name),
            by=By.SYSTEM,
            outcome=outcome,
            reason=reason,
        )
        self._note(event)

    def _log(self, name: str) -> Path:
        return self._settings.layout.logs / f"runner-{name.rpartition('-')[0]}.log"

    def _spec(self, name: str, folder: Path, place: _Place) -> tuple[BoxSpec, int]:
        """The box for a workspace's engines: what it sees, what it may use, what it is told."""
        mounts: list[Mount] = []

        def seen(host: Path, inside: str, writable: bool = False) -> str:
            mount = Mount(host, inside, writable)
            mounts.append(mount)
            return self._driver.inside(mount)

        home = seen(folder, "/run/freehold", writable=True)
        weights, engines = 0, []
        for number, engine in enumerate(place.engines):
            engines.append(self._engine_config(engine, number, seen))
            if engine.kind == "llamacpp":
                weights += self._store.resolve(engine.model).bytes
        config = box.RunnerConfig(
            socket=f"{home}/runner.sock",
            sealed=self._driver.name != "process",
            readable=tuple(self._driver.inside(m) for m in mounts if not m.writable),
            writable=(home,),
            engines=tuple(engines),
        )
        spec = BoxSpec(
            name=name,
            argv=tuple(python_command("freehold.runner")),
            stdin=box.encode(config),
            mounts=tuple(mounts),
            memory_bytes=self._settings.runner.memory_bytes or min(total_memory(), weights * 2 + 4 * _SPARE_BYTES),
            threads=_THREADS,
            open_files=_OPEN_FILES,
            log=self._log(name),
        )
        local = [e for e in place.engines if e.kind == "llamacpp"]
        return spec, self._settings.runner.slots if local else 16

    def _engine_config(self, engine: Served, number: int, seen: Seen) -> box.EngineConfig:
        runner = self._settings.runner
        if engine.kind == "openai":
            relay = seen(self._settings.layout.egress / engine.workspace_id, "/run/egress")
            address = urlsplit(engine.url or "")
            return box.OutsideEngine(
                name=engine.name,
                relay=f"{relay}/relay.sock",
                host=address.netloc,
                base_path=address.path.rstrip("/") or "/v1",
                model=engine.model,
            )
        model = self._store.resolve(engine.model)
        paths = [seen(self._store.path(file), f"/models/{number}-{file.name}") for file in model.files]
        if engine.kind == "embedder":
            onnx = next(i for i, file in enumerate(model.files) if file.name.endswith(".onnx"))
            return box.Embedder(name=engine.name, model_path=paths[onnx], tokenizer_path=paths[1 - onnx])
        return box.LlamaCpp(
            name=engine.name,
            path=paths[0],
            context_tokens=runner.context_tokens,
            slots=runner.slots,
            decode_threads=runner.decode_threads or 1,
            batch_threads=runner.batch_threads or os.cpu_count() or 1,
        )
