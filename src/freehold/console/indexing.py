"""Keeps the audit log's search index up to date, so that a search finds what happened a moment ago. Run by the console.

The log itself never waits for it: it looks every few seconds whether there is something new, and what it misses now it
adds the next time.
"""

import asyncio

from freehold.audit.folder import CHECKPOINT, Snapshot
from freehold.audit.index import catch_up
from freehold.audit.log import signer
from freehold.protocol.errors import Unavailable
from freehold.settings import Layout
from freehold.storage.engine import Database

_SECONDS = 3.0


async def indexing(database: Database, layout: Layout) -> None:
    """Fill the index for ever, when a checkpoint was published."""
    verifier, seen = signer(layout).verifier, 0
    while True:
        try:
            newest = (layout.audit / CHECKPOINT).stat().st_mtime_ns
            if newest != seen:
                await catch_up(database, await asyncio.to_thread(Snapshot, layout.audit, verifier))
                seen = newest
        except (OSError, Unavailable):  # nothing is published yet, or the disk is away
            pass
        await asyncio.sleep(_SECONDS)
