"""A hundred rounds of ten times the limit, from four worker processes at once, admit exactly the limit."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.admission.conftest import needs_server

_WORKER = """
    import asyncio, sys
    from pathlib import Path
    from freehold.admission.shared import SharedStore
    from freehold.admission.store import Rate, Slot
    from freehold.admission.valkey import ValkeyStore

    async def rounds(store, what, limit, tries, worker):
        for line in sys.stdin:
            number = int(line)
            key = number.to_bytes(16, "big")
            rates = [Rate(key, limit, 86400e6, 1)] if what == "day" else []
            slots = [Slot(key, limit)] if what == "concurrent" else []
            asked = [store.take(rates, slots, f"{number}-{worker}-{n}") for n in range(tries)]
            taken = await asyncio.gather(*asked)
            print(sum(t.refused is None for t in taken), flush=True)

    async def main(kind, where, what, limit, tries, worker):
        if kind == "shared":
            with SharedStore(Path(where)) as store:
                await rounds(store, what, limit, tries, worker)
        else:
            async with ValkeyStore(where, prefix=what).running() as store:
                await rounds(store, what, limit, tries, worker)

    asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["day", "concurrent"])
@pytest.mark.parametrize("kind", ["shared", pytest.param("valkey", marks=needs_server)])
def test_a_hundred_rounds_over_four_workers_admit_exactly_the_limit(
    kind: str, what: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    limit, rounds, workers = 20, 100, 4
    where = str(tmp_path / "limits") if kind == "shared" else request.getfixturevalue("valkey")
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(_WORKER),
        kind,
        where,
        what,
        str(limit),
        str(limit * 10 // workers),
    ]
    started = [
        subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(workers)
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
