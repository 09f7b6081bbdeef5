"""The store of replicas: Valkey or Redis by URL, one script call for each `take` and `settle`, on the server's clock.

Slots are leases that run out, so that a replica that dies gives them back; a holder renews its own in the background.
When the server cannot be reached within a second the answer is a refusal (`refuse`), or a stated part of each limit is
kept in this process's memory (`share`); never is anything unlimited.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

import msgspec
import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from freehold.admission import lua
from freehold.admission.gcra import MICROSECONDS
from freehold.admission.memory import MemoryStore
from freehold.admission.store import Change, Rate, Slot, Taken
from freehold.protocol.background import during
from freehold.protocol.errors import Unavailable

LEASE_SECONDS = 30.0
_TIMEOUT = 0.8
_CONNECTIONS = 64
_COME_BACK = 5.0  # seconds
_AWAY = (RedisError, OSError, TimeoutError)
_T = TypeVar("_T")


class ValkeyStore:
    """See `store.Store`. Use as `async with ValkeyStore(url).running() as store`.

    Slots that are not renewed are free again after `lease_seconds`.
    `share` is the part (0 to 1) of each limit that this process grants by itself while the server is away; 0: refuse.
    `clock` (s) replaces the server's clock in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "freehold",
        share: float = 0.0,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._share = share
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._held: dict[str, tuple[Slot, ...]] = {}
        self._local = MemoryStore()
        self._alone: set[str] = set()  # leases that were taken here while the server was away
        self._client: client.Redis
        self._digests: dict[str, str] = {}
        self._asked: set[asyncio.Task[Any]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ValkeyStore"]:
        """Connect, and renew leases while the block runs."""
        # never tried again by the client: a script whose answer was lost may have run
        pool = client.BlockingConnectionPool.from_url(
            self._url,
            max_connections=_CONNECTIONS,
            timeout=_TIMEOUT,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = client.Redis.from_pool(pool)
        try:
            async with during(self._renew()):
                yield self
            await asyncio.gather(*self._asked, return_exceptions=True)
        finally:
            await self._client.aclose()

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """See `store.Store`."""
        asking = self._ask(self._take(rates, slots, lease))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda asked: self._undo(asked, rates, slots, lease))
            raise

    def settle(self, changes: Sequence[Change], slots: Sequence[Slot], lease: str) -> asyncio.Task[None] | None:
        """See `store.Store`. What cannot be settled runs out by itself: a lease after its time."""
        if lease in self._alone:
            self._alone.discard(lease)
            self._local.settle([self._part_of(change) for change in changes], slots, lease)
            return None
        self._held.pop(lease, None)
        return self._ask(self._settle(changes, slots, lease))

    async def _take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        entries = [number for rate in rates for number in (rate.limit, int(rate.period), rate.cost)]
        entries += [slot.limit for slot in slots]
        try:
            refused, wait, *found = await self._run(lua.TAKE, [*rates, *slots], len(rates), lease, entries)
        except _AWAY:
            if not self._share:
                raise Unavailable(
                    "The limits cannot be looked up at the moment. Try again later.",
                    code="limiter_unavailable",
                    retry_after=_COME_BACK,
                ) from None
            return await self._take_alone(rates, slots, lease)
        remaining = tuple(found[: len(rates)])
        if refused >= 0:
            return Taken(refused, math.inf if wait < 0 else wait / MICROSECONDS, remaining)
        if slots:
            self._held[lease] = tuple(slots)
        return Taken(None, 0.0, remaining, tuple(found[len(rates) :]))

    async def _take_alone(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        taken = await self._local.take(
            [self._part_of(rate) for rate in rates], [self._part_of(slot) for slot in slots], lease
        )
        if taken.refused is None:
            self._alone.add(lease)
        elif taken.wait == math.inf and rates[taken.refused].cost <= rates[taken.refused].limit:
            return msgspec.structs.replace(taken, wait=_COME_BACK)  # too much for the share, not for the limit
        return taken

    async def _settle(self, changes: Sequence[Change], slots: Sequence[Slot], lease: str) -> None:
        entries = [number for c in changes for number in (c.limit, int(c.period), c.units, c.end)]
        with contextlib.suppress(*_AWAY):
            await self._run(lua.SETTLE, [*changes, *slots], len(changes), lease, entries)

    def _undo(self, asked: "asyncio.Task[Taken]", rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> None:
        """Give back what was taken for somebody who did not wait for it."""
        if asked.cancelled() or asked.exception() is not None or asked.result().refused is not None:
            return
        ends = asked.result().ends
        changes = [Change(r.key, r.limit, r.period, -r.cost, end) for r, end in zip(rates, ends, strict=True)]
        self.settle(changes, slots, lease)

    def _part_of(self, entry: _T) -> _T:
        limit = cast("Rate | Slot | Change", entry).limit
        return cast("_T", msgspec.structs.replace(cast("Any", entry), limit=max(1, int(limit * self._share))))

    def _ask(self, work: Coroutine[None, None, _T]) -> "asyncio.Task[_T]":
        task = asyncio.ensure_future(work)
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def _run(
        self, script: str, named: Sequence[Rate | Slot | Change], rates: int, lease: str, arguments: Sequence[int]
    ) -> list[int]:
        keys = [f"{self._prefix}:{{{entry.key[:4].hex()}}}:{entry.key[4:].hex()}" for entry in named]
        now = "" if self._clock is None else int(self._clock() * MICROSECONDS)
        fixed = (now, lease, int(self._lease_seconds * MICROSECONDS), rates)
        async with asyncio.timeout(_TIMEOUT):
            digest = self._digests.get(script) or await self._load(script)
            try:
                answer = await self._client.evalsha(digest, len(keys), *keys, *fixed, *arguments)
            except NoScriptError:  # the server was restarted
                digest = await self._load(script)
                answer = await self._client.evalsha(digest, len(keys), *keys, *fixed, *arguments)
        return cast("list[int]", answer)

    async def _load(self, script: str) -> str:
        self._digests[script] = digest = str(await self._client.script_load(script))
        return digest

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            for lease, slots in list(self._held.items()):
                try:
                    await self._run(lua.RENEW, slots, 0, lease, ())
                except _AWAY:
                    break
