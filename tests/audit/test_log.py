"""The log as processes use it: durable when it comes back, batched by itself, shared, and honest about clocks."""

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from freehold import settings as configuration
from freehold.audit.clock import Clock
from freehold.audit.events import Action, encode
from freehold.audit.folder import Snapshot, read_checkpoint, read_head
from freehold.audit.journal import SEGMENT, Moment
from freehold.audit.log import AuditLog, signer
from freehold.audit.verify import verify
from freehold.audit.writer import Writer
from freehold.protocol.errors import Misconfigured, Unavailable
from tests.audit import forging
from tests.audit.making import KEY, append, event, make, read
from tests.conftest import until


async def test_it_is_durable_before_it_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of each acknowledgement the entry was under a sync that came back, and under a signed head."""
    synced: list[int] = []
    original = os.fdatasync

    def counting(descriptor: int) -> None:
        original(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fdatasync", counting)
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        for number in range(5):
            sequence = await log.record(event(number))
            assert len(synced) == number + 1
            assert synced[-1] == (folder / "journal/0000000000000000").stat().st_size
            head = read_head(folder, KEY.verifier)
            assert head is not None
            assert head.size == sequence + 1


async def test_concurrent_recorders_share_batches_without_a_timer(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        found = await asyncio.gather(*(log.record(event(number)) for number in range(1000)))
        assert sorted(found) == list(range(1000))
    data = (folder / "journal/0000000000000000").read_bytes()
    assert data.count(b"FHJ1") < 100
    assert [entry.count for entry in read(folder)] == list(range(1000))


async def test_notes_go_with_the_next_batch_and_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        log.note(event(0))
        assert await log.record(event(1)) == 1
        log.note(event(2))
    assert [entry.count for entry in read(folder)] == [0, 1, 2]
    with pytest.raises(Unavailable):
        await log.record(event(3))


async def test_a_recorder_that_is_cancelled_leaves_the_others_alone(tmp_path: Path) -> None:
    async with AuditLog(tmp_path / "audit", KEY) as log:
        tasks = [asyncio.create_task(log.record(event(number))) for number in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, int) for one in done[1::2])


async def test_a_checkpoint_follows_within_seconds_also_of_what_a_dead_process_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.audit.log.PUBLISH_SECONDS", 0.2)
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        await log.record(event(0))
        await until(lambda: _published(folder) == 1)
        dead = Writer(folder, KEY)
        append(dead, [event(number) for number in range(1, 8)])
        dead.close()
        await until(lambda: _published(folder) == 8)
        assert (await log.record(event(8))) == 8


def _published(folder: Path) -> int:
    found = read_checkpoint(folder, KEY.verifier)
    return found.size if found is not None else 0


def test_checkpoints_are_at_most_256_entries_apart(tmp_path: Path) -> None:
    folder, published = tmp_path / "audit", 0
    writer = Writer(folder, KEY)
    for number in range(12):
        append(writer, [event(n) for n in range(97 + number)], 250)
        now = _published(folder)
        assert now - published in (0, 256)
        assert writer.size - now < 256
        published = now
    writer.close()


def test_several_processes_write_one_log(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    writers = [Writer(folder, KEY) for _ in range(4)]
    sequences: dict[int, list[int]] = {}

    def work(number: int) -> None:
        sequences[number] = append(writers[number], [event(n, number) for n in range(1200)], 60)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.publish()
        writer.retire()
        writer.close()
    assert sorted(s for found in sequences.values() for s in found) == list(range(4800))
    assert all(found == sorted(found) for found in sequences.values())
    assert verify(folder, KEY.verifier).faults == []


def test_one_that_slept_while_segments_came_and_went(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    sleeper = Writer(folder, KEY)
    append(sleeper, [event(0)])
    make(folder, 3 * SEGMENT, first=1, batch=250)
    assert append(sleeper, [event(9)]) == [3 * SEGMENT + 1]
    sleeper.close()
    assert verify(folder, KEY.verifier).faults == []


class Told(Clock):
    """A clock that says what it is told, the machine's uptime going on by itself."""

    def __init__(self) -> None:
        self.moved = 0
        self.uptime = 0
        self.boot = 1

    def now(self) -> Moment:
        self.uptime += 10
        return Moment(1_700_000_000_000 + self.uptime + self.moved, self.uptime, self.boot)


