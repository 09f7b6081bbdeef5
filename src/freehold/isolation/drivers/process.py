"""The `process` driver: a plain child process, for macOS and development. It seals nothing and says so.

Same seam as the sandbox: settings on standard input, an environment of fixed values, resource limits, death with the
parent (on Linux). What it does not guarantee is in `unguaranteed`, for the command line to print.
"""

import asyncio
import ctypes
import os
import resource
import signal
import sys

from freehold.isolation.driver import BoxSpec, Guarantee, Mount
from freehold.isolation.drivers.launched import LaunchedBox, feed, open_log, whole
from freehold.isolation.drivers.runtime import ENVIRONMENT
from freehold.protocol.errors import Misconfigured, Problem

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ProcessDriver:
    """Starts plain processes."""

    name = "process"
    guarantees = frozenset(
        {Guarantee.EMPTY_ENVIRONMENT, Guarantee.FILE_LIMIT, Guarantee.NO_CORE_DUMPS}
        | ({Guarantee.MEMORY_LIMIT, Guarantee.DIES_WITH_PARENT} if sys.platform == "linux" else set())
    )
    unguaranteed = frozenset(Guarantee) - guarantees

    def problems(self) -> tuple[Problem, ...]:
        """None: it needs nothing."""
        return ()

    def inside(self, mount: Mount) -> str:
        """The host's own path: there is no other view."""
        return str(mount.host.absolute())

    async def start(self, spec: BoxSpec) -> LaunchedBox:
        """Start the program. Raises Misconfigured when it cannot be executed."""
        return await whole(self._launch(spec))

    async def _launch(self, spec: BoxSpec) -> LaunchedBox:
        log = open_log(spec.log)
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                preexec_fn=lambda: _limit(spec),
            )
        except (OSError, ValueError) as error:
            raise Misconfigured(
                Problem(f"{spec.argv[0]} cannot be started: {error}", "Install Freehold again.")
            ) from None
        finally:
            os.close(log)
        feed(process, spec.stdin)
        return LaunchedBox(spec.name, process, process.pid)


def _limit(spec: BoxSpec) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (spec.open_files, spec.open_files))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (spec.memory_bytes, spec.memory_bytes))
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
