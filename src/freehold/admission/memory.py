"""The store of one process: for tests, for a single worker, and for the stated share when the common store is away."""

import time
from collections.abc import Callable, Sequence

from freehold.admission import gcra
from freehold.admission.store import Change, Rate, Slot, Taken

_SWEEP_EVERY = 4096


class MemoryStore:
    """See `store.Store`. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: dict[bytes, int] = {}
        self._held: dict[bytes, int] = {}
        self._calls = 0

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """See `store.Store`."""
        now = int(self._clock() * gcra.MICROSECONDS)
        arrivals = self._arrivals
        refused, longest = None, 0.0
        ends: list[int] = []
        for index, rate in enumerate(rates):
            after, wait = gcra.decide(arrivals.get(rate.key, 0), now, rate.cost, rate.limit, rate.period)
            ends.append(after)
            if wait > longest:
                refused, longest = index, wait
        if refused is None:
            for index, slot in enumerate(slots):
                if self._held.get(slot.key, 0) >= slot.limit:
                    refused = len(rates) + index
                    break
        if refused is not None:
            for rate in rates:
                if arrivals.get(rate.key, 0) > (latest := gcra.latest(now, rate.period)):
                    arrivals[rate.key] = latest
            return Taken(refused, longest, self._remaining(rates, now))
        for rate, after in zip(rates, ends, strict=True):
            arrivals[rate.key] = after
        for slot in slots:
            self._held[slot.key] = self._held.get(slot.key, 0) + 1
        self._sweep(now)
        return Taken(None, 0.0, self._remaining(rates, now), tuple(ends))

    def settle(self, changes: Sequence[Change], slots: Sequence[Slot], lease: str) -> None:
        """See `store.Store`."""
        now = int(self._clock() * gcra.MICROSECONDS)
        arrivals = self._arrivals
        for change in changes:
            arrivals[change.key] = gcra.settled(
                arrivals.get(change.key, 0), now, change.units, change.end, change.limit, change.period
            )
        for slot in slots:
            held = self._held.pop(slot.key, 0) - 1
            if held > 0:
                self._held[slot.key] = held

    def _remaining(self, rates: Sequence[Rate], now: int) -> tuple[int, ...]:
        return tuple([gcra.remaining(self._arrivals.get(r.key, 0), now, r.limit, r.period) for r in rates])

    def _sweep(self, now: int) -> None:
        self._calls += 1
        if self._calls % _SWEEP_EVERY == 0:
            self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}
