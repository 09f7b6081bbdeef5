"""The seam between who wants a program boxed and what boxes it.

A driver declares what it guarantees; whoever starts a box reads that, and no driver ever guarantees less than it says:
when the machine lacks a primitive, `problems` lists it with its remedy and `start` raises Misconfigured. Drivers are
chosen by name in `open_driver`; there is no fallback from one to another. The supervisor is the only caller.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from freehold.protocol.errors import Misconfigured, Problem


class Guarantee(StrEnum):
    """What a driver may promise of every box that it starts."""

    NO_NETWORK = "no_network"
    UNIX_SOCKETS_ONLY = "unix_sockets_only"
    SYSCALL_ALLOWLIST = "syscall_allowlist"
    LANDLOCK = "landlock"
    NO_NEW_PROCESSES = "no_new_processes"
    READ_ONLY_ROOT = "read_only_root"
    PRIVATE_TMP = "private_tmp"
    ONLY_ITS_MOUNTS = "only_its_mounts"
    EMPTY_ENVIRONMENT = "empty_environment"
    NO_PRIVILEGES = "no_privileges"
    NOT_ROOT = "not_root"
    MEMORY_LIMIT = "memory_limit"
    THREAD_LIMIT = "thread_limit"
    FILE_LIMIT = "file_limit"
    DISK_LIMIT = "disk_limit"
    NO_CORE_DUMPS = "no_core_dumps"
    DIES_WITH_PARENT = "dies_with_parent"


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host and where a box sees it. In a writable folder a box may make sockets, not files."""

    host: Path
    inside: str
    writable: bool = False


@dataclass(frozen=True)
class BoxSpec:
    """What is to run and what it may use. `stdin` is all that the program is told; nothing is in argv or environment.

    `memory_bytes` bounds the address space; `threads` and `open_files` are counts; `log` receives stdout and stderr.
    """

    name: str
    argv: tuple[str, ...]
    stdin: bytes
    mounts: tuple[Mount, ...]
    memory_bytes: int
    threads: int
    open_files: int
    log: Path


class Box(Protocol):
    """A started program."""

    @property
    def name(self) -> str:
        """The name from its spec."""
        ...

    @property
    def pid(self) -> int:
        """The program's process id as the host sees it."""
        ...

    @property
    def alive(self) -> bool:
        """Has it not ended yet?"""
        ...

    async def wait(self) -> int:
        """Wait for its end; gives the exit code (128 + N when signal N ended it)."""
        ...

    async def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, and after `grace` seconds make it. Nothing of it is left on return."""
        ...


class Driver(Protocol):
    """Starts boxes of one kind."""

    @property
    def name(self) -> str:
        """As the configuration spells it."""
        ...

    @property
    def guarantees(self) -> frozenset[Guarantee]:
        """What holds for every box that `start` gives."""
        ...

    @property
    def unguaranteed(self) -> frozenset[Guarantee]:
        """What does not."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """What this machine lacks for it, with remedies; empty when it can start boxes."""
        ...

    def inside(self, mount: Mount) -> str:
        """The path under which the program sees a mount."""
        ...

    async def start(self, spec: BoxSpec) -> Box:
        """Start a program in a box; returns when it runs there, sealed. Raises Misconfigured when it cannot be."""
        ...


def open_driver(name: str) -> Driver:
    """The driver of that name. Raises Misconfigured when there is none."""
    from freehold.isolation.drivers.process import ProcessDriver
    from freehold.isolation.drivers.sandbox import SandboxDriver

    drivers: dict[str, type[SandboxDriver] | type[ProcessDriver]] = {
        "sandbox": SandboxDriver,
        "process": ProcessDriver,
    }
    if name not in drivers:
        raise Misconfigured(
            Problem(f"there is no isolation driver {name!r}", f"Choose one of: {', '.join(sorted(drivers))}.")
        )
    return drivers[name]()
