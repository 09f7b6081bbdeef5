"""The seam between the limiter and what remembers: `memory` (one process), `shared` (one machine), `valkey` (replicas).

One call takes everything or nothing, atomically over all who use the store. Keys are 16 bytes that say nothing of whom
they belong to.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Rate(msgspec.Struct, frozen=True):
    """`cost` units of a limit of `limit` units in `period` seconds."""

    key: bytes
    limit: int
    period: float
    cost: int


class Slot(msgspec.Struct, frozen=True):
    """One place of `limit` that may be held at the same time."""

    key: bytes
    limit: int


class Taken(msgspec.Struct, frozen=True):
    """What `take` did. `refused` is the index of what did not fit, rates first, then slots; None: all was taken.

    `wait` (s) says when it would fit. `remaining` is what each rate has left, in order.
    """

    refused: int | None
    wait: float
    remaining: tuple[int, ...]


class Store(Protocol):
    """Remembers. Raises Unavailable when it cannot."""

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """Take all of it or nothing. `lease` names who holds the slots."""
        ...

    async def settle(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> None:
        """Give the slots back and correct each rate by its `cost`, which may be negative."""
        ...
