"""The rows of the shared store's file: where a key's number is found, and how it is written so that nothing tears.

Used by `shared`, under its lock. Two open-addressing tables, whose rows are looked for from a place that a secret
multiplier tells, so that nobody can choose keys that crowd together. A row that has run out is taken by another key; no
row is ever emptied, so a search ends at the first that was never used.

    header   128        magic, boot id, salt; the file's time less CLOCK_BOOTTIME, and the last time seen
    workers  32 × 16    process id and its start time
    rates    rows × 24  key, arrival (µs)
    slots    rows / 16 × 80  key, how many each worker holds
"""

import mmap
import os
import struct
from collections.abc import Collection
from pathlib import Path

from freehold.protocol.errors import Unavailable

ROWS = 1 << 18

_PROBES = 64
_MOST_PLACES = 10_000
_WORKERS = 32
_MAGIC = b"FHLIMIT2"
_BOOT = struct.Struct("@8s16s")
_NUMBER = struct.Struct("@q")  # native: written by one store, so a kill leaves the old or the new one
_SALT_AT, _OFFSET_AT, _LAST_AT = 24, 40, 48
_WORKER = struct.Struct("@QQ")
_RATE = struct.Struct("@16sq")
_SLOT = struct.Struct(f"@16s{_WORKERS}H")
_HELD = struct.Struct("@H")
_WORKERS_AT = 128
_RATES_AT = _WORKERS_AT + _WORKERS * _WORKER.size
_NONE = bytes(16)
_WORD = (1 << 128) - 1


def size_of(rows: int) -> int:
    """How long (bytes) a file of so many rates is."""
    return _RATES_AT + rows * _RATE.size + rows // 16 * _SLOT.size


