"""The store of one machine's workers: restarts, reboots, wrong clocks, killed and stopped workers, a full table."""

import asyncio
import fcntl
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from freehold.admission.shared import SharedStore
from freehold.admission.store import Slot, Store
from freehold.protocol.errors import Unavailable
from tests.admission.conftest import Clock, rate

A = b"a" * 16


async def test_a_restart_resets_nothing(tmp_path: Path, clock: Clock) -> None:
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        assert (await store.take([rate(A, 1, 60, 1)], [], "l")).refused is None
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        assert (await store.take([rate(A, 1, 60, 1)], [], "l")).refused == 0


@pytest.mark.parametrize("jump", [-86400.0, 0.0, 86400.0])
async def test_a_reboot_loses_at_most_one_window_whatever_the_clock_says(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    began = time.time()
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        await store.take([rate(A, 1, 3600, 1)], [Slot(A, 1)], "l")
    monkeypatch.setattr("freehold.admission.table._boot_id", lambda: b"another boot id!")
    monkeypatch.setattr("freehold.admission.shared.time.time", lambda: began + jump)
    clock.now = 5.0
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        taken = await store.take([rate(A, 1, 3600, 1)], [Slot(A, 1)], "l")
        if jump > 0:
            assert taken.refused is None
            taken = await store.take([rate(A, 1, 3600, 1)], [Slot(A, 1)], "l")
        assert taken.refused == 0
        assert taken.wait <= 3600


async def test_a_jump_of_the_wall_clock_changes_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        await store.take([rate(A, 1, 3600, 1)], [], "l")
        for jump in (-86400.0, 86400.0):
            wall = time.time() + jump
            monkeypatch.setattr("freehold.admission.shared.time.time", lambda wall=wall: wall)
            with SharedStore(tmp_path / "limits", rows=64, clock=clock) as other:
                for each in (store, other):
                    taken = await each.take([rate(A, 1, 3600, 1)], [], "l")
                    assert (taken.refused, round(taken.wait)) == (0, 3600)


_HOLDER = """
    import asyncio, sys
    from pathlib import Path
    from freehold.admission.shared import SharedStore
    from freehold.admission.store import Slot
    with SharedStore(Path(sys.argv[1])) as store:
        print(asyncio.run(store.take([], [Slot(b"a" * 16, 1)], "l")).refused, flush=True)
        sys.stdin.read()
"""


async def test_the_slots_of_a_killed_worker_are_free_again_even_before_it_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    command = [sys.executable, "-c", textwrap.dedent(_HOLDER), str(path)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout
    assert worker.stdout.readline() == b"None\n"
    with SharedStore(path) as store:
        assert (await store.take([], [Slot(A, 1)], "m")).refused == 0
        os.kill(worker.pid, signal.SIGKILL)
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        assert (await store.take([], [Slot(A, 1)], "m")).refused is None
    worker.communicate()


_BUSY = """
    import asyncio, random, sys
    from pathlib import Path
    from freehold.admission.shared import SharedStore
    from freehold.admission.store import Rate, Slot

    async def main(path, seed):
        chance = random.Random(seed)
        with SharedStore(Path(path), rows=256) as store:
            while True:
                number = chance.randrange(8)
                key = bytes([number + 1]) * 16  # never the key of a row that was never used
                taken = await store.take([Rate(key, 400, 86400e6, 1)], [Slot(key, 3)], "l")
                sys.stdout.buffer.write(bytes([number if taken.refused is None else 255]))
                sys.stdout.buffer.flush()
                if taken.refused is None:
                    store.settle([], [Slot(key, 3)], "l")

    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
async def test_workers_killed_at_any_point_wedge_nothing_and_pass_no_limit(tmp_path: Path) -> None:
    path, limit, kills = tmp_path / "limits", 400, 0
    chance = random.Random(7)  # noqa: S311 - when they die
    seen = [0] * 8
    with SharedStore(path, rows=256) as store:
        for turn in range(8):
            commands = [[sys.executable, "-c", textwrap.dedent(_BUSY), str(path), f"{turn}{n}"] for n in range(3)]
            workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
            for worker in workers:
                assert worker.stdout
                told = worker.stdout.read(chance.randrange(1, 60))
                worker.kill()
                told += worker.communicate()[0]
                kills += 1
                for number in told:
                    if number != 255:  # else the worker was refused, and lives
                        seen[number] += 1
        for number in range(8):
            key = bytes([number + 1]) * 16
            for lease in range(3):
                assert (await store.take([], [Slot(key, 3)], f"{lease}")).refused is None
            while (await store.take([rate(key, limit, 86400, 1)], [], "l")).refused is None:
                seen[number] += 1
    assert max(seen) <= limit
    assert sum(seen) >= 8 * limit - kills  # one that was admitted by a worker that died before it said so


async def test_a_stopped_holder_of_the_lock_is_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        assert (await store.take([rate(A, 9, 60, 1)], [Slot(A, 1)], "l")).refused is None
        stuck = os.open(tmp_path / "limits", os.O_RDWR)
        fcntl.flock(stuck, fcntl.LOCK_EX)
        with pytest.raises(Unavailable) as caught:
            await store.take([rate(A, 9, 60, 1)], [], "m")
        assert (caught.value.status, caught.value.code) == (503, "limiter_unavailable")
        store.settle([], [Slot(A, 1)], "l")
        os.close(stuck)
        taken = await store.take([rate(A, 9, 60, 1)], [Slot(A, 1)], "m")
        assert (taken.refused, taken.remaining) == (None, (7,))


async def test_a_full_table_refuses_until_rows_run_out(tmp_path: Path, clock: Clock) -> None:
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as store:
        with pytest.raises(Unavailable):
            await _fill(store, 65)
        with pytest.raises(Unavailable):
            await store.take([], [Slot(bytes([n]) * 16, 1) for n in range(5)], "l")
        clock.now += 61
        await _fill(store, 64)


async def _fill(store: Store, keys: int) -> None:
    for number in range(1, keys + 1):
        await store.take([rate(number.to_bytes(16, "big"), 1, 60, 1)], [], "l")


async def test_a_file_of_another_layout_is_replaced_and_not_cut(tmp_path: Path, clock: Clock) -> None:
    with SharedStore(tmp_path / "limits", rows=64, clock=clock) as old:
        assert (await old.take([rate(A, 1, 60, 1)], [], "l")).refused is None
        with SharedStore(tmp_path / "limits", rows=128, clock=clock) as new:
            assert (await new.take([rate(A, 1, 60, 1)], [], "l")).refused is None
            assert (await old.take([rate(A, 1, 60, 1)], [], "l")).refused == 0
    (tmp_path / "limits").write_bytes(b"rubbish!" * ((tmp_path / "limits").stat().st_size // 8))
    with SharedStore(tmp_path / "limits", rows=128, clock=clock) as fresh:
        assert (await fresh.take([rate(A, 1, 60, 1)], [Slot(A, 1)], "l")).refused is None


def test_only_so_many_workers(tmp_path: Path, clock: Clock) -> None:
    stores = [SharedStore(tmp_path / "limits", rows=64, clock=clock) for _ in range(33)]
    for store in stores[:32]:
        store.__enter__()
    with pytest.raises(Unavailable):
        stores[32].__enter__()
    for store in stores[:32]:
        store.__exit__()
    with stores[32] as last:
        assert asyncio.run(last.take([], [Slot(A, 1)], "l")).refused is None
