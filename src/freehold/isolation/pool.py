"""The live runners of each workspace, and which of them an exchange goes to. The gateway holds one `Pools`.

The supervisor writes which runners live into one small file, replaced whole; the gateway reads it again when it
changes. Who waits for a place is the admission queue's business; this file says how many places are free and gives out
one: to the runner that holds a conversation's cache unless that one is over its share (consistent hashing with bounded
loads, Mirrokni et al. 2016, over rendezvous ranks), else to the one with the least outstanding work. A runner that
fails an exchange gets no other until it has answered a probe.
"""

import asyncio
import contextlib
import hashlib
import math
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from freehold.protocol.background import during
from freehold.protocol.chat import RunnerHealth
from freehold.protocol.errors import Unavailable
from freehold.protocol.http import PeerGone, UnixClient
from freehold.protocol.pushed import PushClient
from freehold.settings import write_private

_POLL_SECONDS = 0.2
_PROBE_SECONDS = (0.5, 30.0)
"""The first wait before a failed runner is probed, and the longest; each failure doubles it."""

_SHARE = 1.25
"""How much of the mean load the runner that holds a conversation's cache may have."""


Affinity = Callable[[], bytes]
"""Gives what is equal for the exchanges of one conversation; asked only where there is a choice."""


class LiveRunner(msgspec.Struct, frozen=True):
    """One runner as the supervisor sees it. `slots` is how many exchanges it serves at once."""

    name: str
    workspace_id: str
    socket: str
    slots: int


class PoolFile(msgspec.Struct, frozen=True):
    """What the file holds."""

    runners: tuple[LiveRunner, ...] = ()


def write_pool_file(path: Path, runners: list[LiveRunner]) -> None:
    """Replace the file (supervisor)."""
    write_private(path, msgspec.json.encode(PoolFile(tuple(runners))))


@dataclass(eq=False)
class Member:
    """A runner with its load. `outstanding` counts the exchanges that it has now."""

    runner: LiveRunner
    client: PushClient
    seed: bytes
    outstanding: int = 0
    failures: int = 0
    probe_at: float | None = None
    """When to ask a failed runner whether it is well again; None: it is."""

    @property
    def free(self) -> int:
        """Places that an exchange can have now."""
        return self.runner.slots - self.outstanding if self.probe_at is None else 0


@dataclass(eq=False)
class _Pool:
    members: dict[str, Member] = field(default_factory=dict)
    outstanding: int = 0

    def choose(self, affinity: Affinity | None, avoid: Member | None) -> Member | None:
        free = [m for m in self.members.values() if m.free > 0 and m is not avoid]
        if len(free) <= 1:
            return free[0] if free else None
        if affinity is not None:
            same = affinity()
            bound = math.ceil(_SHARE * (self.outstanding + 1) / len(self.members))
            ranked = max(free, key=lambda m: hashlib.blake2b(same, key=m.seed, digest_size=8).digest())
            if ranked.outstanding < bound:
                return ranked
        return min(free, key=lambda m: m.outstanding / m.runner.slots)


class Lease:
    """One place of one runner, for the block: `with pools.lease(…) as runner`."""

    __slots__ = ("_on_free", "_pool", "member")

    def __init__(self, pool: _Pool, member: Member, on_free: Callable[[], None]) -> None:
        self._pool = pool
        self.member = member
        self._on_free = on_free

    def __enter__(self) -> Member:
        self.member.outstanding += 1
        self._pool.outstanding += 1
        return self.member

    def __exit__(self, *_: object) -> None:
        self.member.outstanding -= 1
        self._pool.outstanding -= 1
        self._on_free()


class Pools:
    """Knows the runners. Use as `async with Pools(file).running() as pools`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._pools: dict[str, _Pool] = {}
        self._stamp: tuple[int, int] | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._probes: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Pools"]:
        """Follow the file while the block runs."""
        self._refresh()
        async with during(self._follow()):
            yield self
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        for pool in self._pools.values():
            for member in pool.members.values():
                member.client.close()

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the workspace's id when places of it become free, or more or fewer."""
        self._listeners.append(listener)

    def free(self, workspace_id: str) -> int:
        """How many places are free now. Raises Unavailable when the workspace has no runner at all."""
        pool = self._pools.get(workspace_id)
        if pool is None or not pool.members:
            raise Unavailable("The model is being started. Try again in a moment.", code="not_ready", retry_after=2)
        return sum(m.free for m in pool.members.values())

    def slots(self, workspace_id: str) -> int:
        """How many places there are in all, those of failed runners not counted."""
        pool = self._pools.get(workspace_id)
        return sum(m.runner.slots for m in pool.members.values() if m.probe_at is None) if pool else 0

    def lease(self, workspace_id: str, *, affinity: Affinity | None = None, avoid: Member | None = None) -> Lease:
        """A place of a runner. `avoid` has just failed.

        Raises Unavailable 503 when none is free.
        """
        pool = self._pools.get(workspace_id)
        member = pool.choose(affinity, avoid) if pool else None
        if pool is None or member is None:
            raise Unavailable("The model is being started. Try again in a moment.", code="not_ready", retry_after=2)
        return Lease(pool, member, lambda: self._tell(workspace_id))

    def failed(self, member: Member) -> None:
        """A real exchange found that the runner is gone: nothing goes there until a probe was answered."""
        first, most = _PROBE_SECONDS
        member.probe_at = asyncio.get_running_loop().time() + min(most, first * 2**member.failures)
        member.failures += 1

    def well(self, member: Member) -> None:
        """A real exchange went well."""
        member.failures = 0

    def _tell(self, workspace_id: str) -> None:
        for listener in self._listeners:
            listener(workspace_id)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            self._refresh()
            now = asyncio.get_running_loop().time()
            for pool in self._pools.values():
                for member in pool.members.values():
                    if member.probe_at is not None and member.probe_at <= now:
                        member.probe_at = now + _PROBE_SECONDS[1]
                        task = asyncio.create_task(self._probe(member))
                        self._probes.add(task)
                        task.add_done_callback(self._probes.discard)

    async def _probe(self, member: Member) -> None:
        client = UnixClient(member.runner.socket, host="runner")
        try:
            async with asyncio.timeout(5), client.request("GET", "/health") as response:
                ready = msgspec.json.decode(await response.read(64 << 10), type=RunnerHealth).ready
        except (PeerGone, TimeoutError, msgspec.DecodeError):
            ready = False
        finally:
            client.close()
        if ready:
            member.probe_at = None
            self._tell(member.runner.workspace_id)
        else:
            self.failed(member)

    def _refresh(self) -> None:
        try:
            info = os.stat(self._file)
            stamp = (info.st_mtime_ns, info.st_ino)
            if stamp == self._stamp:
                return
            runners = msgspec.json.decode(self._file.read_bytes(), type=PoolFile).runners
        except (OSError, msgspec.DecodeError):
            return
        self._stamp = stamp
        for workspace_id in {runner.workspace_id for runner in runners} | set(self._pools):
            pool = self._pools.setdefault(workspace_id, _Pool())
            mine = {runner.name: runner for runner in runners if runner.workspace_id == workspace_id}
            for name in set(pool.members) - set(mine):
                pool.members.pop(name).client.close()
            for name, runner in mine.items():
                if name not in pool.members or pool.members[name].runner != runner:
                    seed = hashlib.blake2b(name.encode(), digest_size=16).digest()
                    pool.members[name] = Member(runner, PushClient(runner.socket), seed)
            self._tell(workspace_id)
