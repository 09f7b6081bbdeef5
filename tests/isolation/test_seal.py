"""The runner's attacks on its own box and the kernel's word from outside: all hold when sealed, not otherwise.

A box with a planted fault must be told from a sound one, or the report would prove nothing.
"""

from pathlib import Path

import msgspec
import pytest

import freehold
from freehold.isolation import seccomp
from freehold.isolation.driver import Driver, Guarantee, open_driver
from freehold.isolation.drivers.sandbox import SandboxDriver
from freehold.isolation.observe import observe
from freehold.protocol.seal import Probe, SealReport
from tests.conftest import until
from tests.isolation.conftest import Place

_ATTACK = f"""
import sys; sys.path.insert(0, {str(Path(freehold.__file__).parents[1])!r})
import time; from pathlib import Path; import msgspec
from freehold.runner import seal
if {{landlock}}: seal.apply_landlock([], [Path("/run/freehold")])
began = time.monotonic(); report = seal.attack(); spent = time.monotonic() - began
print(msgspec.json.encode((report, spent)).decode())
"""


async def report_of(driver: Driver, place: Place, *, landlock: bool = False) -> SealReport:
    code, said = await place.run(driver, place.spec(_ATTACK.format(landlock=landlock)))
    assert code == 0, said
    report, spent = msgspec.json.decode(said, type=tuple[SealReport, float])
    assert spent < 1
    return report


def open_ones(report: SealReport) -> list[str]:
    return [f"{probe.name}: {probe.detail}" for probe in report.probes if not probe.held]


@pytest.mark.parametrize("landlock", [False, True])
async def test_a_sealed_runner_finds_no_way_out(landlock: bool, place: Place, sandbox: Driver) -> None:
    report = await report_of(sandbox, place, landlock=landlock)
    assert open_ones(report) == []
    assert report.holds
    names = {probe.name for probe in report.probes}
    assert len([name for name in names if name.startswith("socket ")]) == 46  # 45 families, and Unix but for streams
    assert {"call io_uring_setup", "call bpf", "start a process", "look up a name", "capabilities"} <= names


async def test_an_unsealed_runner_finds_many_and_does_no_harm(place: Place, process: Driver) -> None:
    before = set(place.folder.iterdir())
    report = await report_of(process, place)
    assert not report.holds
    found = {probe.name for probe in report.probes if not probe.held}
    assert {"socket INET", "look up a name", "start a process", "system call filter", "open /etc/passwd"} <= found
    assert set(place.folder.iterdir()) == before | {place.log}


FAULTS = {
    "socket": "socket INET",
    "socketpair": "socketpair INET",
    "clone": "start a process",
    "ioctl": "call ioctl TIOCSTI",
    "prctl": "call prctl PDEATHSIG",
}


@pytest.mark.parametrize("rule", FAULTS)
async def test_a_filter_without_a_rule_is_found_out(rule: str, place: Place) -> None:
    driver = SandboxDriver(rules={**seccomp.RULES, rule: ()})
    assert FAULTS[rule] in {line.partition(":")[0] for line in open_ones(await report_of(driver, place))}


async def test_the_kernel_says_the_same_from_outside(place: Place, sandbox: Driver) -> None:
    box = await sandbox.start(place.spec("print('up', flush=True); import time; time.sleep(30)"))
    try:
        await until(lambda: "up" in place.log.read_text())
        probes = observe(box.pid)
    finally:
        await box.stop(0)
    assert [probe for probe in probes if not probe.held] == []
    assert len(probes) >= 11
    assert all(not probe.held for probe in observe(box.pid))  # it is gone


async def test_the_kernel_says_so_when_a_box_is_none(place: Place, process: Driver) -> None:
    box = await process.start(
        place.spec("import socket, time; s = socket.socket(2, 1); print('up', flush=True); time.sleep(30)")
    )
    try:
        await until(lambda: "up" in place.log.read_text())
        failed = {probe.name.removeprefix("outside: ") for probe in observe(box.pid) if not probe.held}
    finally:
        await box.stop(0)
    assert {
        "system calls are filtered",
        "no new privileges",
        "namespaces of its own",
        "no foreign descriptor",
    } <= failed


async def test_a_socket_of_the_host_in_a_box_is_seen(place: Place) -> None:
    """An open filter, and a program that makes a network socket: the observer finds the foreign descriptor."""
    driver = SandboxDriver(rules={**seccomp.RULES, "socket": ()})
    code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print('up', flush=True); time.sleep(30)"
    box = await driver.start(place.spec(code))
    try:
        await until(lambda: "up" in place.log.read_text() or not box.alive)
        failed = {probe.name for probe in observe(box.pid) if not probe.held}
    finally:
        await box.stop(0)
    assert "outside: no foreign descriptor" in failed


def test_a_report_without_probes_does_not_hold() -> None:
    assert not SealReport(()).holds
    assert not SealReport((Probe("a", True, ""), Probe("b", False, ""))).holds


def test_the_plain_driver_says_what_it_does_not_guarantee() -> None:
    driver = open_driver("process")
    assert {Guarantee.NO_NETWORK, Guarantee.SYSCALL_ALLOWLIST, Guarantee.ONLY_ITS_MOUNTS} <= driver.unguaranteed
    assert open_driver("sandbox").unguaranteed == frozenset()
