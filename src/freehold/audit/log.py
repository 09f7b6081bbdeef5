"""The log as a process uses it: `await log.record(event)` comes back when it is durable, `log.note` does not wait.

Every process that acts opens one (`AuditLog.of(layout)`), the gateway's workers, the console and the supervisor each
their own: they share the folder by its lock. A thread does the disk's work; what is recorded while it syncs is its next
batch, so the more comes the larger the batches are, and no timer delays anybody. When nothing can be written, `record`
raises Unavailable 503 `audit_unavailable` within a second, and works again as soon as the disk does.
"""

import asyncio
import collections
import contextlib
import fcntl
import queue
import threading
import time
from pathlib import Path

from freehold.audit import journal
from freehold.audit.clock import Clock
from freehold.audit.events import Action, Event, encode
from freehold.audit.folder import LOCK, locked, unavailable
from freehold.audit.note import Signer
from freehold.audit.writer import BATCH, Damaged, Late, Writer
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Layout

PUBLISH_SECONDS = 5.0
"""How long entries wait at most for a checkpoint, half of what is promised."""
PATIENCE = 0.7
"""Seconds after which a recorder is told that the log cannot be written."""
_TICK = 0.1
_PAUSE = 0.01
_MOST_NOTES = 10_000


def signer(layout: Layout) -> Signer:
    """The log's key, made with the log at the first start.

    Raises Misconfigured when there is a key but no log: a log that is gone is not begun anew in silence.
    """
    folder = layout.audit
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / LOCK).touch(mode=0o600)
    except OSError as error:
        raise Misconfigured(
            Problem(f"{folder} cannot be written: {error.strerror}", "Make it writable, or free space on its disk.")
        ) from None
    with locked(folder, fcntl.LOCK_EX, 10.0):
        if not (folder / journal.FOLDER).exists():
            if (layout.keys / "audit-sign.key").exists():
                raise Misconfigured(
                    Problem(
                        f"the audit log in {folder} is gone, but its key is here",
                        "Restore it from a copy or a backup. To begin a new log, move keys/audit-sign.key away.",
                    )
                )
            (folder / journal.FOLDER).mkdir(mode=0o700)
        return Signer(layout.secret("audit-sign"))


class _Item:
    """An event on its way, and who waits for it."""

    __slots__ = ("body", "future", "gone", "until")

    def __init__(self, body: bytes, future: "asyncio.Future[int] | None", until: float) -> None:
        self.body = body
        self.future = future
        self.until = until
        self.gone = False