class Table:
    """The mapped file. Call `begin` and `enrol` first, `leave` last."""

    def __init__(self, mapped: mmap.mmap, rows: int) -> None:
        self._map = mapped
        self._rows = rows
        self._slot_rows = rows // 16
        self._slots_at = _RATES_AT + rows * _RATE.size
        self._salt = 1
        self._worker = 0
        self._rate_of: dict[bytes, int] = {}  # where a key's row was last; the row says whether it still is there
        self._slot_of: dict[bytes, int] = {}

    def begin(self, clock: int, wall: int) -> int:
        """How far (µs) the file's time is ahead of `clock`, since boot. `wall` is what a new file or boot starts at."""
        mapped, boot = self._map, _boot_id()
        magic, found = _BOOT.unpack_from(mapped, 0)
        if magic not in (_MAGIC, bytes(len(_MAGIC))):
            mapped[:] = bytes(len(mapped))
        if magic != _MAGIC:
            mapped[_SALT_AT:_OFFSET_AT] = os.urandom(_OFFSET_AT - _SALT_AT)
        elif found != boot:  # nobody of before lives
            mapped[_WORKERS_AT:_RATES_AT] = bytes(_RATES_AT - _WORKERS_AT)
            mapped[self._slots_at :] = bytes(len(mapped) - self._slots_at)
        if magic != _MAGIC or found != boot:
            last: int = _NUMBER.unpack_from(mapped, _LAST_AT)[0]
            _NUMBER.pack_into(mapped, _OFFSET_AT, max(wall, last) - clock)
            _BOOT.pack_into(mapped, 0, _MAGIC, boot)  # last, so that a half-made file is made again
        self._salt = int.from_bytes(mapped[_SALT_AT:_OFFSET_AT], "little") | 1
        offset: int = _NUMBER.unpack_from(mapped, _OFFSET_AT)[0]
        return offset

    def seen(self, now: int) -> None:
        """Remember the file's time for after a reboot."""
        _NUMBER.pack_into(self._map, _LAST_AT, now)

    # --- workers
    def enrol(self) -> None:
        """Take a worker's place. Raises Unavailable when there is none."""
        free: int | None = None
        for number in range(_WORKERS):
            pid, began = _WORKER.unpack_from(self._map, _WORKERS_AT + number * _WORKER.size)
            if pid and _start_time(pid) == began:
                continue
            if pid:
                self._clear_slots_of(number)
            free = number if free is None else free
        if free is None:
            raise Unavailable("There are too many workers for the limits' store.", code="limiter_unavailable")
        self._clear_slots_of(free)
        _WORKER.pack_into(self._map, _WORKERS_AT + free * _WORKER.size, os.getpid(), _start_time(os.getpid()) or 0)
        self._worker = free

    def leave(self) -> None:
        """Give back the worker's place and all that it holds."""
        self._clear_slots_of(self._worker)
        _WORKER.pack_into(self._map, _WORKERS_AT + self._worker * _WORKER.size, 0, 0)
        self._map.close()

    def _alive(self, worker: int) -> bool:
        pid, began = _WORKER.unpack_from(self._map, _WORKERS_AT + worker * _WORKER.size)
        return bool(pid) and _start_time(pid) == began

    def _clear_slots_of(self, worker: int) -> None:
        first, step = self._slots_at + 16 + _HELD.size * worker, _SLOT.size
        with memoryview(self._map) as whole, whole[first::step] as low, whole[first + 1 :: step] as high:
            some = low.tobytes().strip(b"\0") or high.tobytes().strip(b"\0")
        if some:
            for row in range(self._slot_rows):
                _HELD.pack_into(self._map, first + row * step, 0)

    # --- rates
    def find_rate(self, key: bytes, now: int, given: Collection[int]) -> tuple[int, int]:
        """Where the key's row is, or the first that it can have that is not one of `given`; and its arrival."""
        mapped, rows = self._map, self._rows
        at = self._rate_of.get(key)
        if at is not None and mapped[at : at + 16] == key:
            return at, self.arrival(at)
        row = self._first(key, rows)
        reusable: int | None = None
        for _ in range(_PROBES):
            at = _RATES_AT + row * 24
            found, arrival = _RATE.unpack_from(mapped, at)
            if found == key:
                _keep(self._rate_of, key, at)
                return at, arrival
            if reusable is None and arrival <= now and at not in given:
                reusable = at
            if found == _NONE and at not in given:
                break
            row = (row + 1) % rows
        if reusable is None:
            raise _full()
        return reusable, 0

    def known_rate(self, key: bytes) -> int | None:
        """Where the key's row is, if it has one."""
        at = self._rate_of.get(key)
        if at is not None and self._map[at : at + 16] == key:
            return at
        row = self._first(key, self._rows)
        for _ in range(_PROBES):
            at = _RATES_AT + row * 24
            found = self._map[at : at + 16]
            if found == key:
                return at
            if found == _NONE:
                return None
            row = (row + 1) % self._rows
        return None

    def arrival(self, at: int) -> int:
        """What is remembered in a row."""
        arrival: int = _NUMBER.unpack_from(self._map, at + 16)[0]
        return arrival

    def put_rate(self, at: int, key: bytes, arrival: int) -> None:
        """Write a row: first the key, since the number that it finds there has run out and means nothing."""
        if self._map[at : at + 16] != key:
            self._map[at : at + 16] = key
        _NUMBER.pack_into(self._map, at + 16, arrival)

    # --- slots
    def find_slot(self, key: bytes, given: Collection[int]) -> int:
        """Where the key's row is, or the first that it can have that is not one of `given`."""
        at = self._slot_of.get(key)
        if at is not None and self._map[at : at + 16] == key:
            return at
        row = self._first(key, self._slot_rows)
        reusable: int | None = None
        for _ in range(_PROBES):
            at = self._slots_at + row * _SLOT.size
            found = self._map[at : at + 16]
            if found == key:
                _keep(self._slot_of, key, at)
                return at
            if reusable is None and at not in given and not any(self._map[at + 16 : at + _SLOT.size]):
                reusable = at
            if found == _NONE and at not in given:
                break
            row = (row + 1) % self._slot_rows
        if reusable is None:
            raise _full()
        return reusable

    def known_slot(self, key: bytes) -> int | None:
        """Where the key's row is, if it has one."""
        at = self._slot_of.get(key)
        if at is not None and self._map[at : at + 16] == key:
            return at
        row = self._first(key, self._slot_rows)
        for _ in range(_PROBES):
            at = self._slots_at + row * _SLOT.size
            found = self._map[at : at + 16]
            if found == key:
                return at
            if found == _NONE:
                return None
            row = (row + 1) % self._slot_rows
        return None

    def count(self, at: int, key: bytes, limit: int) -> int:
        """How many of the key's places living workers hold, exact when it is `limit` or more."""
        held: list[int]
        found, *held = _SLOT.unpack_from(self._map, at)
        if found != key:
            return 0
        count = sum(held)
        if count >= limit:
            for worker, some in enumerate(held):
                if some and worker != self._worker and not self._alive(worker):
                    _HELD.pack_into(self._map, at + 16 + _HELD.size * worker, 0)
                    count -= some
        return count

    def hold(self, at: int, key: bytes, change: int) -> None:
        """This worker holds so many more of the key's places."""
        if self._map[at : at + 16] != key:
            self._map[at : at + 16] = key
        mine = at + 16 + _HELD.size * self._worker
        (held,) = _HELD.unpack_from(self._map, mine)
        _HELD.pack_into(self._map, mine, max(0, min(0xFFFF, held + change)))

    def _first(self, key: bytes, rows: int) -> int:
        return ((int.from_bytes(key, "little") * self._salt & _WORD) >> 96) * rows >> 32


def _keep(places: dict[bytes, int], key: bytes, at: int) -> None:
    if len(places) >= _MOST_PLACES:
        places.clear()
    places[key] = at


def _boot_id() -> bytes:
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))


def _start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None when it has ended, waited for or not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else int(fields[18])


def _full() -> Unavailable:
    return Unavailable("The limits' store is full. Try again in a moment.", code="limiter_unavailable", retry_after=5)
