"""A start that is given up half-way leaves nothing behind, whenever that happens."""

import asyncio
import random
from pathlib import Path

import pytest

from freehold.isolation.driver import open_driver
from tests.conftest import until
from tests.isolation.conftest import Place

MARK = "freehold-cancelled-start"


def _left() -> list[str]:
    """Command lines of what still runs for this test (zombies have none)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if MARK in line:
            found.append(line[:120])
    return found


@pytest.mark.parametrize("name", ["sandbox", "process"])
async def test_a_cancelled_start_leaves_no_process(place: Place, name: str) -> None:
    driver = open_driver(name)
    spec = place.spec(f"import time\ntime.sleep(600) # {MARK}")
    chance = random.Random(7)  # noqa: S311 - when to cancel
    for _ in range(25):
        task = asyncio.create_task(driver.start(spec))
        _, pending = await asyncio.wait({task}, timeout=chance.uniform(0.0, 0.04))
        if pending:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await task.result().stop(0)
    await until(lambda: not _left())
