"""A task that runs as long as a block does: how the long-lived parts follow a feed or a file.

Used by the directory, the gateway's engine book and the pools.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine

_AGAIN_SECONDS = 0.05


@contextlib.asynccontextmanager
async def during(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run `work` beside the block; at the block's end it is cancelled and has ended.

    It is cancelled until it ends: libraries whose own time limits are cancels can take one for a fault of the peer.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_AGAIN_SECONDS)
        with contextlib.suppress(asyncio.CancelledError):
            await task