class AuditLog:
    """The log, for one event loop. Use as `async with AuditLog.of(layout) as log`."""

    def __init__(self, folder: Path, key: Signer, clock: Clock | None = None) -> None:
        self._folder = folder
        self._writer = Writer(folder, key, clock)
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: collections.deque[_Item] = collections.deque()
        self._watching: asyncio.TimerHandle | None = None
        self._kept: list[_Item] = []
        self._lost = 0
        self._writable = True
        self._retiring: threading.Thread | None = None

    @classmethod
    def of(cls, layout: Layout) -> "AuditLog":
        """The installation's log. Raises Misconfigured when its key is here but it is not."""
        return cls(layout.audit, signer(layout))

    @property
    def writable(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return self._writable

    async def __aenter__(self) -> "AuditLog":
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._writer.open)
        except Damaged:
            raise Misconfigured(
                Problem(
                    f"the audit log in {self._folder} is not what was signed",
                    "'freehold audit verify' says where. Restore it from a copy, or move folder and key away.",
                )
            ) from None
        except OSError:
            self._writable = False  # a full disk at the start is as one later
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what waits, publish a checkpoint. Gives up after some seconds when the disk does not answer."""
        thread, self._thread = self._thread, None
        self._queue.put(None)
        if thread is not None:
            await asyncio.to_thread(thread.join, 5.0)
        if self._retiring is not None:
            await asyncio.to_thread(self._retiring.join, 5.0)
        if self._watching is not None:
            self._watching.cancel()
        for item in self._waiting:
            _refuse(item)

    async def record(self, event: Event) -> int:
        """Write an event; gives its sequence when it is durable. Raises Unavailable within a second when it cannot
        be, and then nothing may be done that it would have told of."""
        if self._loop is None or self._thread is None:
            raise unavailable()
        future: asyncio.Future[int] = self._loop.create_future()
        item = _Item(encode(event), future, time.monotonic() + PATIENCE)
        self._waiting.append(item)
        if self._watching is None:
            self._watching = self._loop.call_later(_TICK, self._watch)
        self._queue.put(item)
        return await future

    def note(self, event: Event) -> None:
        """Write an event with the next batch, or when the log can be written again. Returns at once."""
        body = encode(event)
        if self._queue.qsize() < _MOST_NOTES * 10:  # a disk that hangs is not to fill the memory
            self._queue.put(_Item(body, None, 0))

    def _watch(self) -> None:
        """Refuse those who have waited too long: the disk hangs, or another process keeps the lock."""
        assert self._loop is not None  # noqa: S101
        now = time.monotonic()
        while self._waiting and (self._waiting[0].until < now or _done(self._waiting[0])):
            _refuse(self._waiting.popleft())
        self._watching = self._loop.call_later(_TICK, self._watch) if self._waiting else None

    def _settle(self, items: list[_Item], first: int | None) -> None:
        """In the loop: tell the recorders of a batch."""
        for number, item in enumerate(items):
            if item.future is not None and not item.future.done():
                if first is None:
                    _refuse(item)
                else:
                    item.future.set_result(first + number)
        while self._waiting and _done(self._waiting[0]):
            self._waiting.popleft()

    def _work(self) -> None:
        """The thread: batches until told to stop, a checkpoint now and then."""
        due, open_ = time.monotonic() + PUBLISH_SECONDS, True
        while open_:
            batch: list[_Item] = []
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=max(due - time.monotonic(), 0.001))
                while item is not None:
                    batch.append(item)
                    if len(batch) == BATCH:
                        break
                    item = self._queue.get_nowait()
                open_ = item is not None
            if batch or (self._kept and not open_):
                self._write(batch)
            if time.monotonic() >= due or not open_:
                self._tend()
                due = time.monotonic() + PUBLISH_SECONDS
        self._writer.close()

    def _write(self, batch: list[_Item]) -> None:
        notes = [self._lost_note(), *self._kept] if self._lost else self._kept
        items = [*notes, *(item for item in batch if not item.gone)]
        self._kept, self._lost = [], 0
        while items:
            part = items[:BATCH]
            deadline = min((item.until for item in part if item.future is not None), default=None)
            try:
                done = self._writer.commit([item.body for item in part], deadline)
            except (OSError, Damaged, Late):
                self._writable = False
                self._fail(items)
                return
            self._writable = True
            self._tell(part[: len(done)], done.start)
            items = items[len(done) :]
        if self._writer.rolled:
            self._writer.rolled = False
            self._retiring = threading.Thread(target=self._retire, name="audit-retire", daemon=True)
            self._retiring.start()

    def _fail(self, items: list[_Item]) -> None:
        """Those who wait are refused; notes are kept for when it works again, as many as is sensible."""
        self._tell([item for item in items if item.future is not None], None)
        notes = [item for item in items if item.future is None]
        self._kept = notes[:_MOST_NOTES]
        self._lost += len(notes) - len(self._kept)

    def _lost_note(self) -> _Item:
        return _Item(encode(Event(action=Action.AUDIT_NOTES_LOST, count=self._lost)), None, 0)

    def _tell(self, items: list[_Item], first: int | None) -> None:
        assert self._loop is not None  # noqa: S101
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, items, first)

    def _tend(self) -> None:
        """Publish a checkpoint when one is due, whoever wrote the entries; write the notes that were kept."""
        if self._kept:
            self._write([])
        try:
            self._writer.publish()
        except (OSError, Damaged):
            self._writable = False

    def _retire(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.retire(_PAUSE)


def _done(item: _Item) -> bool:
    return item.future is None or item.future.done()


def _refuse(item: _Item) -> None:
    item.gone = True
    if item.future is not None and not item.future.done():
        item.future.set_exception(unavailable())
