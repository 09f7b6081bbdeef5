"""The `sandbox` driver: bubblewrap around a program, and `enter` as the last step into it.

bubblewrap makes the namespaces and composes the root: the interpreter, its libraries and our code read-only, a private
/tmp of bounded size, four harmless devices, a /proc of its own, the box's mounts, nothing else.

As an ordinary user the box is in user namespaces that allow no further ones, and the program is the only process in it.
As root it is in none: bubblewrap keeps just the capabilities with which `enter` changes to a user of the box's own and
loses them (`drivers.identity` says why), and stays in the box as its first process. It must: a death signal is subject
to permission, so bubblewrap's watcher cannot send one to another user's process, but when the first process of a pid
namespace dies the kernel kills the others without asking.

Everything that limits the program is set inside by `enter`, the filter last, so that the filter need not allow what
setting it up needs. `start` returns when `enter` has reported that all of it is in force.
"""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from freehold.isolation import seccomp
from freehold.isolation.driver import BoxSpec, Guarantee, Mount
from freehold.isolation.drivers import bubblewrap, runtime
from freehold.isolation.drivers.identity import Identity
from freehold.isolation.drivers.launched import LaunchedBox, feed, open_log, whole
from freehold.protocol import landlock
from freehold.protocol.errors import Misconfigured, Problem

_TMP_BYTES = 64 << 20
_START_SECONDS = 30.0
_USER_IN_BOX = "10001"
_DEVICES = ("null", "zero", "random", "urandom")
_SEALED = b"sealed"
# Numbers from linux/capability.h. The first two are to hand a box its folder, the others for bubblewrap and `enter`.
_CAPABILITIES_OF_ROOT = {"CHOWN": 0, "DAC_OVERRIDE": 1, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "SYS_ADMIN": 21}
_ENTER = Path(__file__).parents[1] / "enter.py"


class SandboxDriver:
    """Starts boxes with bubblewrap. Tests give other filter rules or another bubblewrap; nobody else does."""

    name = "sandbox"
    guarantees = frozenset(Guarantee)
    unguaranteed: frozenset[Guarantee] = frozenset()

    def __init__(
        self, *, rules: dict[str, tuple[seccomp.Check, ...]] = seccomp.RULES, search: str = bubblewrap.PATH
    ) -> None:
        self._rules = rules
        self._search = search

    def problems(self) -> tuple[Problem, ...]:
        """Looks for what is known to be needed, then starts an empty box and waits for its end."""
        try:
            with tempfile.TemporaryDirectory(prefix="freehold-trial-") as folder:
                self._try(Path(folder))
        except Misconfigured as error:
            return error.problems
        return ()

    def inside(self, mount: Mount) -> str:
        """Where the box sees it."""
        return mount.inside

    async def start(self, spec: BoxSpec) -> LaunchedBox:
        """Start a program in a box; returns when it is sealed and runs. Raises Misconfigured when it cannot be.

        A cancel is heard when the box stands, some milliseconds later: half a box has processes that nobody could end.
        """
        return await whole(self._launch(spec))

    async def _launch(self, spec: BoxSpec) -> LaunchedBox:
        with _pipe() as (facts, facts_in), _pipe() as (report, report_in), _pipe() as (options, options_in):
            handed = (options.fileno(), facts_in.fileno(), report_in.fileno())
            command = self._command(spec, options_in, *handed)
            log = open_log(spec.log)
            began_at = os.fstat(log).st_size
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={},
                    cwd="/",
                    pass_fds=handed,
                )
            except OSError as error:
                raise Misconfigured(bubblewrap.explain(str(error))) from None
            finally:
                os.close(log)
            facts_in.close()
            report_in.close()
            feed(process, spec.stdin)
            said, pid = b"", 0
            try:
                async with asyncio.timeout(_START_SECONDS):
                    said, first = await _read(report), _first_process(await _read(facts))
                    pid = first if os.getuid() else _only_child(first)
            except TimeoutError:
                said = b"it took too long"
            finally:  # also when the caller gives up
                if said != _SEALED:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
        if said != _SEALED:
            what = said.removeprefix(_SEALED).decode(errors="replace") or _tail(spec.log, began_at)
            raise Misconfigured(bubblewrap.explain(what))
        return LaunchedBox(spec.name, process, pid or process.pid)  # no pid: it has ended already

    def _try(self, folder: Path) -> None:
        argv = (sys.executable, "-I", "-S", "-c", "pass")
        mounts = (Mount(folder, "/run/freehold", writable=True),)
        spec = BoxSpec("trial", argv, b"", mounts, 1 << 30, 8, 64, Path(os.devnull))
        with _pipe() as (_, facts_in), _pipe() as (report, report_in), _pipe() as (options, options_in):
            handed = (options.fileno(), facts_in.fileno(), report_in.fileno())
            command = self._command(spec, options_in, *handed)
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    env={},
                    cwd="/",
                    pass_fds=handed,
                    timeout=_START_SECONDS,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Misconfigured(bubblewrap.explain(str(error))) from None
            report_in.close()
            said = report.read()
        if said != _SEALED or done.returncode != 0:
            raise Misconfigured(
                bubblewrap.explain((said.removeprefix(_SEALED) or done.stderr).decode(errors="replace"))
            )

    def _command(self, spec: BoxSpec, write: IO[bytes], options: int, facts: int, report: int) -> list[str]:
        """What to execute. Its options go through a pipe, since a box may see them in /proc and they name host paths.

        Hands the mounts to the box's user when Freehold is root.
        """
        bwrap = bubblewrap.find(self._search)
        identity = None
        if os.getuid() == 0:
            _check_capabilities()
            identity = Identity.fresh()
            _hand_over(spec, identity)
        words = [*_namespaces(as_root=identity is not None), "--info-fd", str(facts), *_root(spec)]
        write.write(b"".join(os.fsencode(word) + b"\0" for word in words))
        write.close()
        settings = json.dumps(self._settings(spec, identity, report))
        return [
            *(str(bwrap), "--args", str(options), "--"),
            *(sys.executable, "-I", "-S", str(_ENTER), settings),
            *spec.argv,
        ]

    def _settings(self, spec: BoxSpec, identity: Identity | None, report: int) -> dict[str, object]:
        """What `enter` is told."""
        rights = {"/": landlock.READ | landlock.Access.EXECUTE, "/tmp": landlock.FILES}  # noqa: S108
        rights["/dev/null"] = landlock.READ | landlock.Access.WRITE_FILE
        rights |= {mount.inside: landlock.SOCKETS for mount in spec.mounts if mount.writable}
        return {
            "report": report,
            "identity": [identity.user, identity.user, [identity.readers]] if identity else None,
            "limits": {
                "RLIMIT_AS": spec.memory_bytes,
                "RLIMIT_NPROC": spec.threads,
                "RLIMIT_NOFILE": spec.open_files,
                "RLIMIT_FSIZE": _TMP_BYTES,
                # 1, not 0: to a core pattern that is a pipe the kernel writes in spite of 0, but not of 1.
                "RLIMIT_CORE": 1,
                "RLIMIT_MEMLOCK": 0,
                "RLIMIT_MSGQUEUE": 0,
                "RLIMIT_RTPRIO": 0,
            },
            "landlock": landlock.__file__,
            "rights": {path: int(right) for path, right in rights.items()},
            "filter": base64.b64encode(seccomp.program(rules=self._rules)).decode(),
            "environment": runtime.ENVIRONMENT,
        }


