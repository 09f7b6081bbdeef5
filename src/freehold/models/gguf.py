"""Reads the head of a GGUF file with bounds, so that a file that lies about its sizes never reaches the engine.

Called by the store when an operator adds a file of their own. Layout: the GGUF specification of the ggml project,
versions 2 and 3, little-endian. Nothing is allocated by a number that the file states without checking it first.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEAD_LIMIT = 256 << 20
_MOST_ENTRIES = 1 << 16
_MOST_ITEMS = 1 << 24
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_DEFAULT_ALIGNMENT = 32

# type number → (weights in a block, bytes of a block); types unknown here are bounded by the next tensor's place only
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
}  # fmt: skip


class NotGguf(ValueError):
    """The file is not a whole GGUF file. The text says what is wrong, for the operator."""


@dataclass(frozen=True)
class GgufFacts:
    """What the head says. `context` is the length that the model was trained for, 0 when it does not say."""

    architecture: str
    context: int
    tensors: int


def inspect(path: Path) -> GgufFacts:
    """Check the head and that every tensor lies inside the file. Raises NotGguf, OSError."""
    with path.open("rb") as file:
        return _Head(file, os.fstat(file.fileno()).st_size).read()


class _Head:
    """A cursor over the head of one file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._limit = min(size, _HEAD_LIMIT)
        self._at = 0

    def read(self) -> GgufFacts:
        if self._take(4) != b"GGUF":
            raise NotGguf("it does not begin with the GGUF mark")
        if (version := self._number("I")) not in (2, 3):
            raise NotGguf(f"GGUF version {version} is not understood")
        tensors, entries = self._number("Q"), self._number("Q")
        if not 0 < tensors <= _MOST_ENTRIES or entries > _MOST_ENTRIES:
            raise NotGguf("it states an impossible number of tensors or entries")
        facts = dict(self._entry() for _ in range(entries))
        alignment = facts.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 16 or alignment & (alignment - 1):
            raise NotGguf("its alignment is impossible")
        places = [self._tensor() for _ in range(tensors)]
        start = -(-self._at // alignment) * alignment
        for offset, length in places:
            if offset % alignment or start + offset + length > self._size:
                raise NotGguf("it is cut short, or a tensor lies outside of the file")
        architecture = facts.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise NotGguf("it does not name its architecture")
        context = facts.get(f"{architecture}.context_length", 0)
        return GgufFacts(architecture, context if isinstance(context, int) else 0, tensors)

    def _entry(self) -> tuple[str, int | str | None]:
        """Name and value; None for what nobody here asks for."""
        name, kind = self._string(), self._number("I")
        if kind == _STRING:
            return name, self._string()
        if kind == _UINT32:
            return name, self._number("I")
        self._skip(kind)
        return name, None

    def _skip(self, kind: int, depth: int = 0) -> None:
        if kind in _SCALARS:
            self._pass(_SCALARS[kind])
        elif kind == _STRING:
            self._pass(self._number("Q"))
        elif kind == _ARRAY and depth < 2:
            item, count = self._number("I"), self._number("Q")
            if count > _MOST_ITEMS:
                raise NotGguf("it states an impossible length")
            if item in _SCALARS:
                self._pass(_SCALARS[item] * count)
            else:
                for _ in range(count):
                    self._skip(item, depth + 1)
        else:
            raise NotGguf("it holds a value of an unknown type")

    def _tensor(self) -> tuple[int, int]:
        """(offset, length in bytes) of the next tensor."""
        self._string()
        dimensions = self._number("I")
        if not 0 < dimensions <= 4:
            raise NotGguf("a tensor has an impossible shape")
        weights = 1
        for _ in range(dimensions):
            weights *= self._number("Q")
        kind, offset = self._number("I"), self._number("Q")
        block, length = _BLOCKS.get(kind, (1, 0))
        if weights > 1 << 48 or weights % block:
            raise NotGguf("a tensor has an impossible shape")
        return offset, weights // block * length

    def _string(self) -> str:
        length = self._number("Q")
        if length > 1 << 24:
            raise NotGguf("it states an impossible length")
        return self._take(length).decode("utf-8", "replace")

    def _number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self._take(struct.calcsize(f"<{kind}")))[0])

    def _take(self, count: int) -> bytes:
        self._bound(count)
        data = self._file.read(count)
        if len(data) != count:
            raise NotGguf("it is cut short")
        return data

    def _pass(self, count: int) -> None:
        self._bound(count)
        self._file.seek(count, os.SEEK_CUR)

    def _bound(self, count: int) -> None:
        self._at += count
        if self._at > self._limit:
            raise NotGguf("it is cut short, or states a length that is larger than the file")
