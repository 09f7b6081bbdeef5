"""A disk that is full, read-only or dying: refused within a second, nothing done, and well again without a hand."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from freehold.audit.log import AuditLog
from freehold.audit.verify import verify
from freehold.protocol.errors import Unavailable
from tests.audit.making import ACTORS, KEY, event, read
from tests.conftest import until

ROOT = Path(__file__).parents[2]


def namespaces() -> bool:
    """Whether this user may have a mount namespace of its own."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(
    not namespaces(), reason="needs a mount namespace: apt-get install util-linux, and allow user namespaces"
)


def judge(found: dict[str, Any]) -> None:
    assert found["answers"] == [[503, "audit_unavailable"]]
    assert found["slowest"] < 1.0
    assert found["recovered"] < 5.0
    assert found["writable"] is False


@needs_mounts
@pytest.mark.parametrize("scenario", ["full", "readonly"])
def test_a_disk_that_is(scenario: str, tmp_path: Path) -> None:
    """On a small file system of its own; afterwards the log is copied out of it and verified."""
    out = tmp_path / "out"
    script = (
        f"mount -t tmpfs -o size=1m,mode=0700 tmpfs {tmp_path} && mkdir {tmp_path}/disk && "
        f"mount -t tmpfs -o size=400k,mode=0700 tmpfs {tmp_path}/disk && "
        f"{sys.executable} -m tests.audit.writing starve {tmp_path}/disk/audit {scenario} && "
        f"tar -C {tmp_path}/disk -c audit >&2"
    )
    told = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr[:2000]
    found = json.loads(told.stdout)
    judge(found)
    out.mkdir()
    subprocess.run(["tar", "-C", str(out), "-x"], input=told.stderr, check=True)
    _whole(out / "audit", found["acknowledged"], found["refused"])


def test_a_disk_that_is_dying(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.audit.writing", "starve", str(tmp_path / "audit"), "dying"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr.decode()
    found = json.loads(told.stdout)
    judge(found)
    _whole(tmp_path / "audit", found["acknowledged"], found["refused"])


def _whole(folder: Path, acknowledged: list[int], refused: list[int]) -> None:
    assert verify(folder, KEY.verifier).faults == []
    entries = list(read(folder))
    assert set(acknowledged) <= {entry.sequence for entry in entries}
    counts = [(entry.actor, entry.count) for entry in entries if entry.count is not None]
    assert len(counts) == len(set(counts)), "an entry is there twice"
    assert (ACTORS[1], refused[0]) in counts, "the note was forgotten"
    assert not {(ACTORS[0], number) for number in refused} & set(counts), "what was refused is in the log"


async def test_a_lock_that_somebody_keeps(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        await log.record(event(0))
        held = os.open(folder / "lock", os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await log.record(event(1))
        assert time.monotonic() - began < 1
        assert (caught.value.status, caught.value.code) == (503, "audit_unavailable")
        os.close(held)

        async def works() -> bool:
            try:
                await log.record(event(2))
            except Unavailable:
                return False
            return True

        assert await until(works) < 1
    assert [entry.count for entry in read(folder)] == [0, 2]


async def test_a_folder_that_is_taken_away_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        await log.record(event(0))
        folder.rename(tmp_path / "elsewhere")
        shutil.copytree(tmp_path / "elsewhere", folder)
        shutil.rmtree(tmp_path / "elsewhere")
        with pytest.raises(Unavailable):
            await log.record(event(1))
        assert await log.record(event(2)) == 1, "it goes on with what lies there now"
    assert verify(folder, KEY.verifier).faults == []


async def test_a_damaged_log_takes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    async with AuditLog(folder, KEY) as log:
        await log.record(event(0))
        journal = folder / "journal/0000000000000000"
        journal.write_bytes(journal.read_bytes()[:-1])
        for _ in range(3):
            with pytest.raises(Unavailable):
                await log.record(event(1))
        assert not log.writable
