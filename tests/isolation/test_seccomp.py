"""The filter as a pure function: every call number, interpreted as the kernel does it, against what it is to answer."""

import errno
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from freehold.isolation import seccomp, syscalls
from freehold.isolation.seccomp import ABSENT, ALLOW, DENY, KILL, NO_FAMILY
from freehold.isolation.syscalls import Syscall

_CALLS = [
    call
    for group in (
        *(syscalls.FILES, syscalls.MEMORY, syscalls.THREADS, syscalls.SIGNALS, syscalls.TIME, syscalls.EVENTS),
        *(syscalls.SOCKETS, syscalls.FACTS, syscalls.LANDLOCK),
    )
    for call in group
]


def answer(code: bytes, number: int, *arguments: int, architecture: str = "x86_64") -> int:
    """Run a filter over one call, as the kernel's interpreter would."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack(
        "=IIQ6Q", number & 0xFFFFFFFF, seccomp.AUDIT_ARCHITECTURE[architecture], 0, *(a & (1 << 64) - 1 for a in padded)
    )
    program = list(struct.iter_unpack("=HBBI", code))
    at, accumulator = 0, 0
    while True:
        operation, if_true, if_false, value = program[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


def number(name: str, architecture: str) -> int:
    found = next(call for call in (*_CALLS, *syscalls.RULED, *syscalls.ABSENT) if call.name == name)
    value = found.x86_64 if architecture == "x86_64" else found.aarch64
    assert value is not None
    return value


@pytest.fixture(params=["x86_64", "aarch64"])
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_each_call_number_gets_its_answer_and_unlisted_ones_are_refused(architecture: str) -> None:
    code = seccomp.program(architecture)

    def numbers(calls: Iterable[Syscall]) -> set[int | None]:
        return {call.x86_64 if architecture == "x86_64" else call.aarch64 for call in calls}

    allowed, absent = numbers(_CALLS), numbers(syscalls.ABSENT)
    ruled = {number(name, architecture) for name in seccomp.RULES}
    for nr in set(range(1024)) - ruled:
        expected = ALLOW if nr in allowed else ABSENT if nr in absent else DENY
        assert answer(code, nr, architecture=architecture) == expected, nr


def test_only_unix_stream_sockets_can_be_made(architecture: str) -> None:
    code = seccomp.program(architecture)
    for name in ("socket", "socketpair"):
        nr = number(name, architecture)
        for family in range(64):
            for kind in range(16):
                got = answer(code, nr, family, kind | 0x80000, architecture=architecture)
                expected = NO_FAMILY if family != 1 else ALLOW if kind == 1 else DENY
                assert got == expected, (name, family, kind)
        # The kernel reads the family as 32 bits, so bits above them may not change the decision.
        assert answer(code, nr, 1 << 32 | 2, 1, architecture=architecture) == NO_FAMILY


def test_clone_makes_threads_and_nothing_else(architecture: str) -> None:
    code, nr = seccomp.program(architecture), number("clone", architecture)
    thread = 0x3D0F00  # what glibc's pthread_create asks
    assert answer(code, nr, thread, architecture=architecture) == ALLOW
    assert answer(code, nr, 17, architecture=architecture) == DENY  # fork: SIGCHLD
    assert answer(code, nr, 0x4000 | 0x100 | 17, architecture=architecture) == DENY  # vfork
    for namespace in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(code, nr, thread | namespace, architecture=architecture) == DENY
    assert answer(code, number("clone3", architecture), architecture=architecture) == seccomp.ABSENT


def test_arguments_of_ioctl_prctl_and_setsockopt(architecture: str) -> None:
    code = seccomp.program(architecture)

    def got(name: str, *arguments: int) -> int:
        return answer(code, number(name, architecture), *arguments, architecture=architecture)

    assert got("ioctl", 0, 0x5401) == ALLOW
    assert got("ioctl", 0, 0x5412) == DENY  # TIOCSTI
    assert got("prctl", 15) == ALLOW
    assert got("prctl", 1) == got("prctl", 22) == got("prctl", 24) == DENY
    assert got("setsockopt", 3, 1, 2) == ALLOW
    for option in (26, 50, 51, 52):
        assert got("setsockopt", 3, 1, option) == DENY


def test_calls_of_another_architecture_kill() -> None:
    assert answer(seccomp.program("x86_64"), 1, architecture="aarch64") == KILL
    assert answer(seccomp.program("aarch64"), 1, architecture="x86_64") == KILL
    for nr in (0x40000000, 0x40000001, 0x40000200, 0xFFFFFFFF):  # x32
        assert answer(seccomp.program("x86_64"), nr) == KILL


def test_dangerous_calls_are_listed_nowhere() -> None:
    listed = {call.name for call in (*_CALLS, *syscalls.RULED)}
    assert not listed & {
        *("ptrace", "bpf", "mount", "umount2", "unshare", "setns", "keyctl", "add_key", "request_key", "userfaultfd"),
        *("perf_event_open", "process_vm_readv", "process_vm_writev", "kexec_load", "init_module", "finit_module"),
        *("open_by_handle_at", "pidfd_getfd", "memfd_secret", "io_uring_setup", "fork", "vfork", "setuid", "chroot"),
        *("pivot_root", "mknod", "mknodat", "seccomp", "personality", "quotactl", "reboot", "swapon", "acct"),
    }


def test_numbers_are_those_of_the_kernel_headers() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("needs the kernel headers: apt-get install linux-libc-dev")
    known = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR_(\w+) (\d+)", header.read_text())}
    for call in (*_CALLS, *syscalls.RULED, *syscalls.ABSENT):
        if call.x86_64 is not None and call.name in known:
            assert known[call.name] == call.x86_64, call.name


def test_program_is_well_formed_and_its_hash_names_it(architecture: str) -> None:
    code = seccomp.program(architecture)
    assert len(code) % 8 == 0
    assert len(code) // 8 <= 4096  # BPF_MAXINSNS
    assert seccomp.policy_hash(architecture) == seccomp.policy_hash(architecture)
    assert len({seccomp.policy_hash("x86_64"), seccomp.policy_hash("aarch64")}) == 2
    weakened = {name: rule for name, rule in seccomp.RULES.items() if name != "socket"}
    assert seccomp.program(architecture, rules=weakened) != code
    assert NO_FAMILY & 0xFFFF == errno.EAFNOSUPPORT
