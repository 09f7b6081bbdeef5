"""The two clocks of a machine, and whether the wall's was moved. Asked once for each batch by the writer.

The uptime goes on while the machine sleeps and nobody can set it, so the two drift apart only when somebody (or a time
server) moves the wall's. The boot's number tells a restart, after which the uptime begins again.
"""

import time
import zlib
from pathlib import Path

from freehold.audit.journal import Moment

SLACK = 2000
"""Milliseconds by which the wall's clock may be corrected without a word."""


class Clock:
    """This machine's clocks."""

    def __init__(self) -> None:
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        except OSError:
            boot = b""
        self._boot = zlib.crc32(boot)

    def now(self) -> Moment:
        """What they say."""
        return Moment(time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000, self._boot)


def jump(before: Moment, now: Moment) -> int | None:
    """By how many milliseconds the wall's clock was moved since, or None. After a restart only backwards is told."""
    if before.boot == now.boot and now.uptime >= before.uptime:
        moved = (now.wall - before.wall) - (now.uptime - before.uptime)
    else:
        moved = min(now.wall - before.wall, 0)
    return moved if abs(moved) > SLACK else None
