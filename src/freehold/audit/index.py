"""Fills the search index from the log's files. It may be behind, and may be thrown away and filled again.

The console and `freehold audit search` call `catch_up` before they look; nothing on the way of a request does.
"""

import itertools

from sqlalchemy.exc import IntegrityError

from freehold.audit.events import decode
from freehold.audit.folder import Snapshot
from freehold.storage import audit
from freehold.storage.engine import Database

_CHUNK = 1000


async def catch_up(database: Database, snapshot: Snapshot) -> int:
    """Add what the index does not have yet; gives how many. Raises Unavailable when log or database cannot be read."""
    async with database.read() as connection:
        begin = await audit.reached(connection)
    added = 0
    entries = snapshot.entries(begin)
    while chunk := list(itertools.islice(entries, _CHUNK)):
        rows = [_row(entry) for _, entry in chunk]
        try:
            async with database.write() as connection:
                await audit.add(connection, rows)
        except IntegrityError:
            return added  # another process is at it
        added += len(rows)
    return added


async def rebuild(database: Database, snapshot: Snapshot) -> int:
    """Throw the index away and fill it again."""
    async with database.write() as connection:
        await audit.forget(connection)
    return await catch_up(database, snapshot)


def _row(entry: bytes) -> audit.Row:
    found = decode(entry)
    return audit.Row(
        found.sequence,
        found.at / 1000,
        found.action.value,
        found.workspace,
        found.actor,
        found.subject,
        found.outcome.value if found.outcome is not None else None,
        entry.decode(),
    )
