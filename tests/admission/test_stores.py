"""What every store promises, held by each of them; and what only some can: a restart, a dead worker, a lost server."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.admission.memory import MemoryStore
from freehold.admission.shared import SharedStore
from freehold.admission.store import Rate, Slot, Store
from freehold.admission.valkey import ValkeyStore
from freehold.protocol.errors import Unavailable
from tests.admission.conftest import Clock, needs_server, opened, running_server

A, B = b"a" * 16, b"b" * 16


async def test_a_limit_lets_its_number_through_and_no_more(store: Store, clock: Clock) -> None:
    taken = [await store.take([Rate(A, 5, 60, 1)], [], f"l{n}") for n in range(8)]
    assert [t.refused for t in taken] == [None] * 5 + [0] * 3
    assert [t.remaining[0] for t in taken] == [4, 3, 2, 1, 0, 0, 0, 0]
    assert taken[-1].wait == pytest.approx(12)
    clock.now += 12.01
    assert (await store.take([Rate(A, 5, 60, 1)], [], "l")).refused is None
    assert (await store.take([Rate(A, 5, 60, 1)], [], "l")).refused == 0


async def test_all_or_nothing(store: Store) -> None:
    await store.take([Rate(B, 1, 60, 1)], [], "l")
    both = [Rate(A, 5, 60, 1), Rate(B, 1, 60, 1)]
    assert (await store.take(both, [Slot(b"s" * 16, 1)], "l")).refused == 1
    assert (await store.take([Rate(A, 5, 60, 5)], [Slot(b"s" * 16, 1)], "m")).refused is None
    assert (await store.take([Rate(b"c" * 16, 5, 60, 5)], [Slot(b"s" * 16, 1)], "n")).refused == 1
    assert (await store.take([Rate(b"c" * 16, 5, 60, 5)], [], "n")).refused is None


async def test_what_was_not_used_is_given_back_and_more_is_charged(store: Store) -> None:
    await store.take([Rate(A, 100, 60, 80)], [], "l")
    await store.settle([Rate(A, 100, 60, -70)], [], "l")
    assert (await store.take([Rate(A, 100, 60, 90)], [], "l")).refused is None
    await store.settle([Rate(A, 100, 60, 50)], [], "l")
    late = await store.take([Rate(A, 100, 60, 1)], [], "l")
    assert late.wait == pytest.approx(51 * 0.6)


async def test_slots_are_held_and_given_back(store: Store) -> None:
    slot = [Slot(A, 2)]
    assert [(await store.take([], slot, f"l{n}")).refused for n in range(3)] == [None, None, 0]
    await store.settle([], slot, "l0")
    assert [(await store.take([], slot, f"m{n}")).refused for n in range(2)] == [None, 0]


async def test_more_than_the_limit_never_fits(store: Store) -> None:
    taken = await store.take([Rate(A, 5, 60, 6)], [], "l")
    assert (taken.refused, taken.wait) == (0, float("inf"))


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 2), st.integers(0, 2), st.integers(1, 6)),
        st.tuples(st.just("settle"), st.integers(0, 20), st.integers(-3, 3), st.just(0)),
        st.tuples(st.just("pass"), st.integers(0, 5000), st.just(0), st.just(0)),
    ),
    max_size=40,
)


async def _walk(store: Store, clock: Clock, steps: list[Any]) -> list[Any]:
    seen: list[Any] = []
    held: list[tuple[list[Rate], list[Slot], str]] = []
    for number, (word, first, second, third) in enumerate(steps):
        if word == "pass":
            clock.now += first / 1000
        elif word == "take":
            rates = [Rate(bytes([first]) * 16, 5, 10, third), Rate(bytes([9]) * 16, 40, 60, third)]
            slots = [Slot(bytes([100 + second]) * 16, 2)]
            taken = await store.take(rates, slots, f"l{number}")
            seen.append((taken.refused, round(taken.wait, 6), taken.remaining))
            if taken.refused is None:
                held.append((rates, slots, f"l{number}"))
        elif held:
            rates, slots, lease = held.pop(first % len(held))
            change = [Rate(rate.key, rate.limit, rate.period, second) for rate in rates]
            await store.settle(change, slots, lease)
    return seen


@needs_server
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_STEPS)
def test_the_stores_agree(valkey: str, steps: list[Any]) -> None:
    async def compare() -> None:
        results = []
        for kind in ("memory", "shared", "valkey"):
            clock = Clock()
            folder = Path(tempfile.mkdtemp(prefix="fh-store-"))
            async with opened(kind, folder, clock, valkey) as store:
                results.append(await _walk(store, clock, steps))
            shutil.rmtree(folder)
        assert results[0] == results[1] == results[2]

    asyncio.run(compare())


_WORKER = """
    import asyncio, sys
    from pathlib import Path
    from freehold.admission.shared import SharedStore
    from freehold.admission.store import Rate, Slot
    from freehold.admission.valkey import ValkeyStore

    async def rounds(store, count, tries):
        for line in sys.stdin:
            number = int(line)
            key = number.to_bytes(16, "little")
            asked = [store.take([Rate(key, count, 86400, 1)], [], f"{number}-{n}") for n in range(tries)]
            taken = await asyncio.gather(*asked)
            print(sum(t.refused is None for t in taken), flush=True)

    async def main(kind, where, count, tries):
        if kind == "shared":
            with SharedStore(Path(where)) as store:
                await rounds(store, count, tries)
        else:
            async with ValkeyStore(where).running() as store:
                await rounds(store, count, tries)

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shared", pytest.param("valkey", marks=needs_server)])
def test_a_hundred_rounds_over_four_workers_admit_exactly_the_limit(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    limit, rounds, workers = 20, 100, 4
    where = str(tmp_path / "limits") if kind == "shared" else request.getfixturevalue("valkey")
    command = [sys.executable, "-c", textwrap.dedent(_WORKER), kind, where, str(limit), str(limit * 10 // workers)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(workers)
    ]
    try:
        for number in range(1, rounds + 1):
            for worker in started:
                assert worker.stdin
                worker.stdin.write(f"{number}\n")
                worker.stdin.flush()
            admitted = sum(int(worker.stdout.readline()) for worker in started if worker.stdout)
            assert admitted == limit, f"round {number}"
    finally:
        for worker in started:
            worker.kill()
            worker.communicate()


async def test_a_restart_and_a_jump_of_the_clock_reset_nothing(tmp_path: Path, clock: Clock) -> None:
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        assert (await store.take([Rate(A, 1, 60, 1)], [], "l")).refused is None
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        assert (await store.take([Rate(A, 1, 60, 1)], [], "l")).refused == 0


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
async def test_after_a_reboot_with_a_wrong_clock_at_most_one_window_is_lost(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    began = time.time()
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        await store.take([Rate(A, 1, 3600, 1)], [], "l")
    monkeypatch.setattr("freehold.admission.shared._boot_id", lambda: b"another boot id!")
    monkeypatch.setattr("freehold.admission.shared.time.time", lambda: began + jump)
    clock.now = 5.0
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        taken = await store.take([Rate(A, 1, 3600, 1)], [], "l")
        if jump < 0:
            assert taken.refused == 0
            assert taken.wait <= 3600
        else:
            assert [(await store.take([Rate(A, 1, 3600, 1)], [], "l")).refused] == [0]


async def test_the_slots_of_a_killed_worker_are_free_again(tmp_path: Path) -> None:
    code = """
        import asyncio, sys
        from pathlib import Path
        from freehold.admission.shared import SharedStore
        from freehold.admission.store import Slot
        with SharedStore(Path(sys.argv[1])) as store:
            print(asyncio.run(store.take([], [Slot(b"a" * 16, 1)], "l")).refused, flush=True)
            sys.stdin.read()
    """
    path = tmp_path / "limits"
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout
    assert worker.stdout.readline() == b"None\n"
    with SharedStore(path) as store:
        assert (await store.take([], [Slot(A, 1)], "m")).refused == 0
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate()
        assert (await store.take([], [Slot(A, 1)], "m")).refused is None


async def test_a_full_table_refuses(tmp_path: Path, clock: Clock) -> None:
    with SharedStore(tmp_path / "limits", rows=16, clock=clock) as store:
        with pytest.raises(Unavailable):
            await _fill(store, 40)
        clock.now += 61
        await store.take([Rate(bytes([99]) * 16, 1, 60, 1)], [], "l")


async def _fill(store: Store, keys: int) -> None:
    for number in range(keys):
        await store.take([Rate(number.to_bytes(16, "big"), 1, 60, 1)], [], "l")


@needs_server
async def test_without_its_server_it_refuses_or_keeps_a_share(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fh-valkey-"))
    url = f"unix://{folder}/valkey.sock"
    try:
        async with ValkeyStore(url).running() as strict, ValkeyStore(url, share=0.5).running() as sharing:
            with running_server(folder):
                assert (await strict.take([Rate(A, 10, 60, 1)], [], "l")).refused is None
                assert (await sharing.take([Rate(A, 10, 60, 1)], [], "m")).refused is None
            began = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                await strict.take([Rate(A, 10, 60, 1)], [], "l")
            assert time.monotonic() - began < 2
            assert caught.value.code == "limiter_unavailable"
            taken = [await sharing.take([Rate(A, 10, 60, 1)], [], f"n{n}") for n in range(7)]
            assert sum(t.refused is None for t in taken) == 5
            with running_server(folder):
                assert (await strict.take([Rate(A, 10, 60, 1)], [], "l")).refused is None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_memory_forgets_what_is_over() -> None:
    clock = Clock()
    store = MemoryStore(clock)

    async def many() -> None:
        for number in range(5000):
            clock.now += 1
            await store.take([Rate(number.to_bytes(16, "big"), 1, 10, 1)], [], "l")

    asyncio.run(many())
    assert len(store._arrivals) < 4096
