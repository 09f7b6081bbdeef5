"""A whole Freehold, started as a user starts it: `freehold up --detach --json`, tiny model, own folder and port."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FREEHOLD = Path(sys.executable).with_name("freehold")
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


@dataclass
class Stack:
    """One instance: how to command it and how to reach it."""

    state: Path
    port: int
    up: dict[str, Any] = field(default_factory=dict)
    key: str = ""

    def freehold(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on this state folder."""
        return subprocess.run(
            [str(FREEHOLD), *arguments, "--state", str(self.state)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=ENVIRONMENT,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command with --json and give what it printed."""
        done = self.freehold(*arguments, "--json")
        assert done.stdout, (arguments, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def start(self, *options: str) -> dict[str, Any]:
        """Start it detached; fails the test when it does not come up."""
        done = self.freehold("up", "--detach", "--json", "--engine", "tiny", "--port", str(self.port), *options)
        assert done.returncode == 0, (done.stdout, done.stderr)
        self.up = json.loads(done.stdout)
        return self.up

    @property
    def ca(self) -> str:
        """The local CA's file."""
        return str(self.state / "certificates" / "ca.pem")

    @property
    def context(self) -> ssl.SSLContext:
        """A client's TLS that trusts this instance only."""
        return ssl.create_default_context(cafile=self.ca)

    def pids(self) -> dict[str, int]:
        """Process name → id, of everything that runs for this instance."""
        return {row["name"]: row["pid"] for row in self.json("status")["processes"]}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_stack() -> Stack:
    """An instance that was never started, in a folder of its own."""
    return Stack(Path(tempfile.mkdtemp(prefix="fht-")) / "state", free_port())


def remove(stack: Stack) -> None:
    """Stop it, whatever its state, and delete its folder."""
    stack.freehold("down")
    shutil.rmtree(stack.state.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One running instance for all tests that leave it as they found it."""
    made = new_stack()
    try:
        made.start()
        made.key = made.json("key", "create", "tests")["key"]
        yield made
    finally:
        remove(made)


@pytest.fixture
def fresh() -> Iterator[Stack]:
    """An instance of the test's own, not started yet."""
    made = new_stack()
    yield made
    remove(made)


def alive(pid: int) -> bool:
    """Does this process run (a zombie does not)?"""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
