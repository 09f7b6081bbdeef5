"""Copies of the log in another place: a folder (of a mounted disk of somebody else), or a bucket. Never in its way.

A copy is the log as C2SP lays it out, without journal, so that its keeper verifies it with the public key alone. It
follows the published checkpoint, which is at most some seconds old; before it takes a newer one it demands the proof
that the log only grew, so that a log that was rolled back or written anew does not reach it. How far a copy is, is what
its own checkpoint says: a copier that was away goes on from there.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from freehold.audit import tiles
from freehold.audit.folder import CHECKPOINT, VERIFIER, Snapshot, read_checkpoint
from freehold.audit.note import Checkpoint, Verifier
from freehold.audit.prove import prove_growth
from freehold.audit.tree import WIDTH
from freehold.protocol.errors import Refused
from freehold.settings import write_private

AT_ONCE = 64
"""Full tiles that one step copies, so that stopping never waits long."""


class Store(Protocol):
    """Where a copy lies. Both raise OSError when the place cannot be reached."""

    def get(self, name: str) -> bytes | None:
        """A file's content; None when there is none."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def drop(self, name: str) -> None:
        """Remove a folder of partial tiles whose full tile is there now, where the place lets us."""


class FolderStore:
    """A folder, which must be there already: a disk that is not mounted is not to be filled beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        """See Store."""
        if not self._folder.is_dir():
            raise FileNotFoundError(2, "the folder of the copy is not there")
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / name).read_bytes()
        return None

    def put(self, name: str, data: bytes) -> None:
        """See Store. Synced."""
        if not self._folder.is_dir():
            raise FileNotFoundError(2, "the folder of the copy is not there")
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, data, mode=0o644)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def drop(self, name: str) -> None:
        """See Store."""
        shutil.rmtree(self._folder / name, ignore_errors=True)


class Copier:
    """Keeps one copy. `alarm` is called when the log does not continue the copy; the copy then stays as it is."""

    def __init__(self, folder: Path, key: Verifier, store: Store, alarm: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._key = key
        self._store = store
        self._alarm = alarm
        self._refused = b""
        self._copied: Checkpoint | None = None
        self._next = 0
        self._looked = False

    def step(self) -> bool:
        """Copy what is new; True when there is more. Blocking. Raises OSError or Unavailable when a place is away."""
        published = self._published()
        if published is None or published.note == self._refused:
            return False
        if not self._looked:
            self._copied = self._found()
            self._next = self._copied.size // WIDTH if self._copied is not None else 0
            self._looked = True
        if self._copied is not None and self._copied.size == published.size and self._copied.root == published.root:
            return False
        snapshot = Snapshot(self._folder, self._key)
        published = snapshot.checkpoint or published
        if self._copied is not None and not self._continues(snapshot, self._copied, published):
            return False
        last = published.size // WIDTH
        for index in range(self._next, min(self._next + AT_ONCE, last)):
            self._copy_full(index)
            self._next = index + 1
        if self._next < last:
            return True
        self._copy_edge(published)
        self._store.put(VERIFIER, f"{self._key}\n".encode())
        self._store.put(CHECKPOINT, published.note)
        self._copied = published
        return False

    def _published(self) -> Checkpoint | None:
        try:
            return read_checkpoint(self._folder, self._key)
        except ValueError:
            return None  # damaged: the writer mends it, the verifier tells

    def _found(self) -> Checkpoint | None:
        """How far the copy is. One that is not of this log is not written over."""
        data = self._store.get(CHECKPOINT)
        try:
            return self._key.open(data) if data is not None else None
        except ValueError:
            raise OSError("the place of the copy holds something else") from None

    def _continues(self, snapshot: Snapshot, old: Checkpoint, new: Checkpoint) -> bool:
        try:
            prove_growth(snapshot, old)
        except Refused:
            self._refused = new.note
            self._alarm()
            return False
        return True

    def _copy_full(self, index: int) -> None:
        for level in (tiles.ENTRIES, 0):
            name = tiles.path(level, index)
            with contextlib.suppress(FileNotFoundError):  # pruned before it was copied
                self._store.put(name, (self._folder / name).read_bytes())
                self._store.drop(f"{name}.p")
        level_index, level = index + 1, 1
        while level_index % WIDTH == 0:
            name = tiles.path(level, level_index // WIDTH - 1)
            self._store.put(name, (self._folder / name).read_bytes())
            self._store.drop(f"{name}.p")
            level_index, level = level_index // WIDTH, level + 1

    def _copy_edge(self, published: Checkpoint) -> None:
        """The partial tiles of this checkpoint; the full one instead where there is one by now."""
        above, level = published.size, 0
        while above:
            width = above % WIDTH
            for kind in ((tiles.ENTRIES, 0) if level == 0 else (level,)) if width else ():
                name = tiles.path(kind, above // WIDTH, width)
                self._store.put(name, self._partial(kind, above // WIDTH, width))
            above, level = above // WIDTH, level + 1

    def _partial(self, kind: str | int, index: int, width: int) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / tiles.path(kind, index, width)).read_bytes()
        whole = (self._folder / tiles.path(kind, index)).read_bytes()
        return tiles.bundle(tiles.unbundle(whole)[:width]) if kind == tiles.ENTRIES else whole[: 32 * width]
