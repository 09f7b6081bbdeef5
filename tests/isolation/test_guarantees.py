"""Each guarantee of the sandbox, attacked from inside by a small hostile program; unsealed, the same attack succeeds.

The attack prints ESCAPED when it got through. Bombs are bounded so that even an unsealed one could do no harm.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from freehold.isolation.driver import Driver, Guarantee, Mount, open_driver
from freehold.isolation.drivers.runtime import readable
from tests.conftest import until
from tests.isolation.conftest import AS_ROOT, GIB, Place

_TRY = """
import ctypes, os, resource, socket, sys, threading, time
try:
{body}
except (OSError, MemoryError, RuntimeError) as error:
    print("held", type(error).__name__, error)
else:
    print("ESCAPED")
"""


def attack(body: str) -> str:
    """A program that does `body` and says whether it got through."""
    return _TRY.format(body="\n".join(f"    {line}" for line in body.strip().splitlines()))


_MANY_THREADS = """
stop = threading.Event()
try:
    for _ in range(60): threading.Thread(target=stop.wait, args=(4,), daemon=True).start()
finally: stop.set()
"""
ATTACKS: dict[str, tuple[Guarantee, str]] = {
    "connect to the host": (Guarantee.NO_NETWORK, "socket.create_connection(('127.0.0.1', {port}), 1)"),
    "listen on loopback": (Guarantee.NO_NETWORK, "socket.create_server(('127.0.0.1', 0))"),
    "netlink": (Guarantee.UNIX_SOCKETS_ONLY, "socket.socket(16, 3, 0)"),
    "vsock": (Guarantee.UNIX_SOCKETS_ONLY, "socket.socket(40, 1, 0)"),
    "datagrams": (Guarantee.UNIX_SOCKETS_ONLY, "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"),
    "abstract socket": (Guarantee.NO_NETWORK, "socket.socket(1, 1).connect({abstract!r})"),
    "memory file": (Guarantee.SYSCALL_ALLOWLIST, "os.memfd_create('x')"),
    "fork": (Guarantee.NO_NEW_PROCESSES, "child = os.fork()\nif not child: os._exit(0)\nos.waitpid(child, 0)"),
    "spawn": (Guarantee.NO_NEW_PROCESSES, "os.waitpid(os.posix_spawn('/bin/true', ['true'], {{}}), 0)"),
    "another workspace's file": (Guarantee.ONLY_ITS_MOUNTS, "open({secret!r}).read()"),
    "accounts": (Guarantee.ONLY_ITS_MOUNTS, "open('/etc/passwd').read()"),
    "file in its own folder": (Guarantee.DISK_LIMIT, "open({own!r} + '/file', 'w').write('x')"),
    "folder in its own folder": (Guarantee.LANDLOCK, "os.mkdir({own!r} + '/folder')"),
    "threads": (Guarantee.THREAD_LIMIT, _MANY_THREADS),
    "outlive the parent": (
        Guarantee.DIES_WITH_PARENT,
        "if ctypes.CDLL(None, use_errno=True).prctl(1, 999) and ctypes.get_errno() == 1: raise PermissionError()",
    ),
    "files of any size": (
        Guarantee.DISK_LIMIT,
        "if resource.getrlimit(resource.RLIMIT_FSIZE)[1] > 0: raise OSError('limited')",
    ),
}
AS_ROOT_ONLY: dict[str, tuple[Guarantee, str]] = {
    "write to the root": (Guarantee.READ_ONLY_ROOT, "os.close(os.open('/usr', os.O_TMPFILE | os.O_WRONLY))"),
    "be root": (Guarantee.NOT_ROOT, "os.setuid(0)"),
    "change the owner": (Guarantee.NO_PRIVILEGES, "os.chroot('/')"),
}


@pytest.fixture
async def surroundings(place: Place) -> AsyncIterator[dict[str, object]]:
    """What there is to get at: a listener on loopback, an abstract socket, another workspace's file."""
    (place.folder / "secret").write_text("of another workspace")
    abstract = f"\0freehold-test-{place.folder.name}-{id(place)}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as named:
        named.bind(abstract)
        named.listen()
        yield {"port": server.getsockname()[1], "abstract": abstract, "secret": str(place.folder / "secret")}


