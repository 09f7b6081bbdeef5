"""The system call filter of a box: a classic BPF program, made by a pure function, installed on the last step into it.

It is an allow-list for what CPython, uvicorn with uvloop, llama.cpp and onnxruntime ask of a kernel. Everything else
fails with EPERM, or with ENOSYS where a run-time library asks and then does without. A box has no socket family but
Unix, since a network namespace alone leaves AF_VSOCK, AF_NETLINK and others open; it starts threads but no process
(`clone` needs CLONE_THREAD, and `clone3`, whose flags a filter cannot see, is absent); and it has no io_uring, ptrace,
bpf, mount, namespaces, keys, user fault handling, other process's memory, modules or terminal injection.

`execve` stays allowed because the last step into the box ends with it. It gains nothing: filter, namespaces, Landlock
and limits outlive it, no privilege can be gained through it, and without `fork` it only replaces the caller.

A foreign architecture's calls, and on x86_64 those of x32, kill the process: their numbers would mean other calls.
"""

import errno
import hashlib
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from freehold.isolation import syscalls
from freehold.isolation.syscalls import Syscall

_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
ALLOW, DENY, ABSENT = _ALLOW, _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
NO_FAMILY = _ERRNO | errno.EAFNOSUPPORT
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x40000000

AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_CLONE_THREAD = 0x00010000
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00000080
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
# FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS (is it a terminal?), TIOCGWINSZ
_IOCTLS = (0x541B, 0x5421, 0x5451, 0x5450, 0x5401, 0x5413)
# GET_PDEATHSIG, GET_DUMPABLE, SET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, CAPBSET_READ, SET_ and GET_NO_NEW_PRIVS,
# SET_VMA (names of memory areas).
# Setting PDEATHSIG is not among them: a box must not outlive its keeper.
_PRCTLS = (2, 3, 4, 15, 16, 21, 23, 38, 39, 0x53564D41)
# ATTACH_FILTER, ATTACH_BPF, ATTACH_REUSEPORT_CBPF, ATTACH_REUSEPORT_EBPF
_SOCKET_PROGRAMS = (26, 50, 51, 52)


@dataclass(frozen=True)
class Check:
    """The low 32 bits of an argument, masked, must be among `values` (or, with `banned`, must not). Else `otherwise`.

    The kernel takes these arguments as 32-bit values itself, so the upper half cannot carry another meaning.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    banned: bool = False
    otherwise: int = DENY


RULES: dict[str, tuple[Check, ...]] = {
    "socket": (Check(0, (_AF_UNIX,), otherwise=NO_FAMILY), Check(1, (_SOCK_STREAM,), _SOCK_TYPE)),
    "socketpair": (Check(0, (_AF_UNIX,), otherwise=NO_FAMILY), Check(1, (_SOCK_STREAM,), _SOCK_TYPE)),
    "clone": (Check(0, (_CLONE_THREAD,), _CLONE_THREAD | _NAMESPACES),),
    "ioctl": (Check(1, _IOCTLS),),
    "prctl": (Check(0, _PRCTLS),),
    "setsockopt": (Check(2, _SOCKET_PROGRAMS, banned=True),),
}

_ALLOWED = (
    syscalls.FILES
    + syscalls.MEMORY
    + syscalls.THREADS
    + syscalls.SIGNALS
    + syscalls.TIME
    + syscalls.EVENTS
    + syscalls.SOCKETS
    + syscalls.FACTS
    + syscalls.LANDLOCK
)


def machine() -> str:
    """This machine's architecture as the tables name it (`x86_64`, `aarch64`), or what the kernel calls it."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())


def program(architecture: str | None = None, *, rules: dict[str, tuple[Check, ...]] = RULES) -> bytes:
    """The filter as an array of `struct sock_filter`. Raises KeyError for an architecture without a table."""
    architecture = architecture or machine()
    code = [_load(_ARCHITECTURE_AT), _jump(_JUMP_EQUAL, AUDIT_ARCHITECTURE[architecture], 1, 0), _return(KILL)]
    code.append(_load(_NUMBER_AT))
    if architecture == "x86_64":
        code += [_jump(_JUMP_AT_LEAST, _X32_BIT, 0, 1), _return(KILL)]
    ruled = [call for call in (*syscalls.RULED, *_ALLOWED) if call.name in rules]
    for number, call in _numbers(ruled, architecture):
        body = _body(rules[call.name])
        code += [_jump(_JUMP_EQUAL, number, 0, len(body)), *body]
    # Each answer is a list of one-step comparisons that ends in a return.
    plain = [call for call in _ALLOWED if call.name not in rules]
    for calls, answer in ((plain, ALLOW), (syscalls.ABSENT, ABSENT)):
        for number, _ in _numbers(calls, architecture):
            code += [_jump(_JUMP_EQUAL, number, 0, 1), _return(answer)]
    code.append(_return(DENY))
    return b"".join(code)


def policy_hash(architecture: str | None = None) -> str:
    """SHA-256 of the filter's bytes: names the policy in a seal report."""
    return hashlib.sha256(program(architecture)).hexdigest()


def _numbers(calls: Iterable[Syscall], architecture: str) -> list[tuple[int, Syscall]]:
    found = ((call.x86_64 if architecture == "x86_64" else call.aarch64, call) for call in calls)
    return [(number, call) for number, call in found if number is not None]


def _body(checks: tuple[Check, ...]) -> list[bytes]:
    code: list[bytes] = []
    for check in checks:
        code += [_load(_ARGUMENTS_AT + 8 * check.argument), struct.pack("=HBBI", _AND, 0, 0, check.mask)]
        last = len(check.values) - 1
        for place, value in enumerate(check.values):
            ahead = last - place
            # A match jumps over the return (allow-list) or to it (banned); no match falls through to the other.
            if check.banned:
                code.append(_jump(_JUMP_EQUAL, value, ahead, 0 if ahead else 1))
            else:
                code.append(_jump(_JUMP_EQUAL, value, ahead + 1, 0))
        code.append(_return(check.otherwise))
    code.append(_return(ALLOW))
    return code


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD_WORD, 0, 0, offset)


def _jump(operation: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", operation, if_true, if_false, value)


def _return(answer: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, answer)
