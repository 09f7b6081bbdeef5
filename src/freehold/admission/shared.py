"""The store of one machine's workers: a file that they all map, a kernel lock around each call, no other process.

The file outlives its processes, so a restart resets nothing; a reboot neither: times are kept on a clock of the file's
own, which goes on from the last time seen and takes only its speed from the machine (CLOCK_BOOTTIME), so that a jump of
the wall clock changes nothing. The lock is the kernel's and dies with its holder. What a killed holder leaves half
written charges too much, never too little. Slots are counted by worker, and those of a dead worker are not counted.

    header   64   magic, boot id, the file's time and CLOCK_BOOTTIME when this boot began to use it, the last time seen
    workers  32 × 16   process id and its start time
    rates    ROWS × 24   key, arrival
    slots    ROWS × 80   key, held by each worker
"""

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from freehold.admission import gcra
from freehold.admission.store import Rate, Slot, Taken
from freehold.protocol.errors import Unavailable

ROWS = 1 << 16
_PROBES = 64
_WORKERS = 32
_MAGIC = b"FHLIMIT1"
_HEADER = struct.Struct("<8s16sddd")
_LAST = struct.Struct("<d")
_LAST_AT = 40
_WORKER = struct.Struct("<QQ")
_RATE = struct.Struct("<16sd")
_SLOT = struct.Struct(f"<16s{_WORKERS}H")
_HELD = struct.Struct("<H")
_WORKERS_AT = 64
_RATES_AT = _WORKERS_AT + _WORKERS * _WORKER.size
_NONE = bytes(16)


