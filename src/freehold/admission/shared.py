"""The store of one machine's workers: a file that they all map, a kernel lock around each call, no other process.

The file outlives its processes, so a restart resets nothing; a reboot neither: times are kept on a clock of the file's
own, which goes on from the last time seen and takes only its speed from the machine (CLOCK_BOOTTIME), so that a jump of
the wall clock changes nothing. The lock is the kernel's and dies with its holder; who finds it held for long (a stopped
process) refuses instead of waiting. Every number is written in one piece, so what a killed holder leaves behind is at
most a call that is half done, which charges too much and never too little.
Slots are counted by worker, and those of a dead worker are not counted.

Called by the gateway's workers, each with a store of its own: not from two threads.
"""

import fcntl
import mmap
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from freehold.admission import gcra, table
from freehold.admission.gcra import MICROSECONDS
from freehold.admission.store import Change, Rate, Slot, Taken
from freehold.admission.table import Table
from freehold.protocol.errors import Unavailable

_PATIENCE = 0.2  # seconds; a call holds the lock for microseconds
_NAP = 50e-6


class SharedStore:
    """See `store.Store`. Use as a context manager; `clock` gives seconds since boot."""

    def __init__(self, path: Path, *, rows: int = table.ROWS, clock: Callable[[], float] | None = None) -> None:
        self._path = path
        self._rows = rows
        self._clock = clock or (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
        self._owed: list[tuple[Sequence[Change], Sequence[Slot]]] = []

    def __enter__(self) -> "SharedStore":
        size = table.size_of(self._rows)
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            found = os.fstat(self._file)
            if found.st_nlink and found.st_size in (0, size):
                break
            if found.st_nlink:  # of another layout: those who have it mapped keep it
                self._path.unlink()
            os.close(self._file)
        try:
            os.ftruncate(self._file, size)
            self._table = Table(mmap.mmap(self._file, size), self._rows)
            self._offset = self._table.begin(int(self._clock() * MICROSECONDS), int(time.time() * MICROSECONDS))
            self._table.enrol()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._pay(self._now())
            self._table.leave()
        finally:
            os.close(self._file)

    async def take(self, rates: Sequence[Rate], slots: Sequence[Slot], lease: str) -> Taken:
        """See `store.Store`. Never suspends. Raises Unavailable when the table is full or its lock is not to be had."""
        if not self._locked():
            raise Unavailable("The limits cannot be looked up at the moment. Try again later.",
                              code="limiter_unavailable", retry_after=5)  # fmt: skip
        try:
            return self._take(rates, slots, self._now())
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def settle(self, changes: Sequence[Change], slots: Sequence[Slot], lease: str) -> None:
        """See `store.Store`. When the lock is not to be had it is done before the next call."""
        if not self._locked():
            self._owed.append((changes, slots))
            return
        try:
            self._settle(changes, slots, self._now())
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _take(self, rates: Sequence[Rate], slots: Sequence[Slot], now: int) -> Taken:
        if self._owed:
            self._pay(now)
        rows = self._table
        places: list[int] = []
        ends: list[int] = []
        refused, longest = None, 0.0
        for index, rate in enumerate(rates):
            place, arrival = rows.find_rate(rate.key, now, places)
            places.append(place)
            after, wait = gcra.decide(arrival, now, rate.cost, rate.limit, rate.period)
            ends.append(after)
            if wait > longest:
                refused, longest = index, wait
        if refused is None and slots:
            held: list[int] = []
            for index, slot in enumerate(slots):
                held.append(rows.find_slot(slot.key, held))
                if rows.count(held[index], slot.key, slot.limit) >= slot.limit:
                    refused = len(rates) + index
                    break
        if refused is not None:
            for place, rate in zip(places, rates, strict=True):
                if rows.known_rate(rate.key) == place and rows.arrival(place) > gcra.latest(now, rate.period):
                    rows.put_rate(place, rate.key, gcra.latest(now, rate.period))
            return Taken(refused, longest, self._remaining(rates, now))
        for place, rate, after in zip(places, rates, ends, strict=True):
            rows.put_rate(place, rate.key, after)
        if slots:
            for place, slot in zip(held, slots, strict=True):
                rows.hold(place, slot.key, 1)
        left = [gcra.remaining(after, now, r.limit, r.period) for after, r in zip(ends, rates, strict=True)]
        return Taken(None, 0.0, tuple(left), tuple(ends))

    def _remaining(self, rates: Sequence[Rate], now: int) -> tuple[int, ...]:
        arrivals = [self._table.find_rate(rate.key, now, ())[1] for rate in rates]
        return tuple([gcra.remaining(a, now, r.limit, r.period) for a, r in zip(arrivals, rates, strict=True)])

    def _settle(self, changes: Sequence[Change], slots: Sequence[Slot], now: int) -> None:
        rows = self._table
        for change in changes:
            place = rows.known_rate(change.key)
            if place is None:  # its row has run out and was given to another: there is nothing to correct
                continue
            arrival = gcra.settled(rows.arrival(place), now, change.units, change.end, change.limit, change.period)
            rows.put_rate(place, change.key, arrival)
        for slot in slots:
            place = rows.known_slot(slot.key)
            if place is not None:
                rows.hold(place, slot.key, -1)

    def _pay(self, now: int) -> None:
        owed, self._owed = self._owed, []
        for changes, slots in owed:
            self._settle(changes, slots, now)

    def _locked(self) -> bool:
        give_up = 0.0
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                give_up = give_up or now + _PATIENCE
                if now > give_up:
                    return False
                time.sleep(_NAP)
            else:
                return True

    def _now(self) -> int:
        now = int(self._clock() * MICROSECONDS) + self._offset
        self._table.seen(now)
        return now
