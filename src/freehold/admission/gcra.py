"""The generic cell rate algorithm as pure functions: the one rule by which every store decides.

ITU-T I.371 in its virtual scheduling form. A limit of `limit` units in `period` seconds lets a unit through every
`period / limit` seconds and a burst of `limit` at once. All that is remembered of a key is its theoretical arrival
time: when it would be as good as new. The Lua script of the Valkey store says the same; a property test holds them
together.
"""

from typing import NamedTuple


class Decision(NamedTuple):
    """`arrival` is what to remember when it is allowed. `wait` (s) is 0 when allowed, else when it will be."""

    allowed: bool
    arrival: float
    wait: float


def decide(arrival: float, now: float, cost: int, limit: int, period: float) -> Decision:
    """May `cost` units pass at `now`? `arrival` is what was remembered, 0 for a new key. Times in seconds.

    A cost of more than `limit` never may: its wait is infinite.
    """
    begun = arrival if arrival > now else now
    after = begun + cost * period / limit
    wait = after - now - period
    if wait <= 1e-9:
        return Decision(True, after, 0.0)
    return Decision(False, arrival, wait if cost <= limit else float("inf"))


def adjusted(arrival: float, now: float, units: int, limit: int, period: float) -> float:
    """What to remember after `units` more (or, negative, fewer) were used than was decided on."""
    begun = arrival if arrival > now else now
    return begun + units * period / limit


def remaining(arrival: float, now: float, limit: int, period: float) -> int:
    """How many units could pass at `now`."""
    left = period - max(0.0, arrival - now)
    return max(0, min(limit, int(left * limit / period + 1e-6)))
