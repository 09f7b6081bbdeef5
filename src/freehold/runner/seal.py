"""The runner's own part in its seal: it gives up what it does not need, and on demand tries to get out of its box.

`apply_landlock` is called by `serve` before anything else runs. `attack` is what `POST /seal` answers with: each probe
tries one way out and holds when the kernel refused it. Every probe is chosen so that it does no harm where it is NOT
refused, since it also runs unsealed under the `process` driver, where the report must fail: calls get arguments that
fail before they have an effect, files are unnamed and gone with their descriptor, whatever opens is closed at once.

An answer other than a plain refusal, such as "bad argument", means that the call was reached: the probe does not hold.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import freehold
from freehold.protocol import landlock
from freehold.protocol.seal import Probe, SealReport

_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS, errno.ENOENT})
_FAMILY_REFUSALS = frozenset({errno.EAFNOSUPPORT, errno.EPERM})
_FAMILIES = range(46)
_TELLING_FAMILIES = (2, 10, 16, 17, 40)  # INET, INET6, NETLINK, PACKET, VSOCK
_AF_UNIX = 1
_TYPES = {"STREAM": 1, "DGRAM": 2, "RAW": 3, "SEQPACKET": 5}
_AS_UNSIGNED = 0xFFFFFFFF
_PR_SET_PDEATHSIG, _TIOCSTI, _PTRACE_PEEKDATA, _TYPE_BLOCK = 1, 0x5412, 2, 0o060000

# name: numbers on x86_64 and aarch64, and arguments that are refused as nonsense where the call itself is not.
_CALLS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "io_uring_setup": (425, 425, (0, 0)),
    "ptrace": (101, 117, (_PTRACE_PEEKDATA, 0, 0, 0)),
    "bpf": (321, 280, (_AS_UNSIGNED, 0, 0)),
    "mount": (165, 40, (0, 0, 0, 0, 0)),
    "fsopen": (430, 430, (0, 0)),
    "open_tree": (428, 428, (-1, 0, 0)),
    "pivot_root": (155, 41, (0, 0)),
    "chroot": (161, 51, (0,)),
    "unshare": (272, 97, (0,)),
    "setns": (308, 268, (-1, 0)),
    "keyctl": (250, 219, (_AS_UNSIGNED, 0, 0, 0, 0)),
    "add_key": (248, 217, (0, 0, 0, 0, 0)),
    "perf_event_open": (298, 241, (0, 0, -1, -1, 0)),
    "userfaultfd": (323, 282, (_AS_UNSIGNED,)),
    "process_vm_readv": (310, 270, (0, 0, 0, 0, 0, 0)),
    "process_vm_writev": (311, 271, (0, 0, 0, 0, 0, 0)),
    "init_module": (175, 105, (0, 0, 0)),
    "open_by_handle_at": (304, 265, (-1, 0, 0)),
    "pidfd_getfd": (438, 438, (-1, -1, 0)),
    "memfd_create": (319, 279, (0, _AS_UNSIGNED)),
    "memfd_secret": (447, 447, (_AS_UNSIGNED,)),
    "mknodat": (259, 33, (-1, 0, _TYPE_BLOCK, 0)),
    "clone3": (435, 435, (0, 0)),
    "setuid": (105, 146, (0,)),
    "setgroups": (116, 159, (_AS_UNSIGNED, 0)),
    "prctl PDEATHSIG": (157, 167, (_PR_SET_PDEATHSIG, 999, 0, 0, 0)),
    "ioctl TIOCSTI": (16, 29, (0, _TIOCSTI, 0)),
}
_CLONE = (56, 220)

_ENVIRONMENT = frozenset(
    {"LANG", "HOME", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MALLOC_ARENA_MAX", "PYTHONDONTWRITEBYTECODE"}
)
_SECRET_FILES = ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/etc/resolv.conf", "/etc/ssl", "/sys/kernel")
_SYSTEM_FOLDERS = frozenset({"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "proc", "dev", "tmp"})
_DEVICES = frozenset({"null", "zero", "random", "urandom"})
_HOST_DEVICES = ("/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/tty")
_SETTINGS = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger")
_LIMITS = ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_FSIZE")


class NotSealed(Exception):
    """Landlock could not be applied; the runner must not serve."""


def apply_landlock(readable: Sequence[Path], writable: Sequence[Path]) -> None:
    """Keep, for good: reading the runtime and `readable`, sockets in `writable`, files in /tmp. Nothing is executable.

    Call it before a second thread runs; it holds for the calling thread and all that come from it. Raises NotSealed.
    """
    runtime = [Path(sys.base_prefix), Path(sys.prefix), Path(freehold.__file__).parent]
    system = [Path(name) for name in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/proc", "/dev")]
    rules = {str(path.resolve()): landlock.READ for path in (*runtime, *system, *readable) if path.exists()}
    rules["/dev/null"] = landlock.READ | landlock.Access.WRITE_FILE
    rules["/tmp"] = landlock.FILES  # noqa: S108 - the box's own
    rules |= {str(path): landlock.SOCKETS for path in writable}
    try:
        landlock.restrict(rules)
    except OSError as error:
        raise NotSealed(str(error)) from error


def attack() -> SealReport:
    """Try every way out. Takes a few milliseconds; changes nothing."""
    if sys.platform != "linux":
        return SealReport((Probe("the kernel can seal", False, f"{sys.platform} has none of the primitives"),))
    groups = (_sockets, _names, _calls, _processes, _files, _privileges, _surroundings)
    return SealReport(tuple(probe for group in groups for probe in group()))


def _sockets() -> Iterator[Probe]:
    # Asking an open kernel for exotic families would load their modules, so there only the telling ones are tried.
    families = _FAMILIES if _status("Seccomp") == "2" else _TELLING_FAMILIES
    names = {int(f): f.name.removeprefix("AF_") for f in socket.AddressFamily}
    for family in families:
        if family == _AF_UNIX:
            continue
        yield _all_refused(
            f"socket {names.get(family, family)}",
            [partial(_open_socket, family, kind) for kind in _TYPES.values()],
            _FAMILY_REFUSALS,
        )
    yield _all_refused(
        "socket UNIX but STREAM",
        [partial(_open_socket, _AF_UNIX, kind) for name, kind in _TYPES.items() if name != "STREAM"],
        _FAMILY_REFUSALS,
    )
    yield _refused("socketpair INET", partial(_open_pair, socket.AF_INET), _FAMILY_REFUSALS)


def _names() -> Iterator[Probe]:
    """Names that only a network, or the host's network namespace, would know."""
    try:
        socket.getaddrinfo("localhost", 80)
        yield Probe("look up a name", False, "resolved")
    except OSError as error:
        yield Probe("look up a name", True, f"refused: {error.strerror}")
    rows = _read("/proc/net/unix").splitlines()[1:]
    abstract = [row for row in rows if row.split()[-1].startswith("@")]
    yield Probe("abstract sockets of others", not abstract, f"{len(abstract)} in reach")
    devices = [row.partition(":")[0].strip() for row in _read("/proc/net/dev").splitlines()[2:]]
    yield Probe("network devices", set(devices) <= {"lo"}, ", ".join(devices) or "none")


