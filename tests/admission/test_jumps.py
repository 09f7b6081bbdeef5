"""Clocks that jump and stores that are away: at most one window more, never a way around a limit, and refused at once.

Every store with a clock that the test moves: a day forward, a day back, again and again.
"""

import fcntl
import os
import time

import pytest

from freehold.admission.store import Slot, Store
from tests.admission.conftest import Clock, rate
from tests.conftest import Home
from tests.gateway.acting import CHATS, ask, limit, staged

DAY, LIMIT = 86400.0, 20
KEY = b"j" * 16


async def admitted(store: Store, window: float) -> int:
    """How many are let in until one is refused."""
    count = 0
    while (await store.take([rate(KEY, LIMIT, window, 1)], [], "l")).refused is None:
        count += 1
        assert count <= 10 * LIMIT
    return count


@pytest.mark.parametrize("window", [60.0, DAY, 30 * DAY])
@pytest.mark.parametrize("jump", [DAY, -DAY, 3600.0, -3600.0])
async def test_a_jump_gives_one_window_more_at_most(store: Store, clock: Clock, jump: float, window: float) -> None:
    clock.now = 100 * DAY
    assert await admitted(store, window) == LIMIT
    clock.now += jump
    assert await admitted(store, window) <= LIMIT
    clock.now -= jump
    assert await admitted(store, window) <= LIMIT
    total = 0
    for _ in range(10):  # a clock that somebody sets to and fro gives nothing more each time than time itself would
        clock.now += jump
        total += await admitted(store, window)
        clock.now -= jump
        total += await admitted(store, window)
    assert total <= LIMIT * 10 * (abs(jump) / window + 1)


@pytest.mark.parametrize("jump", [-DAY, -3600.0])
async def test_a_jump_back_locks_nobody_out_for_longer_than_two_windows(
    store: Store, clock: Clock, jump: float
) -> None:
    clock.now = 100 * DAY
    assert await admitted(store, 60) == LIMIT
    clock.now += jump
    waited = (await store.take([rate(KEY, LIMIT, 60, 1)], [], "l")).wait
    assert waited <= 120
    clock.now += 120
    assert await admitted(store, 60) > 0


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_places_are_not_a_matter_of_time(store: Store, clock: Clock, jump: float) -> None:
    clock.now = 100 * DAY
    slots = [Slot(KEY, 1)]
    assert (await store.take([], slots, "first")).refused is None
    clock.now += jump
    second = await store.take([], slots, "second")
    assert second.refused == 0 or type(store).__name__ == "ValkeyStore"  # whose leases end: one window more


async def test_the_gateway_fails_closed_when_the_store_is_not_to_be_had(home: Home) -> None:
    """Somebody holds the lock of the limits' file and does not go on: nothing is let through that a limit is for."""
    await limit(home, "key", "*", requests_per_minute=1000)
    async with staged(home) as stage:
        assert (await ask(home, "/v1/models", None, method="GET"))[0] == 200
        stuck = os.open(home.settings.layout.limits_file, os.O_RDWR)
        fcntl.flock(stuck, fcntl.LOCK_EX)
        for path, body in CHATS.items():
            began = time.monotonic()
            status, headers, answer = await ask(home, path, body)
            assert (status, b"limiter_unavailable" in answer) == (503, True)
            assert int(headers["retry-after"]) >= 1
            assert time.monotonic() - began < 1.0
        assert not stage.seen
        os.close(stuck)
        assert (await ask(home, "/v1/chat/completions", CHATS["/v1/chat/completions"]))[0] == 200
