"""The seam between the limiter and what remembers: `memory` (one process), `shared` (one machine), `valkey` (replicas).

One call takes everything or nothing, atomically over all who use the store. Keys are 16 bytes that say nothing of whom
they belong to and are never all zeros (that is a row without one); the keys of one call differ, and their first four
bytes are those of their workspace.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

import msgspec


class Rate(msgspec.Struct, frozen=True):
    """`cost` units of a limit of `limit` units in `period` microseconds."""

    key: bytes
    limit: int
    period: float
    cost: int


class Change(msgspec.Struct, frozen=True):
    """`units` more (or, negative, fewer) were used than a rate had reserved until `end`, which `Taken` told."""

    key: bytes
    limit: int
    period: float
    units: int
    end: int


class Slot(msgspec.Struct, frozen=True):
    """One place of `limit` that may be held at the same time."""

    key: bytes
    limit: int


class Taken(msgspec.Struct, frozen=True):
    """What `take` did. `refused` is the index of what did not fit, rates first, then slots; None: all was taken.

    Of several rates that did not fit it is the one that takes longest: `wait` (s) says when all of them would. `ends`
    is what `Change` wants to know of each rate; `remaining` is what each has left.
    """

    refused: int | None
    wait: float
    remaining: tuple[int, ...]
    ends: tuple[int, ...] = ()


class Store(Protocol):
    """Remembers. Raises Unavailable when it cannot."""

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """Take all of it or nothing. `lease` names who holds the slots. When it is cancelled nothing is taken."""
        ...

    def settle(self, changes: Sequence[Change], slots: Sequence[Slot], lease: str) -> Awaitable[None] | None:
        """Give the slots back and correct the rates. None: it is done. Else it goes on whether it is awaited or not."""
        ...