def _calls() -> Iterator[Probe]:
    for name, (*numbers, arguments) in _CALLS.items():
        yield _refused(f"call {name}", partial(_call, _number(*numbers), *arguments))


def _processes() -> Iterator[Probe]:
    yield _refused("start a process", _fork)
    # posix_spawn reports that there is no such program only when it could start a process to find out.
    yield _refused(
        "run a program",
        partial(os.posix_spawn, "/nonexistent/program", ["program"], {}),
        _REFUSALS - {errno.ENOENT, errno.EACCES},
    )
    others = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {os.getpid()}
    yield Probe("other processes in sight", others <= {1}, f"{len(others)} seen")
    if 1 in others:  # the box's keeper, which is another user
        yield _refused("signal process 1", partial(os.kill, 1, 0))
        for name in ("environ", "mem", "root/etc", "cwd/etc"):
            yield _refused(f"open {name} of process 1", partial(_open, f"/proc/1/{name}", os.O_RDONLY))
    limits = [name for name in _LIMITS if resource.getrlimit(getattr(resource, name))[1] == resource.RLIM_INFINITY]
    yield Probe("limits", not limits, f"unlimited: {', '.join(limits)}" if limits else "set")
    # A limit of 1 also stops dumps into a pipe, which 0 does not; either writes no file.
    yield Probe("core dumps", resource.getrlimit(resource.RLIMIT_CORE)[1] <= 1, "off if at most 1")


