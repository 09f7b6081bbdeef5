"""Who a box is on the host when Freehold runs as root: nobody that exists, and somebody else for each box.

Root's processes are not counted against RLIMIT_NPROC and own most files, so a box must not be root. A user namespace
that maps to an unprivileged user could not reach an interpreter below /root while bubblewrap composes the box; so
bubblewrap runs as root, and the last step in the box changes to a user of its own, drawn from a range that no
distribution assigns. The files that a box is given keep their owner; a group that every box has may read them. Each box
sees only its own mounts, and the folders above them on the host stay closed to everyone.
"""

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from freehold.isolation.driver import Mount
from freehold.protocol.errors import Misconfigured, Problem

_LOW, _HIGH = 0x7000_0000, 0x7FFF_0000  # above systemd's container range, below what a signed id cannot hold
_FEWEST = 1000


@dataclass(frozen=True)
class Identity:
    """A box's user and group ids on the host; `readers` is the group of all boxes."""

    user: int
    readers: int

    @classmethod
    def fresh(cls) -> "Identity":
        """One that no other box has. Raises Misconfigured where this container has too few ids."""
        low, high = _range()
        return cls(low + 1 + secrets.randbelow(high - low - 1), low)

    def take(self, mount: Mount) -> None:
        """Let the box use a mount: own its writable folder, read the others. Raises OSError when that fails."""
        if mount.writable:
            os.chown(mount.host, self.user, self.user, follow_symlinks=False)
            return
        self._let_read(mount.host)
        if mount.host.is_dir():
            for entry in mount.host.iterdir():
                if stat.S_ISSOCK(entry.lstat().st_mode):
                    self._let_read(entry)

    def _let_read(self, path: Path) -> None:
        """Open a private file to the group of boxes. One that everyone may read already is not touched."""
        info = path.stat()
        # What is made in a folder later inherits its group.
        group, others = _NEEDED.get(stat.S_IFMT(info.st_mode), (0o040, 0o004))
        if info.st_mode & others == others or (info.st_gid == self.readers and info.st_mode & group == group):
            return
        os.chown(path, -1, self.readers)
        path.chmod(stat.S_IMODE(info.st_mode) | group)


# What a box needs of a folder or a socket: as one of its group, or as anyone.
_NEEDED = {stat.S_IFDIR: (0o2050, 0o005), stat.S_IFSOCK: (0o060, 0o006)}


def _range() -> tuple[int, int]:
    with open("/proc/self/uid_map") as users, open("/proc/self/gid_map") as groups:
        spans = [[tuple(map(int, line.split())) for line in file] for file in (users, groups)]
    if all(any(first <= _LOW and first + count >= _HIGH for first, _, count in span) for span in spans):
        return _LOW, _HIGH
    last = min(max(first + count for first, _, count in span) for span in spans) - 100
    if last < 2 * _FEWEST:
        raise Misconfigured(
            Problem(
                "this container has too few user ids to give boxes their own",
                "Run Freehold as an ordinary user in it, or give the container a range of at least 65536 ids.",
            )
        )
    return max(last - 5000, _FEWEST), last
