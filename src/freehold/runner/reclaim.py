"""Gives back memory that was only ever zeroed: the context cache of a model that has answered nothing yet.

llama.cpp clears its cache when it makes it, which makes every page of it resident (hundreds of megabytes). A private
anonymous page of zeros that is given back reads as zeros again and costs memory only when it is used. Called once after
loading, before the first request.
"""

import ctypes
import mmap
from pathlib import Path

_STEP = 1 << 20
_SMALLEST = 4 << 20
_COPY = 48 << 20
_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def resident_copies() -> int:
    """Bytes of large private buffers that are resident: after loading and `reclaim_zeros`, the weights' copies.

    llama.cpp keeps a copy of some weights in the processor's preferred order, beside the mapped file. Linux only,
    else 0.
    """
    try:
        entries = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return 0
    total = 0
    private = False
    for line in entries:
        first = line.split(" ", 1)[0]
        if not first.endswith(":"):
            private = len(line.split()) == 5 and " rw-p " in line
        elif private and first == "Rss:" and (size := int(line.split()[1]) << 10) >= _COPY:
            total += size
    return total


def reclaim_zeros() -> int:
    """Give back freed memory and the zero pages of large private mappings; gives the latter's bytes. Linux only."""
    try:
        maps = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return 0
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
    zeros = ctypes.create_string_buffer(_STEP)
    given = 0
    for line in maps:
        fields = line.split()
        begin, end = (int(part, 16) for part in fields[0].split("-"))
        if (
            fields[1] != "rw-p"
            or fields[4] != "0"
            or end - begin < _SMALLEST
            or fields[5:] in (["[stack]"], ["[heap]"])
        ):
            continue
        for start in range(begin, end - _STEP + 1, _STEP):
            if _libc.memcmp(start, zeros, _STEP) == 0 and _libc.madvise(start, _STEP, mmap.MADV_DONTNEED) == 0:
                given += _STEP
    return given