async def attempt(kind: str, body: str, place: Place, surroundings: dict[str, object]) -> str:
    driver = open_driver(kind)
    own = driver.inside(place.own)
    code, said = await place.run(driver, place.spec(attack(body.format(own=own, **surroundings)), threads=24))
    assert code == 0, said
    return said


@pytest.mark.parametrize("name", [*ATTACKS, *AS_ROOT_ONLY])
async def test_the_sandbox_holds(name: str, place: Place, surroundings: dict[str, object], sandbox: Driver) -> None:
    guarantee, body = {**ATTACKS, **AS_ROOT_ONLY}[name]
    assert guarantee in sandbox.guarantees
    assert "held" in (said := await attempt("sandbox", body, place, surroundings)), said


@pytest.mark.parametrize("name", [*ATTACKS, *(AS_ROOT_ONLY if AS_ROOT else ())])
async def test_the_same_attack_succeeds_unsealed(
    name: str, place: Place, surroundings: dict[str, object], process: Driver
) -> None:
    guarantee, body = {**ATTACKS, **AS_ROOT_ONLY}[name]
    if guarantee in process.guarantees - {Guarantee.DIES_WITH_PARENT}:
        pytest.fail("this attack proves nothing: both drivers hold it")
    assert "ESCAPED" in (said := await attempt("process", body, place, surroundings)), said


async def test_every_guarantee_is_attacked_somewhere() -> None:
    elsewhere = {
        *(Guarantee.MEMORY_LIMIT, Guarantee.FILE_LIMIT, Guarantee.PRIVATE_TMP),
        *(Guarantee.EMPTY_ENVIRONMENT, Guarantee.NO_CORE_DUMPS),
    }
    assert {guarantee for guarantee, _ in {**ATTACKS, **AS_ROOT_ONLY}.values()} | elsewhere == set(Guarantee)


@pytest.mark.parametrize("kind", ["sandbox", "process"])
async def test_the_environment_is_fixed(kind: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "a-secret-of-the-supervisor")
    _, said = await place.run(open_driver(kind), place.spec("print(open('/proc/self/environ').read())"))
    assert "LANG=C.UTF-8" in said
    assert "secret" not in said


async def test_tmp_is_private_and_bounded(place: Place, sandbox: Driver, tmp_path: Path) -> None:
    code = f"""
import os
print(os.listdir('/tmp'), os.path.exists({str(tmp_path)!r}))
written = 0
try:
    for number in range(8):
        with open(f'/tmp/{{number}}', 'wb') as file:
            for _ in range(16): written += file.write(bytes(1 << 20))
except OSError as error: print(error.strerror)
print(written >> 20)
"""
    runtime = sorted({path.parts[2] for path, _ in readable() if path.parts[:2] == ("/", "tmp")})  # a checkout in /tmp
    _, said = await place.run(sandbox, place.spec(code))
    assert said.splitlines() == [f"{runtime} False", "No space left on device", said.splitlines()[-1]]
    assert 60 <= int(said.splitlines()[-1]) <= 64


