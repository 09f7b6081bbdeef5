"""The last step into a box: run inside bubblewrap's namespaces, gives up what is left, becomes the program.

Started by the sandbox driver as `python -I -S enter.py SETTINGS PROGRAM …`; never imported. It sets what must be set
inside: limits (the thread limit counts the box alone only once its user or user namespace exists), an unprivileged
user where bubblewrap ran as root, Landlock, and the system call filter as the very last. Whatever fails ends it before
the program starts. It reports to the driver on a pipe: `sealed` at the end, or what failed.

Standard library only, without site-packages, so that it starts in a few milliseconds.
"""

import base64
import ctypes
import json
import os
import resource
import signal
import sys
from importlib.machinery import SourceFileLoader
from typing import Any

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 24, 38, 22
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_FAILED = 126

_libc = ctypes.CDLL(None, use_errno=True)


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def main() -> int:
    """Seal this process, then become the program. Returns only when that failed."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    report = int(settings["report"])
    os.set_inheritable(report, False)
    _close_all_but(report)
    try:
        _enter(settings)
        os.write(report, b"sealed")
        os.execve(sys.argv[2], sys.argv[2:], settings["environment"])  # noqa: S606
    except (OSError, ValueError) as error:
        os.write(report, f" not: {error}".encode())
    return _FAILED


def _enter(settings: dict[str, Any]) -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("900")  # when memory runs out, boxes go first
    for name, value in settings["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.umask(0o077)
    if settings["identity"] is not None:
        _become(*settings["identity"])
    _drop_capabilities()
    # A change of user clears the death signal that bubblewrap had set.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    landlock: Any = SourceFileLoader("landlock", settings["landlock"]).load_module()
    landlock.restrict({path: landlock.Access(rights) for path, rights in settings["rights"].items()})
    code = base64.b64decode(settings["filter"])
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_FilterProgram(len(code) // 8, ctypes.c_char_p(code))))


def _become(user: int, group: int, others: list[int]) -> None:
    for capability in range(_CAPABILITIES):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails beyond the last one that the kernel knows
    os.setgroups(others)
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capabilities could not be dropped")


def _prctl(option: int, value: int, pointer: Any = 0) -> None:
    if _libc.prctl(option, value, pointer, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _close_all_but(kept: int) -> None:
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor > 2 and descriptor != kept:
            try:
                os.close(descriptor)
            except OSError:  # the listing's own
                continue


if __name__ == "__main__":
    sys.exit(main())
