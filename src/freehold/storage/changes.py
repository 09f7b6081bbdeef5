"""The change feed: what every process must forget or read again, in order. Written in the transaction of the change."""

import time
from collections.abc import Sequence
from typing import Literal

import msgspec
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.storage.tables import changes

Topic = Literal["credential", "user", "engine", "workspace", "limit", "guard", "provider", "keys_wanted"]

KEEP_SECONDS = 24 * 3600
"""How long an entry stays. A process that was away longer starts with empty caches anyway."""


class Change(msgspec.Struct, frozen=True):
    """`ref` is the id of what changed."""

    seq: int
    topic: str
    ref: str


async def announce(connection: AsyncConnection, topic: Topic, ref: str) -> None:
    """Tell every process that `ref` changed, when this transaction commits."""
    await connection.execute(insert(changes).values(topic=topic, ref=ref, at=time.time()))


async def announce_each(connection: AsyncConnection, topic: Topic, refs: Sequence[str]) -> None:
    """Announce many in one statement."""
    if refs:
        await connection.execute(insert(changes), [{"topic": topic, "ref": ref, "at": time.time()} for ref in refs])


async def latest(connection: AsyncConnection) -> int:
    """The newest sequence number, 0 if there is none."""
    return int((await connection.execute(select(func.coalesce(func.max(changes.c.seq), 0)))).scalar_one())


async def since(connection: AsyncConnection, seq: int) -> list[Change]:
    """Everything after `seq`, oldest first."""
    rows = await connection.execute(
        select(changes.c.seq, changes.c.topic, changes.c.ref).where(changes.c.seq > seq).order_by(changes.c.seq)
    )
    return [Change(*row) for row in rows]


async def prune(connection: AsyncConnection) -> None:
    """Drop entries that no process can still need."""
    await connection.execute(delete(changes).where(changes.c.at < time.time() - KEEP_SECONDS))