@pytest.mark.parametrize("moved", [3_600_000, -3_600_000, 86_400_000, -86_400_000])
def test_a_clock_that_jumps_is_told_once_whoever_sees_it(moved: int, tmp_path: Path) -> None:
    folder, clock = tmp_path / "audit", Told()
    one, other = Writer(folder, KEY, clock), Writer(folder, KEY, clock)
    append(one, [event(0)])
    append(other, [event(1)])
    clock.moved = moved
    assert append(other, [event(2)]) == [3]
    append(one, [event(3)])
    clock.moved += 1500  # a small correction is no jump
    append(one, [event(4)])
    one.close()
    other.close()
    entries = list(read(folder))
    assert [entry.action for entry in entries].count(Action.CLOCK_JUMP) == 1
    assert entries[2].milliseconds == moved
    assert [entry.count for entry in entries if entry.count is not None] == [0, 1, 2, 3, 4], (
        "the order is the sequence's"
    )
    assert [entry.sequence for entry in entries] == list(range(6))
    assert verify(folder, KEY.verifier).faults == []


def test_a_restart_is_no_jump_but_a_clock_set_back_meanwhile_is(tmp_path: Path) -> None:
    folder, clock = tmp_path / "audit", Told()
    make(folder, 1, clock=clock)
    clock.boot, clock.uptime, clock.moved = 2, 0, 86_400_000
    make(folder, 1, first=1, clock=clock)
    assert Action.CLOCK_JUMP not in [entry.action for entry in read(folder)]
    clock.boot, clock.uptime, clock.moved = 3, 0, 0
    make(folder, 1, first=2, clock=clock)
    assert [entry.action for entry in read(folder)].count(Action.CLOCK_JUMP) == 1


def test_the_key_is_made_once_and_a_log_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    layout = configuration.load(tmp_path / "state").layout
    layout.create()
    assert signer(layout).verifier.public == signer(layout).verifier.public
    assert (layout.keys / "audit-sign.key").stat().st_mode & 0o077 == 0
    (layout.audit / "journal").rmdir()
    with pytest.raises(Misconfigured) as caught:
        signer(layout)
    assert "key is here" in caught.value.problems[0].what


async def test_a_log_that_is_not_what_was_signed_does_not_start(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    make(folder, 10)
    data = (folder / "journal/0000000000000000").read_bytes()
    (folder / "journal/0000000000000000").write_bytes(data.replace(b"usr_", b"usx_", 1))
    with pytest.raises(Misconfigured):
        async with AuditLog(folder, KEY):
            pass


async def test_a_forged_frame_is_not_taken_in(tmp_path: Path) -> None:
    """A frame with the right checksum that the key did not sign stops the log: it is not signed after the fact."""
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        await log.record(event(0))
        forging.forge(folder)
        with pytest.raises(Unavailable):
            await log.record(event(1))
    assert not verify(folder, KEY.verifier).sound


async def test_reading_while_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:

        async def write() -> None:
            for number in range(300):
                await log.record(event(number))

        task, looks = asyncio.create_task(write()), 0
        while not task.done():
            report = await asyncio.to_thread(verify, folder, KEY.verifier)
            assert report.faults == []
            size = (await asyncio.to_thread(Snapshot, folder, KEY.verifier)).size
            assert size >= report.size
            looks += 1
        assert looks > 3
        await task


@pytest.mark.slow
def test_verifying_while_segments_come_and_go_never_alarms(tmp_path: Path) -> None:
    folder, done = tmp_path / "audit", threading.Event()
    make(folder, 20_000, batch=250)

    def work() -> None:
        writer = Writer(folder, KEY)
        for number in range(200):
            append(writer, [event(number) for _ in range(150)], 30)
            if number % 3 == 0:
                writer.publish()
            writer.retire()
        writer.close()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    looks = 0
    while not done.is_set():
        assert verify(folder, KEY.verifier).faults == []
        looks += 1
    thread.join()
    assert looks > 5
    assert verify(folder, KEY.verifier).size == 50_000


def test_an_entry_on_the_disk_is_json_for_anybody(tmp_path: Path) -> None:
    make(tmp_path / "audit", 300)
    data = (tmp_path / "audit/tile/entries/000").read_bytes()
    length = int.from_bytes(data[:2], "big")
    entry = json.loads(data[2 : 2 + length])
    assert entry["sequence"] == 0
    assert entry["action"] == "exchange:intent"
    assert encode(event(0))[1:] in data[: 2 + length]
