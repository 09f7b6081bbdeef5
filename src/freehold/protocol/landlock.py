"""Landlock, by system call: a process gives up, for itself and all that it becomes, what it was not allowed here.

Standard library only. The last step into a box applies it around the program; the runner applies it once more, tighter,
when it knows what it needs. What the running kernel's version handles is used whole; rights that a newer kernel adds
are not asked for, since their meaning is not known here.
"""

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable, Mapping
from enum import IntFlag

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38


class Access(IntFlag):
    """Rights on files, as the kernel numbers them."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Access.READ_FILE | Access.READ_DIR
SOCKETS = Access.MAKE_SOCK | Access.REMOVE_FILE | Access.READ_DIR
FILES = (
    READ
    | Access.WRITE_FILE
    | Access.REMOVE_DIR
    | Access.REMOVE_FILE
    | Access.MAKE_DIR
    | Access.MAKE_REG
    | Access.MAKE_SOCK
    | Access.MAKE_FIFO
    | Access.MAKE_SYM
    | Access.REFER
    | Access.TRUNCATE
)
_OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
_SINCE = {Access.REFER: 2, Access.TRUNCATE: 3, Access.IOCTL_DEV: 5}
_TCP_SINCE, _TCP = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11

_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(OSError):
    """The kernel has no Landlock, or it is switched off."""


def version() -> int:
    """The kernel's Landlock version, 0 when there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def restrict(rules: Mapping[str, Access], *, missing_ok: Iterable[str] = ()) -> int:
    """Keep only `rules` (path → rights beneath it), for ever. Gives the Landlock version that was used.

    No TCP port may be bound or connected to, no signal sent and no abstract Unix socket reached outside, where the
    kernel's version knows how. Raises Unavailable without Landlock and OSError when a rule cannot be made. Applies to
    the calling thread and those that it starts, so call it before there are others.
    """
    has = version()
    if has < 1:
        raise Unavailable("this kernel has no Landlock")
    handled = Access(0)
    for right in Access:
        if _SINCE.get(right, 1) <= has:
            handled |= right
    attributes = struct.pack("=QQQ", handled, _TCP if has >= _TCP_SINCE else 0, _SCOPES if has >= _SCOPES_SINCE else 0)[
        : 24 if has >= _SCOPES_SINCE else 16 if has >= _TCP_SINCE else 8
    ]
    ruleset = _call(_CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), 0)
    optional = frozenset(missing_ok)
    try:
        for path, rights in rules.items():
            try:
                _allow(ruleset, path, rights & handled)
            except FileNotFoundError:
                if path not in optional:
                    raise
        if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs could not be set")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return has


def _allow(ruleset: int, path: str, rights: Access) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, folder)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.c_char_p(rule), 0)
    finally:
        os.close(folder)


def _call(*arguments: object) -> int:
    result = int(_libc.syscall(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "landlock")
    return result
