"""The live runners of each workspace, and leases of their slots. The gateway holds one `Pools`.

The supervisor writes which runners live into one small file, replaced whole; the gateway reads it again when it
changes. A lease is one engine slot of one runner for one exchange: the runner with the most free slots is taken, a full
pool makes the exchange wait in a bounded line, and who cannot be served in time is told so with a 503.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from freehold.protocol.background import during
from freehold.protocol.errors import Unavailable
from freehold.protocol.http import UnixClient
from freehold.settings import write_private

_POLL_SECONDS = 0.2


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


@dataclass
class _Member:
    runner: LiveRunner
    client: UnixClient
    leased: int = 0

    @property
    def free(self) -> int:
        return self.runner.slots - self.leased


@dataclass
class _Pool:
    members: dict[str, _Member] = field(default_factory=dict)
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    def wake(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
                return


class Pools:
    """Leases runners. Use as `async with Pools(file, …).running() as pools`."""

    def __init__(self, file: Path, *, max_waiting: int, max_wait: float) -> None:
        self._file = file
        self._max_waiting = max_waiting
        self._max_wait = max_wait
        self._pools: dict[str, _Pool] = {}
        self._stamp: tuple[int, int] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Pools"]:
        """Follow the file while the block runs."""
        self._refresh()
        async with during(self._follow()):
            yield self

    @contextlib.asynccontextmanager
    async def lease(self, workspace_id: str) -> AsyncIterator[UnixClient]:
        """One slot of one runner of the workspace, for the block. Raises Unavailable 503 when none is free in time."""
        member = await self._take(workspace_id)
        try:
            yield member.client
        finally:
            member.leased -= 1
            if pool := self._pools.get(workspace_id):
                pool.wake()

    def load(self, workspace_id: str) -> tuple[int, int, int]:
        """(slots leased, slots in all, exchanges waiting) of a workspace now."""
        pool = self._pools.get(workspace_id, _Pool())
        members = pool.members.values()
        return sum(m.leased for m in members), sum(m.runner.slots for m in members), len(pool.waiting)

    async def _take(self, workspace_id: str) -> _Member:
        pool = self._pools.get(workspace_id)
        if pool is None or not pool.members:
            raise Unavailable("The model is being started. Try again in a moment.", code="not_ready", retry_after=2)
        if not pool.waiting and (member := _freest(pool)):
            return member
        if len(pool.waiting) >= self._max_waiting:
            raise _busy(self._max_wait)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pool.waiting.append(future)
        try:
            async with asyncio.timeout(self._max_wait):
                while True:
                    await future
                    if pool.waiting[0] is future and (member := _freest(pool)):
                        return member
                    position = pool.waiting.index(future)
                    future = pool.waiting[position] = asyncio.get_running_loop().create_future()
        except TimeoutError:
            raise _busy(self._max_wait) from None
        finally:
            pool.waiting.remove(future)
            if any(m.free > 0 for m in pool.members.values()):
                pool.wake()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            self._refresh()

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
                    pool.members[name] = _Member(runner, UnixClient(runner.socket, host="runner"))
            pool.wake()


def _freest(pool: _Pool) -> _Member | None:
    member = max(pool.members.values(), key=lambda m: m.free, default=None)
    if member is None or member.free <= 0:
        return None
    member.leased += 1
    return member


def _busy(wait: float) -> Unavailable:
    return Unavailable(
        "All of the model's places are taken. Try again in a moment.", code="overloaded", retry_after=min(wait, 10)
    )
