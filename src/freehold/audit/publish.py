"""The writer's right edge of the log, and what is made of it for readers: tiles, partial tiles, checkpoints.

Everything here is derived from the journal, so nothing is synced until a segment of it is dropped (`retire`). A tile or
checkpoint in the journal's reach that is missing or different when the log is opened is made again, and counted.
"""

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

from freehold.audit import journal, tiles
from freehold.audit.folder import CHECKPOINT, locked, read_checkpoint
from freehold.audit.journal import SEGMENT
from freehold.audit.note import Signer
from freehold.audit.tree import WIDTH, Frontier, leaf_hash


class Edge:
    """The tree's right edge with the entries of its last tile. `grown` gives another one; nothing is written before
    `make_tiles` or `publish`."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self._folder = folder
        self._signer = signer
        self._frontier = Frontier()
        self._tail: list[bytes] = []
        self._border: tuple[int, bytes] | None = None
        self._watched: tuple[int, bytes | None] = (-1, None)
        self.made: list[tuple[int, list[bytes]]] = []
        self.published = 0
        self.mended = 0

    @classmethod
    def loaded(cls, folder: Path, signer: Signer, base: int) -> "Edge":
        """The edge at `base`, where the oldest segment begins. What it says is not to be trusted before a signature
        over a root that it led to was checked. Raises OSError, ValueError."""
        edge = cls(folder, signer)
        rows: list[list[bytes]] = [[]]
        level, above = 1, base // WIDTH
        while above:
            width = above % WIDTH
            rows.append(_row(folder, level, above // WIDTH, width) if width else [])
            level, above = level + 1, above // WIDTH
        edge._frontier = Frontier.resumed(base, rows)
        with contextlib.suppress(ValueError):
            found = read_checkpoint(folder, signer.verifier)
            edge.published = found.size if found is not None else 0
        return edge

    @property
    def size(self) -> int:
        """Entries in the tree."""
        return self._frontier.size

    def root(self) -> bytes:
        """The tree's root."""
        return self._frontier.root()

    def watch(self, size: int) -> None:
        """Remember the root at this size when it is passed."""
        self._watched = (size, self.root() if size == self.size else None)

    @property
    def watched(self) -> bytes | None:
        """The root at the size that was watched for, if it was passed."""
        return self._watched[1]

    def grown(self, entries: list[bytes]) -> "Edge":
        """The edge with these entries after it."""
        new = Edge(self._folder, self._signer)
        old = self._frontier
        new._frontier = frontier = old.copy()
        new._tail, new._border, new._watched = list(self._tail), self._border, self._watched
        new.made, new.published, new.mended = list(self.made), self.published, self.mended
        wanted = self._watched[0]
        for entry in entries:
            frontier.append(leaf_hash(entry))
            new._tail.append(entry)
            if not frontier.levels[0]:
                new.made.append((frontier.size // WIDTH - 1, new._tail))
                new._tail = []
                new._border = (frontier.size, frontier.root())
            if frontier.size == wanted:
                new._watched = (wanted, frontier.root())
        return new

    def make_tiles(self) -> None:
        """Write the tiles that became full, then the checkpoint at their border. Raises OSError."""
        for index, entries in self.made:
            self._write(tiles.path(tiles.ENTRIES, index), tiles.bundle(entries))
        for tile in self._frontier.full:
            self._write(tiles.path(tile.level, tile.index), b"".join(tile.hashes))
        self._make_upper()
        if self._border is not None and self._border[0] > self.published:
            self._put_checkpoint(*self._border)
        for tile in self._frontier.full:
            self._drop_partial(tile.level, tile.index)
            if tile.level == 0:
                self._drop_partial(tiles.ENTRIES, tile.index)
        self.made, self._frontier.full, self._border = [], [], None

    def publish(self) -> None:
        """Write the partial tiles of the tree as it is, then a checkpoint over all of it. Raises OSError."""
        if self.made:
            self.make_tiles()
        if self._tail:
            index, width = divmod(self.size, WIDTH)
            self._write(tiles.path(tiles.ENTRIES, index, width), tiles.bundle(self._tail))
            self._write(tiles.path(0, index, width), b"".join(self._frontier.levels[0]))
        self._make_upper()
        self._put_checkpoint(self.size, self.root())

    def check_published(self) -> bool:
        """Whether the checkpoint that lies there is one of this tree as far as it goes; else it is to be made again."""
        try:
            found = read_checkpoint(self._folder, self._signer.verifier)
        except ValueError:
            found = None
        if found is not None and found.size > self.size:
            raise ValueError("the checkpoint is ahead of the log")
        if found is None and self.size >= WIDTH:
            self.mended += 1
            self.published = 0
            return False
        return True

    def _make_upper(self) -> None:
        for level, row in enumerate(self._frontier.levels):
            if level and row:
                index = (self.size // WIDTH**level) // WIDTH
                self._write(tiles.path(level, index, len(row)), b"".join(row))

    def _put_checkpoint(self, size: int, root: bytes) -> None:
        tiles.write(self._folder / CHECKPOINT, self._signer.checkpoint(size, root))
        self.published = size

    def _write(self, name: str, data: bytes) -> None:
        file = self._folder / name
        try:
            found = file.read_bytes()
        except FileNotFoundError:
            pass
        else:
            if found == data:
                return
            self.mended += 1
        tiles.write(file, data)

    def _drop_partial(self, level: int | str, index: int) -> None:
        file = self._folder / tiles.path(level, index)
        shutil.rmtree(file.with_name(f"{file.name}.p"), ignore_errors=True)


def retire(folder: Path, size: int, pause: float = 0) -> None:
    """Sync what was made of finished segments and drop these. Raises OSError; may be done twice, or by two.

    `pause`: seconds between two syncs, so that those of the journal are not kept waiting.
    """
    for begin in journal.segments(folder):
        if begin + SEGMENT > size:
            break
        touched: set[Path] = set()
        for index in range(begin // WIDTH, (begin + SEGMENT) // WIDTH):
            for level in (tiles.ENTRIES, 0):
                touched.add(folder / tiles.path(level, index))
        level, end = 1, (begin + SEGMENT) // WIDTH
        while end:
            touched |= _files_of(folder, level, (end - 1) // WIDTH)
            level, end = level + 1, end // WIDTH
        folders = {parent for path in touched for parent in (path.parent, path.parent.parent)}
        for path in (*touched, *folders):
            _sync(path)
            time.sleep(pause)
        with locked(folder, fcntl.LOCK_EX, 5.0) as held:  # nobody may be about to read it
            if held:
                (folder / journal.segment_name(begin)).unlink(missing_ok=True)


def _files_of(folder: Path, level: int, index: int) -> set[Path]:
    file = folder / tiles.path(level, index)
    if file.exists():
        return {file}
    partial = file.with_name(f"{file.name}.p")
    return set(partial.iterdir()) if partial.exists() else set()


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # a partial tile that became full meanwhile
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _row(folder: Path, level: int, index: int, width: int) -> list[bytes]:
    """The first hashes of a tile: from the full one, from a partial one that holds them, or from the level below."""
    file = folder / tiles.path(level, index)
    candidates = [file]
    with contextlib.suppress(FileNotFoundError):
        partial = file.with_name(f"{file.name}.p")
        candidates += sorted((p for p in partial.iterdir() if p.name.isdigit()), key=lambda p: -int(p.name))
    for candidate in candidates:
        with contextlib.suppress(FileNotFoundError, ValueError):
            row = tiles.hashes(candidate.read_bytes())
            if len(row) >= width:
                return row[:width]
    raise ValueError("a tile of the audit log is missing")
