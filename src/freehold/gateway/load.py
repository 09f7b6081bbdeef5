"""How busy the pools are, written once a second for `freehold status` and the scaling law: a file replaced whole.

A file and not a question, so that nobody needs a door into the gateway to know.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from freehold.admission.queue import AdmissionQueue
from freehold.isolation.pool import Pools
from freehold.protocol.background import during

_SECONDS = 1.0


class PoolLoad(msgspec.Struct, frozen=True):
    """One line before a workspace's runners. Times in seconds, rates in exchanges a second."""

    workspace_id: str
    engine: str
    slots: int
    depth: int
    oldest: float
    in_flight: int
    arrival_rate: float
    service_time: float


def read(folder: Path) -> tuple[PoolLoad, ...]:
    """What the files of all workers in a folder say; nothing when there are none (yet)."""
    found: list[PoolLoad] = []
    for path in sorted(folder.glob("load-*.json")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found += msgspec.json.decode(path.read_bytes(), type=list[PoolLoad])
    return tuple(found)


@contextlib.asynccontextmanager
async def publishing(queue: AdmissionQueue, pools: Pools, path: Path) -> AsyncIterator[None]:
    """Write the file while the block runs; take it away at its end."""

    async def publish() -> None:
        last = b""
        while True:
            now = msgspec.json.encode(
                [
                    PoolLoad(
                        workspace_id,
                        engine,
                        pools.slots(workspace_id),
                        figures.depth,
                        round(figures.oldest, 3),
                        figures.in_flight,
                        round(figures.arrival_rate, 3),
                        round(figures.service_time, 3),
                    )
                    for (workspace_id, engine), figures in queue.figures().items()
                ]
            )
            if now != last:
                with contextlib.suppress(OSError):
                    _replace(path, now)
                    last = now
            await asyncio.sleep(_SECONDS)

    async with during(publish()):
        yield
    path.unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    os.replace(fresh, path)
