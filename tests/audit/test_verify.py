"""Every way to change a log is found, offline and with the public key alone; a log that nobody changed never alarms."""

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from freehold.audit import journal
from freehold.audit.copies import Copier, FolderStore
from freehold.audit.events import encode
from freehold.audit.folder import Snapshot
from freehold.audit.tree import Frontier, leaf_hash
from freehold.audit.verify import Report, verify
from freehold.audit.writer import Writer
from tests.audit import forging, tampering
from tests.audit.making import KEY, OTHER_KEY, append, event, make
from tests.audit.tampering import Files, load, store


@dataclass
class Case:
    """A log in some state, what it was earlier, and a checkpoint of then that an auditor kept."""

    folder: Path
    files: Files
    earlier: Files
    held: bytes

    def check(self, held: bytes | None = None) -> Report:
        return verify(self.folder, KEY.verifier, [held] if held else [])


def closed(folder: Path, first: int, more: int) -> Case:
    make(folder, first)
    earlier, held = load(folder), (folder / "checkpoint").read_bytes()
    make(folder, more, first=first)
    return Case(folder, load(folder), earlier, held)


def left_by_a_killed_writer(folder: Path) -> Case:
    make(folder, 300)
    earlier, held = load(folder), (folder / "checkpoint").read_bytes()
    writer = Writer(folder, KEY)
    append(writer, [event(n) for n in range(450)], 50)
    writer.close()
    return Case(folder, load(folder), earlier, held)


def copied(folder: Path, scratch: Path) -> Case:
    folder.mkdir()
    make(scratch, 600)
    _copy(scratch, folder)
    earlier, held = load(folder), (folder / "checkpoint").read_bytes()
    make(scratch, 700, first=600)
    _copy(scratch, folder)
    return Case(folder, load(folder), earlier, held)


def _copy(log: Path, place: Path) -> None:
    copier = Copier(log, KEY.verifier, FolderStore(place))
    while copier.step():
        pass


CASES = ("short", "long", "killed", "copy")


def made(kind: str, tmp_path: Path) -> Case:
    folder = tmp_path / "log"
    return {
        "short": lambda: closed(folder, 300, 400),
        "long": lambda: closed(folder, 2000, 3000),
        "killed": lambda: left_by_a_killed_writer(folder),
        "copy": lambda: copied(folder, tmp_path / "original"),
    }[kind]()


def tamper(case: Case, kind: str, rounds: int, seed: int) -> int:
    ways = [*tampering.EVERYWHERE, *(tampering.IN_JOURNALS if kind != "copy" else [])]
    chance, done = random.Random(seed), 0  # noqa: S311
    while done < rounds:
        way = ways[done % len(ways)]
        changed = way(chance, case.files)
        if changed == case.files:
            continue
        store(case.folder, case.files, changed)
        report = case.check(case.held if chance.random() < 0.5 else None)
        assert not report.sound, f"{way.__name__} was not found (case {kind}, seed {seed}, round {done})"
        store(case.folder, changed, case.files)
        done += 1
    assert case.check(case.held).faults == []
    return done


@pytest.mark.parametrize("kind", CASES)
def test_tampering_is_found(kind: str, tmp_path: Path) -> None:
    tamper(made(kind, tmp_path), kind, 42, seed=1)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("kind", CASES)
def test_three_thousand_ways_to_tamper_are_found(kind: str, tmp_path: Path) -> None:
    assert tamper(made(kind, tmp_path), kind, 3000, seed=time.time_ns()) == 3000


@pytest.mark.parametrize("kind", CASES)
def test_a_rollback_is_found_by_a_checkpoint_that_was_kept(kind: str, tmp_path: Path) -> None:
    case = made(kind, tmp_path)
    kept = case.files["checkpoint"]
    store(case.folder, case.files, case.earlier)
    assert case.check().sound, "an earlier state is sound in itself"
    report = case.check(kept)
    assert [fault.where for fault in report.faults] == ["held checkpoint 1"]
    assert "rolled back" in report.faults[0].what


@pytest.mark.parametrize("kind", CASES)
def test_one_file_of_an_earlier_day_is_found(kind: str, tmp_path: Path) -> None:
    case = made(kind, tmp_path)
    for name, data in case.earlier.items():
        if case.files.get(name, data) == data:
            continue
        changed = {**case.files, name: data}
        store(case.folder, case.files, changed)
        assert not case.check().sound, name
        store(case.folder, changed, case.files)