class SharedStore:
    """See `store.Store`. Use as a context manager; `clock` gives seconds since boot."""

    def __init__(self, path: Path, *, rows: int = ROWS, clock: Callable[[], float] | None = None) -> None:
        self._path = path
        self._rows = rows
        self._clock = clock or (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
        self._slots_at = _RATES_AT + rows * _RATE.size
        self._size = self._slots_at + rows * _SLOT.size

    def __enter__(self) -> "SharedStore":
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with self._locked():
            if os.fstat(self._file).st_size != self._size:
                os.ftruncate(self._file, 0)
                os.ftruncate(self._file, self._size)
            self._map = mmap.mmap(self._file, self._size)
            self._begin_clock()
            self._worker = self._enrol()
        return self

    def __exit__(self, *_: object) -> None:
        with self._locked():
            self._clear(self._worker)
            _WORKER.pack_into(self._map, _WORKERS_AT + self._worker * _WORKER.size, 0, 0)
        self._map.close()
        os.close(self._file)

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """See `store.Store`. Never waits for more than another worker's call."""
        with self._locked():
            now = self._now()
            places: list[int] = []
            for rate in rates:
                places.append(self._find_rate(rate.key, now, places))
            arrivals: list[float] = []
            for index, rate in enumerate(rates):
                decision = gcra.decide(self._arrival(places[index], rate), now, rate.cost, rate.limit, rate.period)
                if not decision.allowed:
                    return Taken(index, decision.wait, self._remaining(places, rates, now))
                arrivals.append(decision.arrival)
            rows: list[int] = []
            for slot in slots:
                rows.append(self._find_slot(slot.key, rows))
            for index, slot in enumerate(slots):
                if self._count(rows[index], slot) >= slot.limit:
                    return Taken(len(rates) + index, 0.0, self._remaining(places, rates, now))
            for place, rate, arrival in zip(places, rates, arrivals, strict=True):
                self._put_rate(place, rate.key, arrival)
            for row, slot in zip(rows, slots, strict=True):
                self._hold(row, slot.key, 1)
            return Taken(None, 0.0, self._remaining(places, rates, now))

    async def settle(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> None:
        """See `store.Store`."""
        with self._locked():
            now = self._now()
            for rate in rates:
                place = self._find_rate(rate.key, now, ())
                arrival = self._arrival(place, rate)
                self._put_rate(place, rate.key, gcra.adjusted(arrival, now, rate.cost, rate.limit, rate.period))
            for slot in slots:
                self._hold(self._find_slot(slot.key, ()), slot.key, -1)

    # --- the lock and the clock
    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _begin_clock(self) -> None:
        magic, boot, _, _, last = _HEADER.unpack_from(self._map, 0)
        this_boot = _boot_id()
        if magic != _MAGIC or boot != this_boot:
            began = max(time.time(), last if magic == _MAGIC else 0.0)
            _HEADER.pack_into(self._map, 0, _MAGIC, this_boot, began, self._clock(), began)
            self._map[_WORKERS_AT:_RATES_AT] = bytes(_RATES_AT - _WORKERS_AT)
            self._map[self._slots_at :] = bytes(self._size - self._slots_at)
        _, _, began, began_boot, _ = _HEADER.unpack_from(self._map, 0)
        self._offset = float(began - began_boot)

    def _now(self) -> float:
        now: float = self._clock() + self._offset
        _LAST.pack_into(self._map, _LAST_AT, now)
        return now

    # --- workers
    def _enrol(self) -> int:
        free: int | None = None
        for number in range(_WORKERS):
            pid, began = _WORKER.unpack_from(self._map, _WORKERS_AT + number * _WORKER.size)
            if pid and _start_time(pid) == began:
                continue
            if pid:
                self._clear(number)
            free = number if free is None else free
        if free is None:
            raise Unavailable("There are too many workers for the limits' store.", code="limiter_unavailable")
        _WORKER.pack_into(self._map, _WORKERS_AT + free * _WORKER.size, os.getpid(), _start_time(os.getpid()) or 0)
        self._clear(free)
        return free

    def _clear(self, worker: int) -> None:
        for row in range(self._rows):
            at = self._slots_at + row * _SLOT.size
            if self._map[at : at + 16] != _NONE:
                _HELD.pack_into(self._map, at + 16 + 2 * worker, 0)

    def _alive(self, worker: int) -> bool:
        pid, began = _WORKER.unpack_from(self._map, _WORKERS_AT + worker * _WORKER.size)
        return bool(pid) and _start_time(pid) == began

    # --- rows
    def _find_rate(self, key: bytes, now: float, given: Collection[int]) -> int:
        """Where the key's row is, or the first that it can have; not one of `given`."""
        reusable: int | None = None
        begin = int.from_bytes(key[:4], "little")
        for probe in range(_PROBES):
            at = _RATES_AT + (begin + probe) % self._rows * _RATE.size
            found, arrival = _RATE.unpack_from(self._map, at)
            if found == key:
                return at
            if reusable is None and arrival <= now and at not in given:
                reusable = at
            if found == _NONE and at not in given:
                break
        if reusable is None:
            raise _full()
        return reusable

    def _arrival(self, at: int, rate: Rate) -> float:
        found: bytes
        arrival: float
        found, arrival = _RATE.unpack_from(self._map, at)
        if found != rate.key:
            return 0.0
        return arrival

    def _put_rate(self, at: int, key: bytes, arrival: float) -> None:
        _RATE.pack_into(self._map, at, key, arrival)

    def _remaining(self, places: Sequence[int], rates: Sequence[Rate], now: float) -> tuple[int, ...]:
        return tuple(
            [
                gcra.remaining(self._arrival(at, rate), now, rate.limit, rate.period)
                for at, rate in zip(places, rates, strict=True)
            ]
        )

    def _find_slot(self, key: bytes, given: Collection[int]) -> int:
        reusable: int | None = None
        begin = int.from_bytes(key[:4], "little")
        for probe in range(_PROBES):
            at = self._slots_at + (begin + probe) % self._rows * _SLOT.size
            found = self._map[at : at + 16]
            if found == key:
                return at
            if reusable is None and at not in given and not any(self._map[at + 16 : at + _SLOT.size]):
                reusable = at
            if found == _NONE and at not in given:
                break
        if reusable is None:
            raise _full()
        return reusable

    def _count(self, at: int, slot: Slot) -> int:
        held: list[int]
        found, *held = _SLOT.unpack_from(self._map, at)
        if found != slot.key:
            return 0
        count = sum(held)
        if count >= slot.limit:  # before it is refused: is everyone who holds one alive?
            for worker, some in enumerate(held):
                if some and worker != self._worker and not self._alive(worker):
                    _HELD.pack_into(self._map, at + 16 + 2 * worker, 0)
                    count -= some
        return count

    def _hold(self, at: int, key: bytes, change: int) -> None:
        mine = at + 16 + 2 * self._worker
        if self._map[at : at + 16] != key:
            if change < 0:
                return
            _SLOT.pack_into(self._map, at, key, *([0] * _WORKERS))
        (held,) = _HELD.unpack_from(self._map, mine)
        _HELD.pack_into(self._map, mine, max(0, min(65535, held + change)))


def _boot_id() -> bytes:
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))


def _start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])


def _full() -> Unavailable:
    return Unavailable("The limits' store is full. Try again in a moment.", code="limiter_unavailable", retry_after=5)
