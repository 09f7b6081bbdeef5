"""Which instance runs on a state folder: a lock that dies with its holder, and the facts that other commands read."""

import errno
import fcntl
import os
import shutil
import socket

import msgspec

from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Layout, write_private


class Instance(msgspec.Struct, frozen=True):
    """Facts of the running instance."""

    pid: int
    url: str
    ca_file: str | None
    driver: str
    started_at: float


class Lock:
    """The right to run on a state folder. Released by the kernel when the process ends, however it ends."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._descriptor = -1

    def take(self) -> None:
        """Raises Misconfigured when another instance runs on this state folder."""
        self._descriptor = os.open(self._layout.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Misconfigured(
                Problem(
                    f"an instance already runs on {self._layout.state}",
                    "Use it ('freehold status'), stop it ('freehold down'), or choose another --state folder.",
                )
            ) from None

    def release(self) -> None:
        """Let another instance run here."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_instance(layout: Layout, instance: Instance) -> None:
    """Note the facts for other commands."""
    write_private(layout.instance_file, msgspec.json.encode(instance))


def read_instance(layout: Layout) -> Instance | None:
    """The running instance's facts, or None when none runs."""
    try:
        instance = msgspec.json.decode(layout.instance_file.read_bytes(), type=Instance)
        descriptor = os.open(layout.state / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (OSError, msgspec.DecodeError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return instance
    finally:
        os.close(descriptor)
    return None


def clear_run(layout: Layout) -> None:
    """Remove what an instance left: its sockets and its facts, with their folder."""
    shutil.rmtree(layout.run, ignore_errors=True)


def check_port(bind: str, port: int) -> None:
    """Raises Misconfigured when the edge could not listen there."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise Misconfigured(_port_problem(bind, port, error)) from None


def _port_problem(bind: str, port: int, error: OSError) -> Problem:
    if error.errno == errno.EADDRINUSE:
        return Problem(f"port {port} is taken by another program", "Stop that program, or choose another with --port.")
    if error.errno == errno.EACCES:
        return Problem(f"port {port} needs more rights than this user has", "Choose one from 1024 with --port.")
    return Problem(f"this machine has no address {bind}", "Choose an address of this machine with --bind.")