def _namespaces(*, as_root: bool) -> list[str]:
    always = [
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup"),
        *("--hostname", "box", "--new-session", "--die-with-parent", "--cap-drop", "ALL"),
    ]
    if as_root:
        return [*always, *(w for cap in ("SETUID", "SETGID", "SETPCAP") for w in ("--cap-add", f"CAP_{cap}"))]
    return [*always, "--as-pid-1", "--unshare-user", "--disable-userns", "--uid", _USER_IN_BOX, "--gid", _USER_IN_BOX]


def _root(spec: BoxSpec) -> list[str]:
    """The composed root. /tmp comes first: what is installed below the host's /tmp is then mounted over it."""
    options = ["--perms", "1777", "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108
    seen = runtime.readable()
    options += _parents([inside for _, inside in seen] + [mount.inside for mount in spec.mounts])
    for host, inside in seen:
        options += ["--ro-bind", str(host), inside]
    for target, link in runtime.system_links():
        options += ["--symlink", target, link]
    options += ["--proc", "/proc", "--perms", "0755", "--size", "4096", "--tmpfs", "/dev"]
    for device in _DEVICES:
        options += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for mount in spec.mounts:
        options += ["--bind" if mount.writable else "--ro-bind", str(mount.host.absolute()), mount.inside]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _parents(paths: list[str]) -> list[str]:
    """The folders above: bubblewrap would close them to all but its own user, which the program is not."""
    above = {str(parent) for path in paths for parent in Path(path).parents} - {"/", "/tmp"}  # noqa: S108
    return [word for folder in sorted(above) for word in ("--perms", "0755", "--dir", folder)]


def _check_capabilities() -> None:
    with open("/proc/self/status") as file:
        held = int(next(line for line in file if line.startswith("CapEff:")).split()[1], 16)
    missing = [name for name, bit in _CAPABILITIES_OF_ROOT.items() if not held >> bit & 1]
    if missing:
        raise Misconfigured(
            Problem(
                f"Freehold runs as root without the capabilities that boxes need: {', '.join(missing)}",
                "Run Freehold as an ordinary user, or give the container these capabilities.",
            )
        )


def _hand_over(spec: BoxSpec, identity: Identity) -> None:
    for mount in spec.mounts:
        try:
            identity.take(mount)
        except OSError as error:
            raise Misconfigured(
                Problem(
                    f"{mount.host} cannot be given to a box: {error.strerror}",
                    "Restore it, and keep the state folder on a local disk that knows owners and groups.",
                )
            ) from None


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as end, os.fdopen(writing, "wb") as start:
        yield end, start


async def _read(pipe: IO[bytes]) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(pipe.fileno()), "rb")
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def _first_process(facts: bytes) -> int:
    """The host's process id of the first process in the box, 0 when it was not made."""
    return int(json.loads(facts)["child-pid"]) if facts else 0


def _only_child(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    return 0


def _tail(log: Path, began_at: int) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(began_at)
        return file.read(4096).decode(errors="replace")
    return ""
