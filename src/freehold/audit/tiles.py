"""Tiles and entry bundles as C2SP's tlog-tiles lays them in files: their names, and how entries lie in a bundle.

Called by the writer that makes them, by everything that reads them, and by the copies. A tile is 256 hashes; the one
at the right edge may be partial and has its width in its name (`tile/0/007.p/12`).
"""

import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from freehold.audit.tree import WIDTH

ENTRIES = "entries"
_NAME = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_LENGTH = struct.Struct(">H")


def path(level: int | str, index: int, width: int = WIDTH) -> str:
    """The name of a tile, or with `level` "entries" of a bundle of entries."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    name = f"tile/{level}/{'/'.join(reversed(parts))}"
    return name if width == WIDTH else f"{name}.p/{width}"


def parse(name: str) -> tuple[str, int, int] | None:
    """(level, index, width) of a name that `path` makes, else None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    index = int(match[2].replace("x", "").replace("/", "") + match[3])
    width = int(match[4]) if match[4] else WIDTH
    return (match[1], index, width) if path(match[1], index, width) == name else None


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries one after the other, each after its length in two bytes."""
    return b"".join([part for entry in entries for part in (_LENGTH.pack(len(entry)), entry)])


def unbundle(data: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ValueError when it is none."""
    found: list[bytes] = []
    place, end = 0, len(data)
    while place < end:
        if place + 2 > end:
            raise ValueError("a bundle of entries ends within an entry")
        begin = place + 2
        place = begin + (data[place] << 8 | data[place + 1])
        found.append(data[begin:place])
    if place != end:
        raise ValueError("a bundle of entries ends within an entry")
    return found


def hashes(data: bytes) -> list[bytes]:
    """The hashes of a tile. Raises ValueError when it is none."""
    if not data or len(data) % 32 or len(data) > 32 * WIDTH:
        raise ValueError("not a tile")
    return [data[i : i + 32] for i in range(0, len(data), 32)]


def write(file: Path, data: bytes) -> None:
    """Put a file in place, whole or not at all, not yet synced: what is in a tile is in the journal until it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with fresh.open("xb") as out:
            out.write(data)
        os.replace(fresh, file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
