"""Whether two things can be told apart by how long they take (BAR-8, BAR-18, BAR-22)."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence

Probe = Callable[[], Awaitable[object]]


def area(timed: Sequence[tuple[float, bool]]) -> float:
    """The area under the curve (Mann-Whitney) of as many times of one thing (True) as of another: 0.5 is a coin."""
    ranks = sum(rank for rank, (_, one) in enumerate(sorted(timed), 1) if one)
    samples = len(timed) // 2
    return (ranks - samples * (samples + 1) / 2) / samples**2


async def told_apart(one: Probe, other: Probe, samples: int, seed: int) -> float:
    """The area under the curve of so many samples of both, interleaved in a random order."""
    order = [one, other] * samples
    random.Random(seed).shuffle(order)  # noqa: S311 - an order, not a secret
    timed: list[tuple[float, bool]] = []
    for probe in order:
        began = time.perf_counter()
        await probe()
        timed.append((time.perf_counter() - began, probe is one))
    return area(timed)