def _files() -> Iterator[Probe]:
    mounts = [row.split() for row in _read("/proc/self/mountinfo").splitlines()]
    points = [row[4] for row in mounts]
    own = [row[4] for row in mounts if "rw" in row[5].split(",") and row[4].startswith("/run/")]
    for folder in ("/", "/usr", "/dev", "/etc", sys.prefix, str(Path(freehold.__file__).parent)):
        yield _refused(f"write below {folder}", partial(_unnamed_file, folder))
    yield _all_refused("write files into its own folder", [partial(_unnamed_file, f) for f in own])
    for path in _SETTINGS:
        yield _refused(f"write {path}", partial(_open, path, os.O_WRONLY))
    for path in (*_SECRET_FILES, *_HOST_DEVICES):
        yield _refused(f"open {path}", partial(_open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
    strange = sorted(set(_listing("/dev")) - _DEVICES)
    yield Probe("devices", not strange, ", ".join(strange[:8]) or "only harmless ones")
    known = [*points, sys.base_prefix, sys.prefix, str(Path(freehold.__file__).parent)]
    extra = [path for name in _listing("/") if name not in _SYSTEM_FOLDERS for path in _strangers(f"/{name}", known)]
    yield Probe("host files beside its own", not extra, ", ".join(extra[:4]) or "none in sight")


def _privileges() -> Iterator[Probe]:
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(_status(name), 16)]
    yield Probe("capabilities", not held, ", ".join(held) or "none")
    yield Probe("root", 0 not in (*os.getresuid(), *os.getresgid(), *os.getgroups()), f"user {os.getuid()}")
    yield Probe("new privileges", _status("NoNewPrivs") == "1", f"no_new_privs {_status('NoNewPrivs')}")
    yield Probe("system call filter", _status("Seccomp") == "2", f"mode {_status('Seccomp')}")


def _surroundings() -> Iterator[Probe]:
    entries = _read("/proc/self/environ").split("\0")
    extra = {entry.partition("=")[0] for entry in entries if entry} - _ENVIRONMENT
    yield Probe("environment", not extra, f"{len(extra)} variables beside the fixed ones")


def _refused(name: str, attempt: Callable[[], object], refusals: frozenset[int] = _REFUSALS) -> Probe:
    return _all_refused(name, [attempt], refusals)


def _all_refused(name: str, attempts: Sequence[Callable[[], object]], refusals: frozenset[int] = _REFUSALS) -> Probe:
    """Holds when every attempt was refused; the detail is the first that was not, or the refusals."""
    seen: list[str] = []
    for attempt in attempts:
        try:
            attempt()
        except OSError as error:
            word = errno.errorcode.get(error.errno or 0, str(error))
            if error.errno not in refusals:
                return Probe(name, False, f"reached: {word}")
            if word not in seen:
                seen.append(word)
        else:
            return Probe(name, False, "opened")
    return Probe(name, True, ", ".join(seen) or "there is none")


def _call(number: int, *arguments: int) -> int:
    libc = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: a forked child must own it
    result = int(libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments)))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _number(x86_64: int, aarch64: int) -> int:
    return aarch64 if platform.machine() in ("aarch64", "arm64") else x86_64


def _fork() -> None:
    child = _call(_number(*_CLONE), signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _open_pair(family: int) -> None:
    for end in socket.socketpair(family):
        end.close()


def _unnamed_file(folder: str) -> None:
    _open(folder, os.O_TMPFILE | os.O_WRONLY)


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o600))


def _open_socket(family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _strangers(path: str, known: Sequence[str]) -> list[str]:
    """What is at or below `path` and is neither one of the known places, nor in one, nor a folder on the way to one."""
    if path in known:
        return []
    if not any(place.startswith(f"{path}/") for place in known):
        return [path]
    return [found for name in _listing(path) for found in _strangers(f"{path}/{name}", known)]


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def _status(field: str) -> str:
    return next(row.split()[1] for row in _read("/proc/self/status").splitlines() if row.startswith(f"{field}:"))
