"""What a fuzz target is: bytes go in, nothing but the declared errors may come out. One file of this folder each.

`seeds` are whole and well-formed inputs, made by code, from which mutation starts. `run` raises AssertionError when an
invariant breaks; any other exception is a crash. `__main__` gives targets to atheris, `test_fuzz` to a small mutator.
"""

import asyncio
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

NAMES = (
    "request", "response", "pushed", "lines", "events", "json_object", "chat", "messages", "responses", "credential",
    "log",
)  # fmt: skip
"""The files of this folder that hold a target, by name."""


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


def load(name: str) -> Target:
    """The target of that name. Its file is imported only here, so that atheris can instrument what it imports."""
    found: Target = importlib.import_module(f"tests.fuzz.{name}").TARGET
    return found


def cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """The input proper, and the same in pieces: the first two bytes say where a stream is cut."""
    if len(data) < 3:
        return data, [data]
    step, first, rest = data[0] % 23 + 1, data[1], data[2:]
    begin = first % len(rest)
    pieces = [rest[:begin], *(rest[at : at + step] for at in range(begin, min(len(rest), begin + 40 * step), step))]
    return rest, [piece for piece in (*pieces, rest[begin + 40 * step :]) if piece]


class Wire(asyncio.Transport):
    """A transport in memory: what is written, and whether it was closed or is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = self.paused = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written.append(bytes(data))

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    def abort(self) -> None:
        """Remember it."""
        self.closed = True

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def pause_reading(self) -> None:
        """Remember it."""
        self.paused = True

    def resume_reading(self) -> None:
        """Remember it."""
        self.paused = False


LOOP = asyncio.new_event_loop()
"""One loop for all inputs of a process: a loop for each would cost more than the input."""


async def turns(count: int = 3) -> None:
    """Let the other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)
