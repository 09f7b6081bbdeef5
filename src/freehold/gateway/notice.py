"""Tells the supervisor that engines, workspaces or providers changed: a file with the newest change, replaced whole.

The supervisor holds no database (that costs 20 MB of memory); it watches this file and has `prepare` read what is new.
Written by the gateway's first worker, which follows the change feed anyway.
"""

import contextlib
import os
from pathlib import Path

from freehold.storage.changes import Change

_TOPICS = ("engine", "workspace", "provider")


class Notice:
    """Writes the sequence number of the newest change that the supervisor must act on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, seq: int) -> None:
        """Everything up to `seq` may have passed unseen."""
        self._write(seq)

    def note(self, change: Change) -> None:
        """A change of the feed."""
        if change.topic in _TOPICS:
            self._write(change.seq)

    def _write(self, seq: int) -> None:
        fresh = self._path.with_name(f".{self._path.name}.new")
        with contextlib.suppress(OSError):  # a full disk: the next change, or the hourly look, brings it
            fresh.write_text(str(seq))
            os.replace(fresh, self._path)
