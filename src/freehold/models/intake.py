"""How bytes enter the store: into a private staging folder, hashed as they come, renamed into place when right.

A staging folder is locked by the process that fills it, so that what a killed process left behind can be told from work
in progress and swept away. The store and the fetchers write through `Intake`; nothing else writes model files.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from freehold.protocol.errors import FreeholdError, Misconfigured, Problem


class WrongBytes(FreeholdError):
    """What came is not the file that was expected (size or SHA-256)."""


class Intake:
    """One file on its way in: `write` from any one thread, then `finish`; `restart` for another source."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self.done = 0
        self._path = path
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        """Append. Raises WrongBytes beyond the expected size, Misconfigured on a full disk."""
        if self.done + len(data) > self.size:
            raise WrongBytes("it is longer than expected")
        with disk_errors(self._path.parent):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) or 0 :]
        self._hash.update(data)
        self.done += len(data)

    def restart(self) -> None:
        """Forget what came so far."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.done = 0

    def finish(self, sha256: str) -> Path:
        """Sync and seal the file (0400). Gives its staging path. Raises WrongBytes."""
        if self.done != self.size:
            raise WrongBytes(f"it has {self.done} bytes instead of {self.size}")
        if self._hash.hexdigest() != sha256:
            raise WrongBytes("its SHA-256 is not the expected one")
        with disk_errors(self._path.parent):
            os.fchmod(self._file.fileno(), 0o400)
            os.fsync(self._file.fileno())
        self.close()
        return self._path

    def close(self) -> None:
        """Close the file; what is staged goes away with its folder."""
        self._file.close()


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A fresh locked folder under `folder` for one intake, removed at the end whatever happens."""
    with disk_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(folder)
        place, lock = _locked_folder(folder)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def _locked_folder(folder: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock."""
    while True:
        place = folder / secrets.token_hex(8)
        place.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if place.exists():  # else another process swept it before it was locked
                return place, lock
            os.close(lock)


def sweep(folder: Path) -> None:
    """Remove staging folders that no living process holds."""
    for place in folder.iterdir() if folder.is_dir() else ():
        try:
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(place, ignore_errors=True)
        finally:
            os.close(lock)


def need_room(folder: Path, needed: int) -> None:
    """Raises Misconfigured when the disk of `folder` has less than `needed` bytes free."""
    info = os.statvfs(folder)
    free = info.f_bavail * info.f_frsize
    if free < needed:
        raise Misconfigured(
            Problem(
                f"the disk of {folder} has {free:,} bytes free and the model needs {needed:,}",
                "Free space on that disk, choose a smaller model, or another folder with --state.",
            )
        )


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or failing disk into Misconfigured."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise Misconfigured(
            Problem(
                f"{folder} cannot be written: {error.strerror}",
                "Free space on that disk, choose a smaller model, or another folder with --state."
                if full
                else "Make the state folder writable for this user, or choose another with --state.",
            )
        ) from None
