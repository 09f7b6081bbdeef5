"""A program that a driver has started: its end, its log, its standard input. Both drivers' boxes are these.

Signals go through a process descriptor, so that they can never reach another process that was given the same number.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

from freehold.protocol.errors import Misconfigured

_LOG_BYTES = 8 << 20
_WATCHER_SECONDS = 2.0


def open_log(path: Path) -> int:
    """A descriptor that appends to the log (0600); a long one is put aside as `NAME.1` first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_BYTES:
            os.replace(path, path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class LaunchedBox:
    """A box: `process` is what we started and wait for, `pid` the program itself."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, pid: int) -> None:
        self.name = name
        self.pid = pid
        self._process = process
        self._descriptor = -1
        if sys.platform == "linux":
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                self._descriptor = os.pidfd_open(pid)

    @property
    def alive(self) -> bool:
        """Has it not ended yet?"""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for its end; gives the exit code (128 + N when signal N ended it)."""
        code = await self._process.wait()
        self._forget()
        return code if code >= 0 else 128 - code

    async def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, and after `grace` seconds (or at once, when it would not hear) make it."""
        if self.alive and _hears_terminate(self.pid):
            self._send(signal.SIGTERM)
            await self._wait_at_most(grace)
        if self.alive:  # what we started ends by itself when the program has, and not before
            self._send(signal.SIGKILL)
            await self._wait_at_most(_WATCHER_SECONDS)
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._forget()

    async def _wait_at_most(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor >= 0:
                signal.pidfd_send_signal(self._descriptor, number)
            elif sys.platform != "linux":
                self._process.send_signal(number)

    def _forget(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def whole(launch: Coroutine[None, None, LaunchedBox]) -> LaunchedBox:
    """The box that `launch` makes. A cancel waits for it (milliseconds) and ends it: nobody could end half a box."""
    task = asyncio.create_task(launch)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Misconfigured):
            await (await task).stop(0)
        raise


def feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    """Hand `data` to the program's standard input and close it; written as the program reads."""
    if process.stdin is not None:
        process.stdin.write(data)
        process.stdin.close()


def _hears_terminate(pid: int) -> bool:
    """Does the process handle SIGTERM? The first process of a pid namespace is deaf to what it does not handle."""
    try:
        with open(f"/proc/{pid}/status") as file:
            caught = next(line for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return True
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
