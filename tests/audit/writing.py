"""A process of its own that writes the log: for the tests that kill it or starve it. `python -m tests.audit.writing`.

`record FOLDER ACTOR COUNT` records for ever (or COUNT events) from several tasks and prints each number once it is
acknowledged. `step N FOLDER` kills itself before its Nth system call on files. `starve FOLDER SCENARIO` meets a disk
that fails and prints as JSON how long it took to be refused and to work again.
"""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freehold.audit.events import encode
from freehold.audit.log import AuditLog
from freehold.audit.writer import Writer
from freehold.protocol.errors import Unavailable
from tests.audit.making import KEY, event


async def record(folder: Path, actor: int, count: int) -> None:
    """Four tasks that record, each number once; what is acknowledged is printed."""
    numbers = iter(range(count or 1 << 40))

    async def one(log: AuditLog) -> None:
        for number in numbers:
            sequence = await log.record(event(number, actor))
            os.write(1, b"%d %d\n" % (number, sequence))

    async with AuditLog(folder, KEY) as log:
        await asyncio.gather(*(one(log) for _ in range(4)))


_CALLS = frozenset({os.pwrite, os.fdatasync, os.replace, os.open, os.ftruncate, os.fsync, os.unlink})


def step(number: int, folder: Path) -> None:
    """Commit one by one over a tile's border, and die before the Nth call."""
    left = number

    def watch(_frame: Any, what: str, function: Any) -> None:
        nonlocal left
        if what == "c_call" and function in _CALLS:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    writer = Writer(folder, KEY)
    writer.open()
    sys.setprofile(watch)
    batches = [*range(3)], [*range(3, 103)], [*range(103, 110)]
    for some in batches:
        while some:
            done = writer.commit([encode(event(n, 1)) for n in some])
            os.write(1, b"".join(b"%d %d\n" % pair for pair in zip(some, done, strict=False)))
            some = some[len(done) :]
    writer.publish()
    writer.retire()


async def starve(folder: Path, scenario: str) -> dict[str, object]:
    """Meet a failing disk; gives how it went."""
    breaks, mends = SCENARIOS[scenario]
    async with AuditLog(folder, KEY) as log:
        acknowledged = [await log.record(event(n)) for n in range(10)]
        breaks(folder)
        refusals: list[tuple[float, int, str | None]] = []
        refused: list[int] = []
        number = 10
        while len(refusals) < 5:
            began = time.monotonic()
            try:
                acknowledged.append(await log.record(event(number)))
            except Unavailable as error:
                refusals.append((time.monotonic() - began, error.status, error.code))
                refused.append(number)
                if len(refused) == 1:
                    log.note(event(number, 1))
            number += 1
        writable = log.writable
        mends(folder)
        began = time.monotonic()
        while True:
            try:
                acknowledged.append(await log.record(event(number)))
                break
            except Unavailable:
                await asyncio.sleep(0.01)
        recovered = time.monotonic() - began
        acknowledged += [await log.record(event(number + n)) for n in range(1, 4)]
    return {
        "slowest": max(seconds for seconds, _, _ in refusals),
        "answers": sorted({(status, code) for _, status, code in refusals}),
        "writable": writable,
        "recovered": recovered,
        "acknowledged": acknowledged,
        "refused": refused,
    }


def _fill(folder: Path) -> None:
    """Take all room: a ballast as large as the disk lets it be."""
    with (folder.parent / "ballast").open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    ballast.write(b"x" * size)
            except OSError:
                continue


_fdatasync = os.fdatasync


def _break_syncs(_folder: Path) -> None:
    """Every sync of data fails as a dying disk's does; what was written to the page cache stays there."""

    def fails(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    setattr(os, "fdatasync", fails)  # noqa: B010


def _make_readonly(folder: Path) -> None:
    """Lay a read-only view of the folder over it, which the kernel allows while files in it are open."""
    _run("mount", "--bind", str(folder), str(folder))
    _run("mount", "-o", "remount,ro,bind", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "full": (_fill, lambda folder: (folder.parent / "ballast").unlink()),
    "readonly": (_make_readonly, lambda folder: _run("umount", str(folder))),
    "dying": (_break_syncs, lambda folder: setattr(os, "fdatasync", _fdatasync)),
}


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "record":
        asyncio.run(record(Path(rest[0]), int(rest[1]), int(rest[2])))
    elif what == "step":
        step(int(rest[0]), Path(rest[1]))
    else:
        print(json.dumps(asyncio.run(starve(Path(rest[0]), rest[1]))))


if __name__ == "__main__":
    main()
