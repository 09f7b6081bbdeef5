"""The log's folder as readers see it: its head, its checkpoint, its entries and hashes, whether from tiles or journal.

`Snapshot` reads what the log was at one moment: the part that is still in the journal into memory, the rest from
tiles, which never change. Proofs, the search index, exports and copies read through it. It trusts what it reads;
`verify.py` does not.

The folder: `checkpoint` and `tile/` as C2SP's tlog-tiles has them; `journal/`; `head`, the newest signed tree head in
one sector that is overwritten; `lock`; `verifier`, the public key; `payload/`, what can be erased; `places/`, how far
the copies are.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from freehold.audit import journal, tiles
from freehold.audit.note import Checkpoint, Verifier
from freehold.audit.tree import WIDTH, ReadHash, full_root, leaf_hash
from freehold.protocol.errors import Refused, Unavailable

CHECKPOINT = "checkpoint"
HEAD = "head"
LOCK = "lock"
VERIFIER = "verifier"
PAYLOAD = "payload"
PLACES = "places"
SECTOR = 512


def unavailable() -> Unavailable:
    """What everybody hears when the log cannot be written."""
    return Unavailable(
        "The installation's audit log cannot be written at the moment. Nothing was done. Try again later.",
        code="audit_unavailable",
        retry_after=5,
    )


@contextlib.contextmanager
def locked(folder: Path, how: int, seconds: float) -> Iterator[bool]:
    """The folder's lock for a block, waited for at most so long; False when it was not got (or nobody may write)."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        held, until = False, time.monotonic() + seconds
        while not held:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                if time.monotonic() > until:
                    break
                time.sleep(0.002)
        yield held
    finally:
        os.close(descriptor)


def read_head(folder: Path, verifier: Verifier) -> Checkpoint | None:
    """The newest signed tree head; None when there is none. Raises ValueError when it is not this log's."""
    try:
        data = (folder / HEAD).read_bytes()
    except FileNotFoundError:
        return None
    note = data.rstrip(b"\0")
    if len(data) != SECTOR:
        raise ValueError("not a head")
    return verifier.open(note)


def read_checkpoint(folder: Path, verifier: Verifier) -> Checkpoint | None:
    """The published checkpoint; None when there is none. Raises ValueError when it is not this log's."""
    try:
        data = (folder / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return None
    return verifier.open(data)


class Snapshot:
    """The log at one moment. Raises Unavailable when there is nothing to read."""

    def __init__(self, folder: Path, verifier: Verifier) -> None:
        self.folder = folder
        self.verifier = verifier
        self._cached: tuple[str, list[bytes]] = ("", [])
        self._bundle: tuple[str, list[bytes]] = ("", [])
        try:
            with locked(folder, fcntl.LOCK_SH, 1.0):
                self.checkpoint = read_checkpoint(folder, verifier)
                begins = journal.segments(folder)
                self._begin, self._recent = self._journal(begins) if begins else (0, [])
        except (OSError, ValueError):
            raise Unavailable(
                "The audit log cannot be read. 'freehold audit verify' says what is wrong with it.",
                code="audit_unavailable",
            ) from None
        if not begins and self.checkpoint is not None:  # a copy: what its checkpoint covers
            self._begin = self.checkpoint.size
        self._leaves = [leaf_hash(entry) for entry in self._recent]
        self.size = self._begin + len(self._recent)

    def _journal(self, begins: list[int]) -> tuple[int, list[bytes]]:
        """The entries of the newest run of segments."""
        found: list[bytes] = []
        for begin in begins:
            try:
                for frame, _ in journal.frames((self.folder / journal.segment_name(begin)).read_bytes(), begin):
                    found += frame.entries
            except journal.Broken:
                break
        return begins[0], found

    def entry(self, sequence: int) -> bytes | None:
        """One entry; None when it was pruned. Raises Refused 404 when the log never had it."""
        if not 0 <= sequence < self.size:
            raise Refused("The audit log has no entry of that number.", status=404)
        if sequence >= self._begin:
            return self._recent[sequence - self._begin]
        found = self._entries(sequence // WIDTH)
        return None if found is None else found[sequence % WIDTH]

    def entries(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(sequence, entry) from `begin` on; what was pruned is left out."""
        end = self.size if end is None else min(end, self.size)
        place = max(begin, 0)
        while place < min(end, self._begin):
            found = self._entries(place // WIDTH)
            border = min((place // WIDTH + 1) * WIDTH, self._begin, end)
            if found is not None:
                for number in range(place, border):
                    yield number, found[number % WIDTH]
            place = border
        for number in range(place, end):
            yield number, self._recent[number - self._begin]

    def bundle(self, index: int) -> bytes | None:
        """A full bundle's bytes; None when it was pruned."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / tiles.path(tiles.ENTRIES, index)).read_bytes()
        return None

    @property
    def settled(self) -> int:
        """How many of the oldest entries are in tiles alone: what is younger is in the journal too."""
        return self._begin

    @property
    def read(self) -> ReadHash:
        """The hashes of complete subtrees."""
        return self._subtree

    def _entries(self, index: int) -> list[bytes] | None:
        name = tiles.path(tiles.ENTRIES, index)
        if self._bundle[0] != name:
            data = self.bundle(index)
            if data is None and self.checkpoint is not None and index == self.checkpoint.size // WIDTH:
                with contextlib.suppress(FileNotFoundError):
                    width = self.checkpoint.size % WIDTH
                    data = (self.folder / tiles.path(tiles.ENTRIES, index, width)).read_bytes()
            if data is None:
                return None
            self._bundle = (name, tiles.unbundle(data))
        return self._bundle[1]

    def _subtree(self, level: int, index: int) -> bytes:
        tile_level, rest = divmod(level, 8)
        count = 1 << rest
        return full_root([self._hash(tile_level, i) for i in range(index * count, (index + 1) * count)])

    def _hash(self, level: int, index: int) -> bytes:
        """The hash at a tile's level: of a leaf, or of a full tile of the level below."""
        if level == 0 and index >= self._begin:
            return self._leaves[index - self._begin]
        tile, place = divmod(index, WIDTH)
        row = self._tile(level, tile, place)
        if row is not None:
            return row[place]
        if level == 0:
            raise Unavailable("A tile of the audit log is missing.", code="audit_unavailable")
        return full_root([self._hash(level - 1, i) for i in range(index * WIDTH, (index + 1) * WIDTH)])

    def _tile(self, level: int, index: int, place: int) -> list[bytes] | None:
        """A tile's hashes if it holds the one at `place`: the full one, or the widest partial one."""
        name = tiles.path(level, index)
        if self._cached[0] == name and len(self._cached[1]) > place:
            return self._cached[1]
        file = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            self._cached = (name, tiles.hashes(file.read_bytes()))
            return self._cached[1]
        partial = file.with_name(f"{file.name}.p")
        with contextlib.suppress(FileNotFoundError, ValueError):
            widths = [int(p.name) for p in partial.iterdir() if p.name.isdigit()]
            if widths and max(widths) > place:
                self._cached = (name, tiles.hashes((partial / str(max(widths))).read_bytes()))
                return self._cached[1]
        return None
