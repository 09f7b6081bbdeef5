"""What a store must do, said as plainly as possible and by other means: buckets that leak, and lists of who holds."""

from collections.abc import Callable, Sequence
from fractions import Fraction

from freehold.admission.gcra import MICROSECONDS
from freehold.admission.store import Change, Rate, Slot, Taken


class NaiveStore:
    """Each key is a bucket that holds `limit` units at most and leaks them evenly; levels are exact fractions."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._levels: dict[bytes, tuple[Fraction, Fraction]] = {}
        self._holders: dict[bytes, list[str]] = {}

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """See `store.Store`."""
        now = self._now()
        waits: list[float] = []
        for rate in rates:
            over = self._level(rate, now) + rate.cost - rate.limit
            seconds = over * Fraction(rate.period) / rate.limit / MICROSECONDS
            waits.append(float("inf") if rate.cost > rate.limit else max(0.0, float(seconds)))
        if any(waits):
            self._bound(rates, now)
            return Taken(waits.index(max(waits)), max(waits), self._left(rates, now))
        for index, slot in enumerate(slots):
            if len(self._holders.get(slot.key, [])) >= slot.limit:
                self._bound(rates, now)
                return Taken(len(rates) + index, 0.0, self._left(rates, now))
        ends: list[int] = []
        for rate in rates:
            level = self._level(rate, now) + rate.cost
            self._levels[rate.key] = (level, now)
            ends.append(int(now + level * Fraction(rate.period) / rate.limit))
        for slot in slots:
            self._holders.setdefault(slot.key, []).append(lease)
        return Taken(None, 0.0, self._left(rates, now), tuple(ends))

    def settle(self, changes: Sequence[Change], slots: Sequence[Slot], lease: str) -> None:
        """See `store.Store`."""
        now = self._now()
        for change in changes:
            units = Fraction(change.units)
            if units < 0:  # only what has not leaked since
                not_leaked = max(Fraction(0), (change.end - now) * change.limit / Fraction(change.period))
                units = -min(-units, not_leaked)
            self._levels[change.key] = (max(Fraction(0), self._level(change, now) + units), now)
        for slot in slots:
            self._holders[slot.key].remove(lease)

    def _bound(self, rates: Sequence[Rate], now: Fraction) -> None:
        """What is over two limits is forgotten by a refusal."""
        for rate in rates:
            level, then = self._levels.get(rate.key, (Fraction(0), now))
            if level - (now - then) * rate.limit / Fraction(rate.period) > 2 * rate.limit:
                self._levels[rate.key] = (Fraction(2 * rate.limit), now)

    def _level(self, of: Rate | Change, now: Fraction) -> Fraction:
        level, then = self._levels.get(of.key, (Fraction(0), now))
        leaked = (now - then) * of.limit / Fraction(of.period)
        return max(Fraction(0), min(level - leaked, Fraction(2 * of.limit)))

    def _left(self, rates: Sequence[Rate], now: Fraction) -> tuple[int, ...]:
        return tuple([max(0, int(rate.limit - self._level(rate, now))) for rate in rates])

    def _now(self) -> Fraction:
        return Fraction(int(self._clock() * MICROSECONDS))
