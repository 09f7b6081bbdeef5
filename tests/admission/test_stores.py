"""What every store promises, held by each of them, and against a naive one over random sequences."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.admission.memory import MemoryStore
from freehold.admission.store import Rate, Slot, Store, Taken
from tests.admission.conftest import Clock, change, needs_server, opened, rate, settle
from tests.admission.naive import NaiveStore

A, B = b"a" * 16, b"b" * 16


async def test_a_limit_lets_its_number_through_and_no_more(store: Store, clock: Clock) -> None:
    taken = [await store.take([rate(A, 5, 60, 1)], [], f"l{n}") for n in range(8)]
    assert [t.refused for t in taken] == [None] * 5 + [0] * 3
    assert [t.remaining[0] for t in taken] == [4, 3, 2, 1, 0, 0, 0, 0]
    assert taken[-1].wait == pytest.approx(12)
    clock.now += 12.01
    assert (await store.take([rate(A, 5, 60, 1)], [], "l")).refused is None
    assert (await store.take([rate(A, 5, 60, 1)], [], "l")).refused == 0


async def test_all_or_nothing(store: Store) -> None:
    await store.take([rate(B, 1, 60, 1)], [], "l")
    both = [rate(A, 5, 60, 1), rate(B, 1, 60, 1)]
    assert (await store.take(both, [Slot(b"s" * 16, 1)], "l")).refused == 1
    assert (await store.take([rate(A, 5, 60, 5)], [Slot(b"s" * 16, 1)], "m")).refused is None
    assert (await store.take([rate(b"c" * 16, 5, 60, 5)], [Slot(b"s" * 16, 1)], "n")).refused == 1
    assert (await store.take([rate(b"c" * 16, 5, 60, 5)], [], "n")).refused is None


async def test_what_was_not_used_is_given_back_and_more_is_charged(store: Store) -> None:
    much, more = rate(A, 100, 60, 80), rate(A, 100, 60, 90)
    taken = await store.take([much], [], "l")
    await settle(store, [change(much, -70, taken)], [], "l")
    taken = await store.take([more], [], "l")
    assert taken.refused is None
    await settle(store, [change(more, 50, taken)], [], "l")
    late = await store.take([rate(A, 100, 60, 1)], [], "l")
    assert late.wait == pytest.approx(51 * 0.6)


async def test_slots_are_held_and_given_back(store: Store) -> None:
    slot = [Slot(A, 2)]
    assert [(await store.take([], slot, f"l{n}")).refused for n in range(3)] == [None, None, 0]
    await settle(store, [], slot, "l0")
    assert [(await store.take([], slot, f"m{n}")).refused for n in range(2)] == [None, 0]


async def test_more_than_the_limit_never_fits(store: Store) -> None:
    taken = await store.take([rate(A, 5, 60, 6)], [], "l")
    assert (taken.refused, taken.wait) == (0, float("inf"))


async def test_the_longest_wait_is_told(store: Store) -> None:
    both = [rate(A, 1, 60, 1), rate(B, 1, 86400, 1)]
    assert (await store.take(both, [], "l")).refused is None
    taken = await store.take(both, [], "l")
    assert taken.refused == 1
    assert taken.wait == pytest.approx(86400)


async def test_what_has_made_room_already_is_not_given_back_again(store: Store, clock: Clock) -> None:
    first, second = rate(A, 1000, 60, 1000), rate(A, 1000, 60, 1000)
    taken = await store.take([first], [], "l")
    clock.now += 60
    assert (await store.take([second], [], "m")).refused is None
    await settle(store, [change(first, -900, taken)], [], "l")
    assert (await store.take([rate(A, 1000, 60, 1)], [], "n")).refused == 0


@pytest.mark.parametrize("limit", [3, 7, 11, 1000, 4999])
async def test_exactly_the_limit_whatever_it_is(store: Store, clock: Clock, limit: int) -> None:
    clock.now += 1_700_000_000 / 3
    some = max(1, limit // 100)
    admitted = 0
    while (await store.take([rate(A, limit, 60, some)], [], "l")).refused is None:
        admitted += some
    while (await store.take([rate(A, limit, 60, 1)], [], "l")).refused is None:
        admitted += 1
    assert admitted == limit


async def test_a_clock_that_goes_back_locks_nobody_out_for_more_than_two_windows(store: Store, clock: Clock) -> None:
    clock.now += 86_400
    await store.take([rate(A, 1, 60, 1)], [], "l")
    clock.now -= 86_400
    taken = await store.take([rate(A, 1, 60, 1)], [], "l")
    assert taken.refused == 0
    assert taken.wait <= 120


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 2), st.integers(0, 2), st.integers(1, 6)),
        st.tuples(st.just("settle"), st.integers(0, 20), st.integers(-6, 6), st.just(0)),
        st.tuples(st.just("pass"), st.integers(0, 5000), st.just(0), st.just(0)),
    ),
    max_size=40,
)
_KINDS = ("memory", "shared", "valkey")


async def _walk(store: Store, clock: Clock, steps: list[Any]) -> list[Any]:
    """Limits whose units are whole milliseconds, so that nothing is rounded."""
    seen: list[Any] = []
    held: list[tuple[list[Rate], Taken, list[Slot], str]] = []
    for number, (word, first, second, third) in enumerate(steps):
        if word == "pass":
            clock.now += first / 1000
        elif word == "take":
            rates = [rate(bytes([first]) * 16, 5, 10, third), rate(bytes([9]) * 16, 40, 60, third)]
            slots = [Slot(bytes([100 + second]) * 16, 2)]
            taken = await store.take(rates, slots, f"l{number}")
            seen.append((taken.refused, round(taken.wait, 5), taken.remaining))
            if taken.refused is None:
                held.append((rates, taken, slots, f"l{number}"))
        elif held:
            rates, taken, slots, lease = held.pop(first % len(held))
            changes = [change(entry, max(second, -entry.cost), taken, i) for i, entry in enumerate(rates)]
            await settle(store, changes, slots, lease)
    return seen


@pytest.mark.parametrize("kind", ["memory", "shared", pytest.param("valkey", marks=needs_server)])
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_STEPS)
def test_the_stores_do_what_the_naive_one_does(kind: str, steps: list[Any], request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("valkey") if kind == "valkey" else ""

    async def compare() -> None:
        clock = Clock()
        expected = await _walk(NaiveStore(clock), clock, steps)
        clock = Clock()
        with tempfile.TemporaryDirectory(prefix="fh-store-") as folder:
            async with opened(kind, Path(folder), clock, url) as store:
                assert await _walk(store, clock, steps) == expected

    asyncio.run(compare())


async def test_memory_forgets_what_is_over(clock: Clock) -> None:
    store = MemoryStore(clock)
    for number in range(5000):
        clock.now += 1
        await store.take([rate(number.to_bytes(16, "big"), 1, 10, 1)], [], "l")
    assert len(store._arrivals) < 4096