@pytest.mark.parametrize("kind", ["sandbox", "process"])
async def test_memory_is_bounded(kind: str, place: Place) -> None:
    code = attack("hog = [bytearray(64 << 20) for _ in range(8)]")
    driver = open_driver(kind)
    assert "held MemoryError" in (await place.run(driver, place.spec(code, memory=GIB // 4)))[1]
    assert "ESCAPED" in (await place.run(driver, place.spec(code, memory=GIB)))[1]


async def test_shared_memory_is_bounded_too(place: Place, sandbox: Driver) -> None:
    code = attack(
        "import mmap\nhog = [mmap.mmap(-1, 64 << 20) for _ in range(8)]\n[m.write(bytes(64 << 20)) for m in hog]"
    )
    assert "held" in (await place.run(sandbox, place.spec(code, memory=GIB // 4)))[1]


@pytest.mark.parametrize("kind", ["sandbox", "process"])
async def test_open_files_are_bounded(kind: str, place: Place) -> None:
    code = attack("opened = [os.open('/dev/null', os.O_RDONLY) for _ in range(200)]")
    driver = open_driver(kind)
    assert "Too many open files" in (await place.run(driver, place.spec(code, open_files=64)))[1]
    assert "ESCAPED" in (await place.run(driver, place.spec(code, open_files=256)))[1]


@pytest.mark.parametrize("kind", ["sandbox", "process"])
async def test_no_core_is_dumped(kind: str, place: Place) -> None:
    _, said = await place.run(open_driver(kind), place.spec("import resource; print(resource.getrlimit(4))"))
    assert said.strip() in ("(1, 1)", "(0, 0)")


async def test_limits_count_the_box_alone(place: Place, sandbox: Driver) -> None:
    """Many boxes at their thread limit do not use up each other's."""
    code = (
        "import threading; e = threading.Event();"
        "t = [threading.Thread(target=e.wait, args=(20,), daemon=True) for _ in range(20)];"
        "[x.start() for x in t]; print('up', flush=True); t[0].join()"
    )
    logs = [place.folder / f"log-{number}" for number in range(4)]
    boxes = []
    try:
        for log in logs:
            spec = place.spec(code, threads=24)
            boxes.append(await sandbox.start(type(spec)(**{**spec.__dict__, "log": log, "mounts": ()})))
        await until(lambda: all("up" in log.read_text() for log in logs))
    finally:
        await asyncio.gather(*(box.stop(0) for box in boxes))


async def test_bombs_end_within_five_seconds_and_hurt_nobody(place: Place, sandbox: Driver) -> None:
    """Processes, threads, memory, files and disk at once; a neighbour goes on answering meanwhile."""
    bomb = """
import os, threading
def safely(work):
    try: work()
    except (OSError, MemoryError, RuntimeError): pass
hog, files, stop = [], [], threading.Event()
for _ in range(2000):
    safely(os.fork)
    safely(lambda: threading.Thread(target=stop.wait, daemon=True).start())
    safely(lambda: hog.append(bytearray(8 << 20)))
    safely(lambda: files.append(open('/dev/null')))
    safely(lambda: os.mkfifo('/run/freehold/x'))
    safely(lambda: open(f'/tmp/{len(hog)}', 'ab').write(bytes(1 << 20)))
print('spent', flush=True)
stop.wait()
"""
    neighbour = await sandbox.start(place.spec("import sys\nfor line in sys.stdin: pass\nimport time; time.sleep(30)"))
    other = Place(place.folder / "other")
    other.own.host.mkdir(mode=0o700, parents=True)
    box = await sandbox.start(other.spec(bomb, memory=GIB // 2))
    try:
        await until(lambda: "spent" in other.log.read_text(), 5)
        with open(f"/proc/{box.pid}/status") as file:
            resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
        assert resident < GIB // 2 >> 10
        assert neighbour.alive
        began = time.monotonic()
        await box.stop(0.5)
        assert time.monotonic() - began < 5
    finally:
        with contextlib.suppress(ProcessLookupError):
            await box.stop(0)
        await neighbour.stop(0)
    assert list(other.own.host.iterdir()) == []


async def test_two_boxes_do_not_see_each_other(place: Place, sandbox: Driver) -> None:
    first = await sandbox.start(place.spec("import time; time.sleep(30)"))
    other = Place(place.folder / "other")
    other.own.host.mkdir(mode=0o700, parents=True)
    code = """
import json, os
seen = [name for name in os.listdir("/proc") if name.isdigit()], os.listdir("/run"), os.listdir("/run/freehold")
print(json.dumps([sorted(names) for names in seen]))
"""
    try:
        _, said = await other.run(sandbox, other.spec(code, mounts=(Mount(other.folder, "/run/egress"),)))
    finally:
        await first.stop(0)
    assert json.loads(said) == [["1", "2"] if AS_ROOT else ["1"], ["egress", "freehold"], []]
