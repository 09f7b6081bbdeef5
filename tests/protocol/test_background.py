"""Work beside a block ends with it, whatever the work makes of being cancelled."""

import asyncio

import pytest

from freehold.protocol.background import during


async def test_work_that_takes_a_cancel_for_a_fault_of_its_own_ends_all_the_same() -> None:
    rounds = 0

    async def stubborn() -> None:
        nonlocal rounds
        while rounds < 3:
            rounds += 1
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:  # as a client does whose own time limit is a cancel
                continue

    async def block() -> None:
        async with during(stubborn()):
            await asyncio.sleep(0)

    ended, _ = await asyncio.wait({asyncio.create_task(block())}, timeout=10)
    assert ended
    assert rounds == 3


async def test_what_broke_the_work_is_raised_at_the_end() -> None:
    async def broken() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        async with during(broken()):
            await asyncio.sleep(0)
