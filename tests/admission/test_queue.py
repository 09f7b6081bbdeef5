"""Places: who waits gets one in turn, who leaves gives it up, who cannot have one in time is told when to come back."""

import asyncio
import random

import pytest

from freehold.admission.fair import Bounds
from freehold.admission.queue import AdmissionQueue
from freehold.protocol.errors import Refused, Unavailable


class Pool:
    """So many places, counted."""

    def __init__(self, slots: int) -> None:
        self.total = slots
        self.used = 0

    def free(self, workspace_id: str) -> int:
        return self.total - self.used

    def slots(self, workspace_id: str) -> int:
        return self.total


def queue_of(pool: Pool, *, count: int = 100, of_one: int = 50, wait: float = 1e6) -> AdmissionQueue:
    return AdmissionQueue(pool, Bounds(count, 1 << 20, of_one), {"interactive": wait, "standard": wait, "batch": wait})


async def exchange(queue: AdmissionQueue, pool: Pool, who: str, order: list[str], turns: int = 3) -> None:
    async with queue.place("ws", "m", who) as place:
        pool.used += 1
        assert pool.used <= pool.total
        order.append(who)
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            pool.used -= 1
        place.served(10)
        queue.changed("ws")


async def test_all_are_served_in_fair_order() -> None:
    pool, order = Pool(1), list[str]()
    queue = queue_of(pool)
    tasks = [asyncio.create_task(exchange(queue, pool, "flood", order)) for _ in range(20)]
    tasks += [asyncio.create_task(exchange(queue, pool, f"q{n}", order)) for n in range(3)]
    await asyncio.gather(*tasks)
    assert set(order[:6]) == {"flood", "q0", "q1", "q2"}
    assert len(order) == 23
    assert all(figures.depth == figures.in_flight == 0 for figures in queue.figures().values())


async def test_who_leaves_at_any_point_leaves_nothing_behind() -> None:
    pool, order, chance = Pool(2), list[str](), random.Random(3)  # noqa: S311 - when they leave
    queue = queue_of(pool)
    for _ in range(60):
        tasks = [asyncio.create_task(exchange(queue, pool, f"p{n % 3}", order, 5)) for n in range(12)]
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        for task in chance.sample(tasks, 6):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        queue.changed("ws")
        assert pool.used == 0
        assert all(figures.depth == figures.in_flight == 0 for figures in queue.figures().values())
        assert queue.room("ws") == 2


async def test_who_cannot_start_in_time_is_told_when_to_come_back() -> None:
    pool = Pool(1)
    pool.used = 1
    queue = queue_of(pool, wait=0.05)
    with pytest.raises(Unavailable) as caught:
        async with queue.place("ws", "m", "a"):
            pass
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    assert caught.value.retry_after
    queue = queue_of(pool, of_one=1)
    first = asyncio.create_task(exchange(queue, pool, "a", []))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        async with queue.place("ws", "m", "a"):
            pass
    assert (refused.value.status, refused.value.code) == (429, "too_many_waiting")
    pool.used = 0
    queue.changed("ws")
    await first


async def test_who_waits_is_told_its_position() -> None:
    pool, told = Pool(1), list[tuple[int, float]]()
    pool.used = 1
    queue = queue_of(pool)

    async def wait(who: str, heard: list[tuple[int, float]]) -> None:
        async with queue.place("ws", "m", who, on_wait=lambda position, seconds: heard.append((position, seconds))):
            pool.used += 1

    first = asyncio.create_task(wait("a", []))
    await asyncio.sleep(0)
    second = asyncio.create_task(wait("b", told))
    await asyncio.sleep(0)
    assert told[-1][0] == 1
    pool.used = 0
    queue.changed("ws")
    await first
    assert told[-1][0] == 0
    pool.used = 0
    queue.changed("ws")
    await second
