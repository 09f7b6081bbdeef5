"""A child process that is kept alive: started with its settings on standard input, restarted when it dies.

Used for edge, relay, gateway and console; restarts back off. On Linux the kernel kills the child when the supervisor
dies, however it dies, so that nothing of ours goes on serving without its keeper.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from freehold.protocol.errors import Misconfigured, Problem

_FIRST_DELAY, _LONGEST_DELAY, _STEADY_SECONDS = 0.2, 10.0, 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def python_command(module: str) -> list[str]:
    """A module of ours as a program, isolated (`-I`): no environment or working folder changes what it loads."""
    return [sys.executable, "-I", "-m", module]


def die_with_parent() -> None:
    """In a fresh child: be killed when the parent dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": os.defpath, "MALLOC_ARENA_MAX": "2"}
"""All that a child of ours finds in its environment."""


class Child:
    """One kept process. `ready` is polled after each start until it returns True."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        stdin: bytes = b"",
        ready: Callable[[], Awaitable[bool]],
    ) -> None:
        self.name = name
        self.command = list(command)
        self.restarts = 0
        self.started_at = 0.0
        self._log = log
        self._stdin = stdin
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self, timeout: float) -> None:
        """Start and wait until it is ready. Raises Misconfigured when it dies first or `timeout` s have passed."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())
        deadline = time.monotonic() + timeout
        while not await self._ready():
            if self.restarts or time.monotonic() > deadline:
                await self.stop()
                raise Misconfigured(
                    Problem(f"{self.name} did not start", f"Look at its log: {self._log}, or run 'freehold doctor'.")
                )
            await asyncio.sleep(0.02)

    async def stop(self, grace: float = 8.0) -> None:
        """Ask it to stop, then make it."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(grace):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        delay = _FIRST_DELAY
        while True:
            assert self._process is not None  # noqa: S101 - _spawn ran
            await self._process.wait()
            steady = time.monotonic() - self.started_at > _STEADY_SECONDS
            delay = _FIRST_DELAY if steady else min(delay * 2, _LONGEST_DELAY)
            self.restarts += 1
            await asyncio.sleep(delay)
            await self._spawn()

    async def _spawn(self) -> None:
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                env=ENVIRONMENT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        finally:
            os.close(descriptor)
        self.started_at = time.monotonic()
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(ConnectionError):
                pipe.write(self._stdin)
                await pipe.drain()
            pipe.close()
