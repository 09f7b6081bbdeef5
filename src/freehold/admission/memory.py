"""The store of one process: for tests, for a single worker, and for the stated share when the common store is away."""

import time
from collections.abc import Callable, Sequence

from freehold.admission import gcra
from freehold.admission.store import Rate, Slot, Taken

_SWEEP_EVERY = 4096


class MemoryStore:
    """See `store.Store`. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: dict[bytes, float] = {}
        self._held: dict[bytes, set[str]] = {}
        self._calls = 0

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """See `store.Store`."""
        now = self._clock()
        arrivals, decided = self._arrivals, []
        for index, rate in enumerate(rates):
            decision = gcra.decide(arrivals.get(rate.key, 0.0), now, rate.cost, rate.limit, rate.period)
            if not decision.allowed:
                return Taken(index, decision.wait, self._remaining(rates, now))
            decided.append(decision.arrival)
        for index, slot in enumerate(slots):
            if len(self._held.get(slot.key, ())) >= slot.limit:
                return Taken(len(rates) + index, 0.0, self._remaining(rates, now))
        for rate, arrival in zip(rates, decided, strict=True):
            arrivals[rate.key] = arrival
        for slot in slots:
            self._held.setdefault(slot.key, set()).add(lease)
        self._sweep(now)
        return Taken(None, 0.0, self._remaining(rates, now))

    async def settle(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> None:
        """See `store.Store`."""
        now = self._clock()
        for rate in rates:
            arrival = self._arrivals.get(rate.key, 0.0)
            self._arrivals[rate.key] = gcra.adjusted(arrival, now, rate.cost, rate.limit, rate.period)
        for slot in slots:
            if held := self._held.get(slot.key):
                held.discard(lease)
                if not held:
                    del self._held[slot.key]

    def _remaining(self, rates: Sequence[Rate], now: float) -> tuple[int, ...]:
        return tuple([gcra.remaining(self._arrivals.get(r.key, 0.0), now, r.limit, r.period) for r in rates])

    def _sweep(self, now: float) -> None:
        self._calls += 1
        if self._calls % _SWEEP_EVERY == 0:
            self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}
