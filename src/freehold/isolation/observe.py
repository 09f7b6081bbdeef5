"""What the kernel says of a live box from outside, where a program inside cannot lie about it.

Reads /proc only. `freehold doctor --seal` and the status report set these beside what the runner finds from inside;
Landlock alone cannot be seen from here. A process that has ended, or that may not be looked at, holds nothing.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from freehold.isolation.drivers.runtime import ENVIRONMENT
from freehold.protocol.seal import Probe

_NAMESPACES = ("net", "mnt", "pid", "ipc", "uts", "cgroup")
_EMPTY_TABLES = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6", "packet", "route")
_LIMITED = ("Max address space", "Max processes", "Max open files", "Max file size")
_HARMLESS_DESCRIPTORS = ("pipe:", "anon_inode:[event", "anon_inode:[timerfd]", "anon_inode:[signalfd]")
_OUTPUT = (1, 2)  # the log, which the host opened

_Look = Callable[[Path], tuple[bool, str]]


def observe(pid: int, log: Path | None = None) -> tuple[Probe, ...]:
    """All that can be said of the process `pid` of the host, whose output goes to `log`."""

    def no_foreign_descriptor(process: Path) -> tuple[bool, str]:
        return _no_foreign_descriptor(process, log)

    looks = {**_LOOKS, "no foreign descriptor": no_foreign_descriptor}
    return tuple(_probe(name, look, Path("/proc") / str(pid)) for name, look in looks.items())


def _probe(name: str, look: _Look, process: Path) -> Probe:
    try:
        os.stat(process)
        held, detail = look(process)
    except (OSError, StopIteration, ValueError) as error:
        held, detail = False, f"cannot be seen: {error}"
    return Probe(f"outside: {name}", held, detail)


def _filtered(process: Path) -> tuple[bool, str]:
    mode = _status(process, "Seccomp")
    return mode == ["2"], {"0": "no filter", "2": "filter in force"}.get(mode[0], mode[0])


def _no_new_privileges(process: Path) -> tuple[bool, str]:
    return _status(process, "NoNewPrivs") == ["1"], f"no_new_privs {_status(process, 'NoNewPrivs')[0]}"


def _no_capabilities(process: Path) -> tuple[bool, str]:
    held = {name: _status(process, name)[0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    found = [f"{name} {value}" for name, value in held.items() if int(value, 16)]
    return not found, ", ".join(found) or "none"


def _not_root(process: Path) -> tuple[bool, str]:
    users, groups = _status(process, "Uid"), _status(process, "Gid") + _status(process, "Groups")
    return "0" not in users and "0" not in groups, f"user {users[1]}"


def _own_namespaces(process: Path) -> tuple[bool, str]:
    shared = [
        name for name in _NAMESPACES if os.readlink(process / "ns" / name) == os.readlink(f"/proc/self/ns/{name}")
    ]
    return not shared, f"shared with the host: {', '.join(shared)}" if shared else "all its own"


def _no_network(process: Path) -> tuple[bool, str]:
    """No table of its network namespace has a row, all netlink sockets are the kernel's, `lo` is the only device."""
    used = [name for name in _EMPTY_TABLES if len(_rows(process / "net" / name)) > 1]
    used += ["netlink" for row in _rows(process / "net" / "netlink")[1:] if row.split()[2] != "0"]
    used += [row.partition(":")[0].strip() for row in _rows(process / "net" / "dev")[2:] if "lo:" not in row]
    return not used, f"found: {', '.join(sorted(set(used)))}" if used else "no sockets, no routes, no devices"


def _no_foreign_descriptor(process: Path, log: Path | None) -> tuple[bool, str]:
    """Every open file is in its own mounts, every socket a Unix socket (in its client's namespace if accepted)."""
    found = _foreign(process, log)
    if found:  # looked at twice: what opens or closes meanwhile is in one table and not in the other
        found &= _foreign(process, log)
    return not found, "; ".join(sorted(found)) or "none"


def _foreign(process: Path, log: Path | None) -> set[str]:
    descriptors = [(number, target) for number, target in _descriptors(process) if target != str(log)]
    mounts = {row.split()[0] for row in _rows(process / "mountinfo")}
    rows = _rows(process / "net" / "unix") + _rows(Path("/proc/self/net/unix"))
    unix = {row.split()[6] for row in rows if not row.startswith("Num")}
    return {f"{n}: {target}" for n, target in descriptors if not _own(process, n, target, mounts, unix)}


def _own(process: Path, number: int, target: str, mounts: set[str], unix: set[str]) -> bool:
    if target.startswith(_HARMLESS_DESCRIPTORS):
        return True
    if target.startswith("socket:["):
        return target[8:-1] in unix
    try:
        facts = _rows(process / "fdinfo" / str(number))
        regular = stat.S_ISREG(os.stat(process / "fd" / str(number)).st_mode)
    except FileNotFoundError:  # closed meanwhile
        return True
    mount = next(row.split()[1] for row in facts if row.startswith("mnt_id:"))
    return mount in mounts or (number in _OUTPUT and regular)


def _descriptors(process: Path) -> Iterator[tuple[int, str]]:
    for name in os.listdir(process / "fd"):
        try:
            yield int(name), os.readlink(process / "fd" / name)
        except FileNotFoundError:  # closed meanwhile
            continue


def _read_only(process: Path) -> tuple[bool, str]:
    """All mounts are read-only but /tmp, /proc, devices and one writable folder below /run."""
    writable = [
        row.split()[4]
        for row in _rows(process / "mountinfo")
        if "rw" in row.split()[5].split(",") and not row.split()[4].startswith(("/tmp", "/proc", "/dev/", "/run/"))  # noqa: S108
    ]
    return not writable, f"writable: {', '.join(writable[:8])}" if writable else "root and runtime"


def _limited(process: Path) -> tuple[bool, str]:
    rows = {row[:25].strip(): row[26:46].strip() for row in _rows(process / "limits")}
    missing = [name for name in _LIMITED if rows[name] == "unlimited"]
    if rows["Max core file size"] not in ("0", "1"):
        missing.append("Max core file size")
    return not missing, f"unlimited: {', '.join(missing)}" if missing else "memory, threads, files, file size, no core"


def _alone(process: Path) -> tuple[bool, str]:
    children = [child for file in process.glob("task/*/children") for child in file.read_text().split()]
    return not children, f"{len(children)} child processes"


def _environment(process: Path) -> tuple[bool, str]:
    data = (process / "environ").read_bytes()
    names = {entry.partition(b"=")[0].decode(errors="replace") for entry in data.split(b"\0") if entry}
    extra = sorted(names - set(ENVIRONMENT))
    return not extra, f"{len(extra)} variables beside the fixed ones"


def _status(process: Path, field: str) -> list[str]:
    return next(row for row in _rows(process / "status") if row.startswith(f"{field}:")).split()[1:]


def _rows(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        if path.parent.name == "net":  # a protocol that this kernel does not have
            return []
        raise


_LOOKS: dict[str, _Look] = {
    "system calls are filtered": _filtered,
    "no new privileges": _no_new_privileges,
    "no capabilities": _no_capabilities,
    "not root": _not_root,
    "namespaces of its own": _own_namespaces,
    "no network": _no_network,
    "read-only root": _read_only,
    "limits": _limited,
    "no child process": _alone,
    "empty environment": _environment,
}
