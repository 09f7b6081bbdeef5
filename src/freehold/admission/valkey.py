"""The store of replicas: Valkey or Redis by URL, one script call for each `take` and `settle`, on the server's clock.

Slots are leases that run out, so that a replica that dies gives them back; a holder renews its own in the background.
When the server cannot be reached within a second the answer is a refusal (`refuse`), or a stated part of each limit is
kept in this process's memory (`share`); never is anything unlimited.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import msgspec
import redis.asyncio as client
from redis.exceptions import NoScriptError, RedisError

from freehold.admission.memory import MemoryStore
from freehold.admission.store import Rate, Slot, Taken
from freehold.protocol.background import during
from freehold.protocol.errors import Unavailable

LEASE_SECONDS = 30.0
_TIMEOUT = 0.8

# gcra.py in Lua. KEYS: rates, then slots. ARGV: now or "", lease, lease seconds, number of rates; then limit, period
# and cost of each rate; then the limit of each slot. Numbers go as text of 17 digits: Lua's own lose microseconds.
_NOW = """
local now = tonumber(ARGV[1])
if not now then local t = redis.call('TIME'); now = t[1] + t[2] / 1e6 end
local lease, seconds, rates = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local function digits(x) return string.format('%.17g', x) end
"""
_TAKE = (
    _NOW
    + """
local arrivals, refused, wait = {}, -1, 0
for i = 1, rates do
  local limit, period, cost = tonumber(ARGV[3*i+2]), tonumber(ARGV[3*i+3]), tonumber(ARGV[3*i+4])
  local arrival = tonumber(redis.call('GET', KEYS[i]) or '0')
  local begun = arrival > now and arrival or now
  local after = begun + cost * period / limit
  arrivals[i] = {arrival, after, limit, period}
  if refused < 0 and after - now - period > 1e-9 then
    refused = i - 1
    wait = cost <= limit and after - now - period or 1/0
  end
end
local slots = #KEYS - rates
for i = 1, slots do
  if refused < 0 then
    local key, limit = KEYS[rates+i], tonumber(ARGV[4+3*rates+i])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= limit then refused = rates + i - 1 end
  end
end
local answer = {refused, digits(wait)}
for i = 1, rates do
  local arrival, after, limit, period = unpack(arrivals[i])
  if refused < 0 then
    redis.call('SET', KEYS[i], digits(after), 'PX', math.ceil((after - now) * 1000) + 1000)
    arrival = after
  end
  local left = period - math.max(0, arrival - now)
  answer[i+2] = math.max(0, math.min(limit, math.floor(left * limit / period + 1e-6)))
end
if refused < 0 then
  for i = 1, slots do
    redis.call('ZADD', KEYS[rates+i], digits(now + seconds), lease)
    redis.call('PEXPIRE', KEYS[rates+i], math.ceil(seconds * 1000) + 1000)
  end
end
return answer
"""
)
_SETTLE = (
    _NOW
    + """
for i = 1, rates do
  local limit, period, cost = tonumber(ARGV[3*i+2]), tonumber(ARGV[3*i+3]), tonumber(ARGV[3*i+4])
  local arrival = tonumber(redis.call('GET', KEYS[i]) or '0')
  local after = (arrival > now and arrival or now) + cost * period / limit
  if after > now then
    redis.call('SET', KEYS[i], digits(after), 'PX', math.ceil((after - now) * 1000) + 1000)
  else
    redis.call('DEL', KEYS[i])
  end
end
for i = rates + 1, #KEYS do redis.call('ZREM', KEYS[i], lease) end
return 0
"""
)
_RENEW = (
    _NOW
    + """
for i = rates + 1, #KEYS do
  redis.call('ZADD', KEYS[i], 'XX', digits(now + seconds), lease)
  redis.call('PEXPIRE', KEYS[i], math.ceil(seconds * 1000) + 1000)
end
return 0
"""
)


class ValkeyStore:
    """See `store.Store`. Use as `async with ValkeyStore(url).running() as store`.

    `share` is the part (0 to 1) of each limit that this process grants by itself while the server is away; 0: refuse.
    `clock` replaces the server's clock in tests.
    """

    def __init__(
        self, url: str, *, prefix: str = "freehold", share: float = 0.0, clock: Callable[[], float] | None = None
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._share = share
        self._clock = clock
        self._held: dict[str, tuple[Slot, ...]] = {}
        self._local = MemoryStore()
        self._alone: set[str] = set()  # leases that were taken here while the server was away
        self._client: client.Redis
        self._digests: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ValkeyStore"]:
        """Connect, and renew leases while the block runs."""
        self._client = client.Redis.from_url(self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        try:
            async with during(self._renew()):
                yield self
        finally:
            await self._client.aclose()

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """See `store.Store`."""
        try:
            refused, wait, *remaining = await self._run(_TAKE, rates, slots, lease)
        except (RedisError, OSError, TimeoutError):
            if not self._share:
                raise Unavailable(
                    "The limits cannot be looked up at the moment. Try again later.",
                    code="limiter_unavailable",
                    retry_after=5,
                ) from None
            self._alone.add(lease)
            return await self._local.take(*self._part(rates, slots), lease)
        if refused >= 0:
            return Taken(refused, float(wait), tuple(remaining))
        if slots:
            self._held[lease] = tuple(slots)
        return Taken(None, 0.0, tuple(remaining))

    async def settle(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> None:
        """See `store.Store`. What cannot be settled runs out by itself: a lease after `LEASE_SECONDS`."""
        if lease in self._alone:
            self._alone.discard(lease)
            await self._local.settle(*self._part(rates, slots), lease)
            return
        self._held.pop(lease, None)
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self._run(_SETTLE, rates, slots, lease)

    def _part(self, rates: Sequence[Rate], slots: Sequence[Slot]) -> tuple[list[Rate], list[Slot]]:
        part = self._share
        return (
            [msgspec.structs.replace(rate, limit=max(1, int(rate.limit * part))) for rate in rates],
            [msgspec.structs.replace(slot, limit=max(1, int(slot.limit * part))) for slot in slots],
        )

    async def _run(self, script: str, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> list[Any]:
        named = [entry.key for entry in rates] + [entry.key for entry in slots]
        keys = [f"{self._prefix}:{{limits}}:{key.hex()}" for key in named]
        now = "" if self._clock is None else repr(self._clock())
        arguments: list[Any] = [now, lease, LEASE_SECONDS, len(rates)]
        for rate in rates:
            arguments += [rate.limit, repr(float(rate.period)), rate.cost]
        arguments += [slot.limit for slot in slots]
        for attempt in (0, 1):
            digest = self._digests.get(script) or await self._load(script)
            try:
                return cast("list[Any]", await self._client.evalsha(digest, len(keys), *keys, *arguments))
            except NoScriptError:  # the server was restarted
                self._digests.clear()
                if attempt:
                    raise
        raise AssertionError

    async def _load(self, script: str) -> str:
        self._digests[script] = str(await self._client.script_load(script))
        return self._digests[script]

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            for lease, slots in list(self._held.items()):
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await self._run(_RENEW, (), slots, lease)