def test_a_log_written_anew_with_the_stolen_key_is_found(tmp_path: Path) -> None:
    case = made("short", tmp_path)
    shutil.rmtree(case.folder)
    make(case.folder, 900, first=5000)
    assert case.check().sound
    report = case.check(case.held)
    assert [fault.where for fault in report.faults] == ["held checkpoint 1"]
    assert "not the signed one" in report.faults[0].what


def test_a_log_of_another_key_is_found(tmp_path: Path) -> None:
    case = made("short", tmp_path)
    shutil.rmtree(case.folder)
    make(case.folder, 700, key=OTHER_KEY)
    assert not case.check().sound


def test_nothing_there_is_found(tmp_path: Path) -> None:
    assert not verify(tmp_path, KEY.verifier).sound
    case = made("short", tmp_path)
    store(case.folder, case.files, {})
    assert not case.check().sound


def test_it_says_which_entry_and_where(tmp_path: Path) -> None:
    case = made("long", tmp_path)
    name = "tile/entries/003"
    data = case.files[name].replace(b'"count":800,', b'"count":801,').replace(b'"count":800}', b'"count":801}')
    assert data != case.files[name]
    store(case.folder, case.files, {**case.files, name: data})
    first = case.check().faults[0]
    assert (first.where, first.entry) == (name, 800)
    assert first.what == "entry 800 does not have the hash that tile/0/003 has for it"


def test_an_untouched_log_never_alarms(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    chance = random.Random(5)  # noqa: S311
    writer = Writer(folder, KEY)
    size = 0
    for _ in range(45):
        size += len(writer.commit([encode(event(n)) for n in range(chance.randint(1, 240))]))
        if chance.random() < 0.2:
            writer.publish()
        if chance.random() < 0.2:
            writer.retire()
        if chance.random() < 0.1:
            writer.close()
            writer = Writer(folder, KEY)
        report = verify(folder, KEY.verifier)
        assert (report.faults, report.size) == ([], size)
    writer.close()
    assert size > journal.SEGMENT


def test_a_torn_tail_is_told_but_no_fault(tmp_path: Path) -> None:
    case = made("short", tmp_path)
    name = journal.segment_name(0)
    frame = journal.encode(700, [b"x" * 50], journal.Moment(1, 1, 1), bytes(32), KEY)
    for cut in (1, 3, 30, len(frame) - 1):
        store(case.folder, case.files, {**case.files, name: case.files[name] + frame[:cut]})
        report = case.check()
        assert (report.sound, report.torn) == (True, cut)


def test_a_frame_that_is_right_but_for_its_signature_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    make(folder, 300)
    forging.forge(folder)
    assert [fault.what for fault in verify(folder, KEY.verifier).faults] == ["a frame is not signed by this key"]


def test_a_signed_entry_in_another_ones_place_is_found(tmp_path: Path) -> None:
    """The key signs what the writer appends; an entry that says another sequence was appended by another hand."""
    folder = tmp_path / "log"
    make(folder, 300)
    tree = Frontier()
    files = load(folder)
    entries = [entry for frame, _ in journal.frames(files[journal.segment_name(0)], 0) for entry in frame.entries]
    entries.append(entries[7])
    for entry in entries:
        tree.append(leaf_hash(entry))
    frame = journal.encode(300, entries[300:], journal.Moment(1, 1, 1), tree.root(), KEY)
    store(folder, files, {**files, journal.segment_name(0): files[journal.segment_name(0)] + frame})
    report = verify(folder, KEY.verifier)
    assert [(fault.entry, fault.what) for fault in report.faults] == [(300, "entry 300 does not say that it is")]


@pytest.mark.slow
@pytest.mark.soak
def test_it_is_quick(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    make(folder, 120_000, batch=250)
    report = verify(folder, KEY.verifier)
    assert report.sound
    assert report.size / report.seconds > 200_000, report.seconds


def test_proofs_and_reading_of_what_is_verified(tmp_path: Path) -> None:
    case = made("long", tmp_path)
    snapshot = Snapshot(case.folder, KEY.verifier)
    assert [number for number, _ in snapshot.entries()] == list(range(5000))
    assert [number for number, _ in snapshot.entries(4090, 4100)] == list(range(4090, 4100))
