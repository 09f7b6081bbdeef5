"""System call numbers of the two architectures that a box may run on: `name x86_64 aarch64`, `-` where there is none.

Only what the filter speaks of is listed; whatever is not listed is refused. The numbers are the kernel's stable ABI
(asm/unistd_64.h and asm-generic/unistd.h). Read by `seccomp`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Syscall:
    """One system call's numbers."""

    name: str
    x86_64: int | None
    aarch64: int | None


def _table(text: str) -> tuple[Syscall, ...]:
    rows = (entry.split() for entry in text.split(","))
    return tuple(Syscall(name, *(None if n == "-" else int(n) for n in numbers)) for name, *numbers in rows)


# Allowed whatever the arguments: what they touch is bounded by mounts, Landlock and limits.
FILES = _table(
    """
    read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296
    70, preadv2 327 286, pwritev2 328 287, open 2 -, openat 257 56, close 3 57, close_range 436 436, lseek 8 62,
    stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48, faccessat2
    439 439, readlink 89 -, readlinkat 267 78, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, fcntl
    72 25, flock 73 32, fsync 74 82, fdatasync 75 83, ftruncate 77 46, truncate 76 45, fallocate 285 47,
    fadvise64 221 223, readahead 187 213, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, rename 82
    -, renameat 264 38, renameat2 316 276, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35,
    link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, chmod 90 -, fchmod 91 52, fchmodat 268 53, umask
    95 166, utimensat 280 88, statfs 137 43, fstatfs 138 44, sendfile 40 71
    """
)
MEMORY = _table(
    """
    mmap 9 222, mprotect 10 226, munmap 11 215, mremap 25 216, madvise 28 233, brk 12 214, mincore 27 232, msync
    26 227, membarrier 324 283, get_mempolicy 239 236
    """
)
THREADS = _table(
    """
    futex 202 98, futex_waitv 449 449, set_robust_list 273 99, get_robust_list 274 100, set_tid_address 218 96,
    rseq 334 293, arch_prctl 158 -, gettid 186 178, getpid 39 172, getppid 110 173, getpgrp 111 -, getpgid 121
    155, getsid 124 156, sched_yield 24 124, sched_getaffinity 204 123, sched_setaffinity 203 122,
    sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min
    147 126, getpriority 140 141, getcpu 309 168, wait4 61 260, waitid 247 95, execve 59 221, exit 60 93,
    exit_group 231 94
    """
)
SIGNALS = _table(
    """
    rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128
    137, rt_sigsuspend 130 133, sigaltstack 131 132, restart_syscall 219 128, kill 62 129, tkill 200 130, tgkill
    234 131, pause 34 -, signalfd4 289 74
    """
)
TIME = _table(
    """
    clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101, gettimeofday 96 169,
    time 201 -, times 100 153, getrusage 98 165, getitimer 36 102, setitimer 38 103, alarm 37 -, timerfd_create
    283 85, timerfd_settime 286 86, timerfd_gettime 287 87
    """
)
EVENTS = _table(
    """
    poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl
    233 21, epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19
    """
)
# On sockets that exist, whose family was checked when they were made.
SOCKETS = _table(
    """
    bind 49 200, listen 50 201, accept 43 202, accept4 288 242, connect 42 203, getsockname 51 204, getpeername
    52 205, setsockopt 54 208, getsockopt 55 209, shutdown 48 210, sendto 44 206, recvfrom 45 207, sendmsg 46
    211, recvmsg 47 212, sendmmsg 307 269, recvmmsg 299 243
    """
)
FACTS = _table(
    """
    getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150,
    getgroups 115 158, capget 125 90, uname 63 160, sysinfo 99 179, getrandom 318 278, prlimit64 302 261,
    getrlimit 97 163, setrlimit 160 164
    """
)
# A program may only give up more.
LANDLOCK = _table(
    """
    landlock_create_ruleset 444 444, landlock_add_rule 445 445, landlock_restrict_self 446 446
    """
)
# Allowed with some arguments only; `seccomp` has the rules.
RULED = _table(
    """
    socket 41 198, socketpair 53 199, clone 56 220, ioctl 16 29, prctl 157 167
    """
)
# Answered with ENOSYS: run-time libraries try these first and then do without.
ABSENT = _table(
    """
    clone3 435 435, openat2 437 437, fchmodat2 452 452, copy_file_range 326 285, io_uring_setup 425 425,
    io_uring_enter 426 426, io_uring_register 427 427, pidfd_open 434 434
    """
)
