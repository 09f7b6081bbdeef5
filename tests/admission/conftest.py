"""The stores as the tests get them: each with a clock that the test moves, the Valkey one on a real server."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from freehold.admission.gcra import MICROSECONDS
from freehold.admission.memory import MemoryStore
from freehold.admission.shared import SharedStore
from freehold.admission.store import Change, Rate, Slot, Store, Taken
from freehold.admission.valkey import ValkeyStore

SERVER = shutil.which("valkey-server") or shutil.which("redis-server")
needs_server = pytest.mark.skipif(SERVER is None, reason="needs a Valkey server: apt-get install redis-server")


class Clock:
    """Seconds that only the test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a server of the tests' own, on a Unix socket."""
    if SERVER is None:
        pytest.skip("needs a Valkey server: apt-get install redis-server")
    folder = Path(tempfile.mkdtemp(prefix="fh-valkey-"))
    with running_server(folder):
        yield f"unix://{folder}/valkey.sock"
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that keeps nothing on disk."""
    assert SERVER is not None
    command = [SERVER, "--port", "0", "--unixsocket", str(folder / "valkey.sock"), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if b"eady to accept connections" in line:
                break
        yield server
    finally:
        server.kill()
        server.communicate()


@contextlib.asynccontextmanager
async def opened(kind: str, tmp_path: Path, clock: Clock, url: str) -> AsyncIterator[Store]:
    """A fresh store of this kind."""
    if kind == "memory":
        yield MemoryStore(clock)
    elif kind == "shared":
        with SharedStore(tmp_path / "limits", rows=1 << 11, clock=clock) as store:
            yield store
    else:
        prefix = f"test-{tmp_path.name}-{id(clock)}"
        async with ValkeyStore(url, prefix=prefix, clock=clock).running() as store:
            yield store


@pytest.fixture(params=["memory", "shared", pytest.param("valkey", marks=needs_server)])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """Each store in turn."""
    url = request.getfixturevalue("valkey") if request.param == "valkey" else ""
    async with opened(request.param, tmp_path, clock, url) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def settle(store: Store, changes: Sequence[Change], slots: Sequence[Slot], lease: str) -> None:
    """Settle, and wait until it is done."""
    settling = store.settle(changes, slots, lease)
    if settling is not None:
        await settling


def rate(key: bytes, limit: int, seconds: float, cost: int) -> Rate:
    """A rate in the tests' seconds."""
    return Rate(key, limit, seconds * MICROSECONDS, cost)


def change(of: Rate, units: int, taken: Taken, index: int = 0) -> Change:
    """What settles `units` more or fewer of a rate that was taken."""
    return Change(of.key, of.limit, of.period, units, taken.ends[index])
