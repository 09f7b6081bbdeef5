"""The store of replicas when things go wrong: a lost, hung or restarted server, a dead replica, a caller who leaves."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from freehold.admission.store import Slot
from freehold.admission.valkey import ValkeyStore
from freehold.protocol.errors import Unavailable
from tests.admission.conftest import Clock, needs_server, rate, running_server, settle
from tests.conftest import until

pytestmark = needs_server
A = b"a" * 16
PLACE = b"aaaaplaceplace.."


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fh-valkey-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
async def strict(folder: Path) -> AsyncIterator[ValkeyStore]:
    async with ValkeyStore(f"unix://{folder}/valkey.sock").running() as store:
        yield store


@contextlib.contextmanager
def stopped(server: "subprocess.Popen[bytes]") -> Iterator[None]:
    server.send_signal(signal.SIGSTOP)
    yield
    server.send_signal(signal.SIGCONT)


async def test_without_its_server_it_refuses(folder: Path, strict: ValkeyStore) -> None:
    with running_server(folder):
        assert (await strict.take([rate(A, 10, 60, 1)], [Slot(PLACE, 1)], "l")).refused is None
    with pytest.raises(Unavailable) as caught:
        await strict.take([rate(A, 10, 60, 1)], [], "m")
    assert (caught.value.status, caught.value.code) == (503, "limiter_unavailable")
    assert caught.value.retry_after
    await settle(strict, [], [Slot(PLACE, 1)], "l")
    with running_server(folder):  # it knows no scripts
        assert (await strict.take([rate(A, 10, 60, 1)], [Slot(PLACE, 1)], "l")).refused is None


async def test_a_hung_server_is_not_waited_for(folder: Path, strict: ValkeyStore) -> None:
    with running_server(folder) as server:
        await strict.take([rate(A, 10, 60, 1)], [], "l")
        with stopped(server):
            began = time.monotonic()
            asked = [strict.take([rate(A, 10, 60, 1)], [], f"l{n}") for n in range(100)]
            for answer in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(answer, Unavailable)
            assert time.monotonic() - began < 5  # 0.8 s each, all at once
        assert (await strict.take([rate(A, 1000, 60, 1)], [], "m")).refused is None


async def test_without_its_server_it_grants_its_share(folder: Path) -> None:
    async with ValkeyStore(f"unix://{folder}/valkey.sock", share=0.5).running() as sharing:
        leases = [f"n{n}" for n in range(7)]
        taken = [await sharing.take([rate(A, 10, 60, 1)], [Slot(PLACE, 8)], lease) for lease in leases]
        assert [t.refused for t in taken] == [None] * 4 + [1] * 3
        for lease in leases[:4]:
            await settle(sharing, [], [Slot(PLACE, 8)], lease)
        taken = [await sharing.take([rate(A, 10, 60, 1)], [Slot(PLACE, 8)], lease) for lease in leases]
        assert [t.refused for t in taken] == [None] + [0] * 6
        large = await sharing.take([rate(b"b" * 16, 100, 60, 70)], [], "l")
        assert large.refused == 0
        assert large.wait < float("inf")  # once the server is back
        assert (await sharing.take([rate(b"b" * 16, 100, 60, 101)], [], "l")).wait == float("inf")


async def test_who_leaves_while_it_is_asked_has_taken_nothing(folder: Path, strict: ValkeyStore) -> None:
    with running_server(folder) as server:
        await strict.take([rate(b"b" * 16, 10, 60, 1)], [], "l")
        with stopped(server):
            day = [rate(A, 10, 86400, 1)]
            asked = [asyncio.create_task(strict.take(day, [Slot(PLACE, 9)], f"l{n}")) for n in range(9)]
            for _ in range(20):
                await asyncio.sleep(0)
            for task in asked:
                task.cancel()
        assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*asked, return_exceptions=True))

        async def all_there() -> bool:
            taken = await strict.take([rate(A, 10, 86400, 10)], [Slot(PLACE, 1)], "m")
            return taken.refused is None

        await until(all_there)


async def test_the_slots_of_a_dead_replica_run_out_and_those_of_a_living_one_do_not(valkey: str) -> None:
    two = [Slot(b"dead or alive...", 2)]
    async with ValkeyStore(valkey, lease_seconds=0.5).running() as living:
        async with ValkeyStore(valkey, lease_seconds=0.5).running() as dead:
            assert (await dead.take([], two, "dead")).refused is None
        assert (await living.take([], two, "living")).refused is None
        assert (await living.take([], two, "third")).refused == 0

        async def free() -> bool:
            return (await living.take([], two, "third")).refused is None

        await until(free, 20)
        assert (await living.take([], two, "fourth")).refused == 0


async def test_every_key_has_a_time_to_live_and_its_workspace_as_hash_tag(valkey: str, clock: Clock) -> None:
    async with ValkeyStore(valkey, prefix="ttl", clock=clock).running() as store:
        taken = await store.take([rate(A, 10, 60, 1)], [Slot(b"aaaabbbbccccdddd", 1)], "l")
        assert taken.refused is None
        keys = [str(key, "ascii") if isinstance(key, bytes) else key for key in await store._client.keys("ttl:*")]
        assert {key.split(":")[1] for key in keys} == {"{61616161}"}
        for key in keys:
            assert 0 < await store._client.pttl(key) < 60_000


async def test_it_closes_whatever_a_renewal_is_doing(valkey: str) -> None:
    """The client takes a cancel in some moments for a failure of its own, which kept the store open for ever."""
    for number in range(12):
        async with asyncio.timeout(10), ValkeyStore(valkey, lease_seconds=0.002).running() as store:
            await asyncio.gather(*(store.take([], [Slot(PLACE, 1000)], f"{number}-{n}") for n in range(3)))
