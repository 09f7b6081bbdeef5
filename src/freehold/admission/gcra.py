"""The generic cell rate algorithm as pure functions: the one rule by which every store decides.

ITU-T I.371 in its virtual scheduling form. A limit of `limit` units in a period lets a unit through every
`period / limit` and a burst of `limit` at once. All that is remembered of a key is its theoretical arrival time: when
it would be as good as new. Times are whole microseconds, so that a limit of N admits N and not N - 1 for rounding, and
so that the Lua script of the Valkey store, whose numbers are doubles, says exactly the same; a property test holds them
together.

No arrival counts for more than two periods ahead: a clock that goes back, or a damaged number, locks nobody out for
longer than that.
"""

import math

MICROSECONDS = 1_000_000


def decide(arrival: int, now: int, cost: int, limit: int, period: float) -> tuple[int, float]:
    """May `cost` units pass at `now`? `arrival` is what was remembered, 0 for a new key; all of them in µs.

    Gives what to remember if it passes, and how long (s) to wait until it may: 0 for now, infinite for never, which is
    the answer to a cost of more than `limit`.
    """
    begun = now if arrival <= now else min(arrival, now + 2 * int(period))
    after = begun + int(cost * period / limit)
    over = after - now - int(period)
    if over <= 0:
        return after, 0.0
    return after, over / MICROSECONDS if cost <= limit else math.inf


def latest(now: int, period: float) -> int:
    """The theoretical arrival time beyond which none counts. A store that finds a later one and refuses writes this in
    its place: else a clock that has gone back would be waited for."""
    return now + 2 * int(period)


def settled(arrival: int, now: int, units: int, end: int, limit: int, period: float) -> int:
    """What to remember after `units` more (or, negative, fewer) were used than had been reserved.

    `end` is what `decide` gave for the reservation. Of what was reserved too much only that is given back whose time
    has not come yet: the rest has long made room for others, and would do so twice.
    """
    begun = now if arrival <= now else min(arrival, now + 2 * int(period))
    if units >= 0:
        return begun + int(units * period / limit)
    return begun - min(int(-units * period / limit), max(0, end - now))


def remaining(arrival: int, now: int, limit: int, period: float) -> int:
    """How many units could pass at `now`."""
    left = period - max(0, arrival - now)
    return max(0, min(limit, int(left * limit / period + 1e-6)))
