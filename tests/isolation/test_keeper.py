"""The keeper of boxes as a process of its own: killed outright it leaves none, and as an ordinary user it seals too.

When the tests run as root they also start a keeper as `nobody`, whose boxes are made in user namespaces instead.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

import freehold
from freehold.protocol.seal import Probe, SealReport
from tests.conftest import until
from tests.isolation.conftest import AS_ROOT

_SOURCE = Path(freehold.__file__).parents[1]
_LIBRARIES = Path(msgspec.__file__).parents[1]
_PATHS = f"import sys; sys.path[:0] = [{str(_SOURCE)!r}, {str(_LIBRARIES)!r}]\n"
_NOBODY = "65534"

_KEEPER = (
    _PATHS
    + """
import asyncio, json
from pathlib import Path
from freehold.isolation.driver import BoxSpec, Mount, open_driver
from freehold.isolation.observe import observe

async def main():
    kind, folder, code, libraries = sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    driver = open_driver(kind)
    problems = [p.what for p in driver.problems()]
    if problems:
        return print(json.dumps({"problems": problems}), flush=True)
    mounts = [Mount(folder, "/run/freehold", writable=True)]
    if kind == "sandbox" and libraries.is_relative_to(sys.prefix) is False:
        mounts.append(Mount(libraries, str(libraries)))
    argv = (sys.executable, "-I", "-c", code)
    box = await driver.start(BoxSpec("kept", argv, b"", tuple(mounts), 1 << 30, 32, 256, folder.parent / "log"))
    outside = [[p.name, p.held, p.detail] for p in observe(box.pid)]
    print(json.dumps({"problems": [], "pid": box.pid, "outside": outside}), flush=True)
    print(json.dumps({"code": await box.wait()}), flush=True)

asyncio.run(main())
"""
)
_ATTACK = (
    _PATHS
    + """
from pathlib import Path
import msgspec
from freehold.runner import seal
seal.apply_landlock([], [Path("/run/freehold")])
print(msgspec.json.encode(seal.attack()).decode(), flush=True)
"""
)
_STAYS = "import time; print('up', flush=True); time.sleep(60)"


@dataclass(frozen=True)
class Keeper:
    """How to start a keeper: the words before its program, and a folder that it may write."""

    command: tuple[str, ...]
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    async def start(self, kind: str, code: str) -> asyncio.subprocess.Process:
        own = str(self.folder / "own")
        return await asyncio.create_subprocess_exec(
            *self.command,
            "-I",
            "-c",
            _KEEPER,
            kind,
            own,
            code,
            str(_LIBRARIES),
            stdout=subprocess.PIPE,
            env={},
            cwd="/",
        )


def _interpreter_for_nobody() -> str | None:
    """One that an ordinary user may execute and that understands our libraries."""
    for python in (sys.executable, "/usr/bin/python3"):
        probe = [
            "setpriv",
            "--reuid",
            _NOBODY,
            "--regid",
            _NOBODY,
            "--clear-groups",
            python,
            "-I",
            "-c",
            _PATHS + "import os, msgspec; os.stat(sys.executable)",
        ]
        try:
            if subprocess.run(probe, capture_output=True, env={}, cwd="/", timeout=20).returncode == 0:
                return python
        except FileNotFoundError:
            return None
    return None


@pytest.fixture(params=["as it is", "an ordinary user"] if AS_ROOT else ["as it is"])
def keeper(request: pytest.FixtureRequest) -> Iterator[Keeper]:
    command: tuple[str, ...] = (sys.executable,)
    ordinary = request.param == "an ordinary user"
    if ordinary:
        python = _interpreter_for_nobody()
        if python is None:
            pytest.skip(
                "needs setpriv and a Python of this version that others may run: apt-get install util-linux python3"
            )
        command = ("setpriv", "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", python)
    folder = Path(tempfile.mkdtemp(prefix="freehold-keeper-"))
    (folder / "own").mkdir(mode=0o700)
    if ordinary:
        for path in (folder, folder / "own"):
            os.chown(path, int(_NOBODY), int(_NOBODY))
    yield Keeper(command, folder)
    shutil.rmtree(folder)


async def _said(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, object]]:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        async for line in process.stdout:
            yield json.loads(line)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _descendants(pid: int) -> set[int]:
    try:
        children = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except FileNotFoundError:
        return set()
    return children | {below for child in children for below in _descendants(child)}


@pytest.mark.parametrize("kind", ["sandbox", "process"])
async def test_killed_outright_it_leaves_no_box(keeper: Keeper, kind: str) -> None:
    process = await keeper.start(kind, _STAYS)
    try:
        first = await anext(_said(process))
        assert first["problems"] == []
        await until(lambda: keeper.log.read_text() == "up\n")
        family = _descendants(process.pid)
        assert first["pid"] in family
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await until(lambda: not any(map(_alive, family)), 3)


async def test_a_box_dies_with_bubblewrap(keeper: Keeper) -> None:
    """Should only the watcher be killed, the program does not stay behind unwatched."""
    process = await keeper.start("sandbox", _STAYS)
    try:
        said = _said(process)
        box = int(str((await anext(said))["pid"]))
        watcher = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(watcher) == 1
        os.kill(int(watcher[0]), signal.SIGKILL)
        assert await anext(said) == {"code": 128 + signal.SIGKILL}
        await until(lambda: not _alive(box), 3)
    finally:
        await process.wait()


async def test_its_boxes_are_sealed(keeper: Keeper) -> None:
    process = await keeper.start("sandbox", _ATTACK)
    said = [words async for words in _said(process)]
    await process.wait()
    assert said[-1] == {"code": 0}, keeper.log.read_text()
    report = msgspec.json.decode(keeper.log.read_bytes(), type=SealReport)
    assert [probe for probe in report.probes if not probe.held] == []
    outside = [Probe(*words) for words in msgspec.convert(said[0]["outside"], list[tuple[str, bool, str]])]
    assert [probe for probe in outside if not probe.held] == []
