"""Writers that are killed: nothing that was acknowledged is lost, nothing is there twice, and the log verifies."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from freehold.audit.events import Action
from freehold.audit.verify import verify
from freehold.audit.writer import Writer
from tests.audit.making import ACTORS, KEY, event, make, read

ROOT = Path(__file__).parents[2]


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.audit.writing", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def acknowledged(output: bytes) -> dict[int, int]:
    """Number → sequence, of whole lines."""
    lines = output[: output.rfind(b"\n") + 1].split()
    return {int(number): int(sequence) for number, sequence in zip(lines[::2], lines[1::2], strict=True)}


def judge(folder: Path, told: dict[int, dict[int, int]]) -> None:
    """`told`: by actor, what was acknowledged to it."""
    report = verify(folder, KEY.verifier)
    assert report.faults == []
    seen: Counter[tuple[str, int]] = Counter()
    where: dict[tuple[str, int], int] = {}
    for entry in read(folder):
        if entry.action is Action.EXCHANGE_INTENT:
            assert entry.actor is not None
            assert entry.count is not None
            seen[entry.actor, entry.count] += 1
            where[entry.actor, entry.count] = entry.sequence
    assert [key for key, times in seen.items() if times > 1] == []
    for actor, pairs in told.items():
        for number, sequence in pairs.items():
            assert where.get((ACTORS[actor], number)) == sequence


def one_round(folder: Path, actors: list[int], chance: random.Random) -> dict[int, dict[int, int]]:
    """Some processes write together; each is killed at a moment of its own. Gives what was acknowledged."""
    processes = {actor: start("record", folder, actor, 0) for actor in actors}
    output: dict[int, bytes] = {}
    for actor, process in processes.items():
        assert process.stdout is not None
        output[actor] = os.read(process.stdout.fileno(), 1 << 16)  # it is at work
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        output[actor] += process.stdout.read()
        process.wait()
        process.stdout.close()
    return {actor: acknowledged(text) for actor, text in output.items()}


def rounds(folder: Path, count: int) -> None:
    chance, told = random.Random(count), dict[int, dict[int, int]]()  # noqa: S311
    for number in range(count):
        actors = [(number * 3 + n) % len(ACTORS) for n in range(3)]
        if len(told) + 3 > len(ACTORS):
            judge(folder, told)
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            told = {}
        told.update(one_round(folder, [actor for actor in actors if actor not in told], chance))
        judge(folder, told)


def test_killed_writers_lose_nothing(tmp_path: Path) -> None:
    rounds(tmp_path / "audit", 2)


@pytest.mark.slow
@pytest.mark.soak
def test_writers_killed_three_hundred_times_lose_nothing(tmp_path: Path) -> None:
    rounds(tmp_path / "audit", 100)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("before", [250, 4090], ids=["a tile", "a segment"])
def test_a_writer_killed_before_each_of_its_calls_loses_nothing(before: int, tmp_path: Path) -> None:
    """The writer passes the border of a tile (and of a segment of the journal); it dies once before every call."""
    for number in range(400):
        folder = tmp_path / f"audit-{number}"
        make(folder, before, batch=250)
        process = start("step", number, folder)
        output, _ = process.communicate(timeout=30)
        assert process.returncode in (0, -signal.SIGKILL)
        told = acknowledged(output)
        judge(folder, {1: told})
        began = time.monotonic()
        make(folder, 20, first=10_000)
        assert time.monotonic() - began < 5
        judge(folder, {1: told, 0: {10_000 + n: s for n, s in _last(folder, 20).items()}})
        if process.returncode == 0:
            assert number > 10
            assert len(told) == 110
            return
    raise AssertionError("it never came to its end")


def _last(folder: Path, count: int) -> dict[int, int]:
    found = [e for e in read(folder) if e.action is Action.EXCHANGE_INTENT and (e.count or 0) >= 10_000]
    assert len(found) == count
    return {(entry.count or 0) - 10_000: entry.sequence for entry in found}


def test_a_torn_tail_is_cut_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    make(folder, 30)
    name = folder / "journal/0000000000000000"
    whole = name.read_bytes()
    name.write_bytes(whole + whole[:100])  # the beginning of a frame, but of another one
    make(folder, 5, first=30)
    assert verify(folder, KEY.verifier).faults == []
    cut = [entry for entry in read(folder) if entry.action is Action.AUDIT_TAIL_CUT]
    assert [entry.size for entry in cut] == [100]


@pytest.mark.parametrize("lost", ["frame", "head", "segment"])
def test_what_was_acknowledged_is_never_cut(lost: str, tmp_path: Path) -> None:
    from freehold.audit.writer import Damaged

    folder = tmp_path / "audit"
    make(folder, 30)
    name = folder / "journal/0000000000000000"
    if lost == "frame":
        name.write_bytes(name.read_bytes()[:-1])
    elif lost == "head":
        (folder / "head").unlink()
        name.write_bytes(name.read_bytes()[:-1])
    else:
        name.unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    writer = Writer(folder, KEY)
    from freehold.audit.events import encode

    for _ in range(2):
        with pytest.raises(Damaged):
            writer.commit([encode(event(99))])
    writer.close()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_is_derived_is_mended_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    make(folder, 600)
    (folder / "checkpoint").unlink()
    (folder / "tile/0/001").unlink()
    (folder / "tile/entries/000").write_bytes(b"gone")
    assert not verify(folder, KEY.verifier).sound
    make(folder, 5, first=600)
    assert verify(folder, KEY.verifier).faults == []
    assert any(entry.action is Action.AUDIT_MENDED for entry in read(folder))
