"""One process's hand on the log: takes the folder's lock, reads what others wrote, appends a batch, syncs it once.

What is returned from `commit` is durable: the frame is synced and the head that covers it is signed. A frame that a
killed writer left half written was never acknowledged and is cut at the next commit; what a head covers is never cut:
when that is gone the log is `Damaged` and takes nothing more. `log.py` calls it from its thread, the command line
directly. Not for two threads at once.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from freehold.audit import journal, tiles
from freehold.audit.clock import Clock, jump
from freehold.audit.events import Action, Event, encode, placed
from freehold.audit.folder import HEAD, LOCK, SECTOR, VERIFIER, read_head
from freehold.audit.journal import SEGMENT, Broken, Frame, Moment
from freehold.audit.note import Checkpoint, Signer
from freehold.audit.publish import Edge, retire

BATCH = 250
"""Most entries that `commit` takes: with the log's own they never pass two borders of tiles."""
LATEST = 12_000
"""Milliseconds after which a checkpoint that was not published counts as missed."""


class Damaged(Exception):
    """What was acknowledged is not there any more, or is not what was signed."""


class Late(Exception):
    """The lock came after the deadline; nothing was written."""


class Writer:
    """Appends to the log in `folder`. Opens everything at the first use, and again after a failure."""

    def __init__(self, folder: Path, signer: Signer, clock: Clock | None = None) -> None:
        self._folder = folder
        self._signer = signer
        self._clock = clock or Clock()
        self._lock_file: int | None = None
        self._file: int | None = None
        self._segment = 0
        self._offset = 0
        self._edge = Edge(folder, signer)
        self._last: Moment | None = None
        self._waiting_since: int | None = None
        self._own: list[Event] = []
        self.rolled = True  # `retire` may have something to do

    @property
    def size(self) -> int:
        """Entries of the log, as far as this process knows."""
        return self._edge.size

    @property
    def unpublished(self) -> bool:
        """Whether there are entries that no published checkpoint covers, as far as this process knows."""
        return self._edge.size > self._edge.published

    def open(self) -> None:
        """Read the log's state. Raises OSError, Damaged."""
        with self._locked(None), self._forgetting():
            self._catch_up()

    def close(self) -> None:
        """Let go of the files."""
        self._let_go()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def commit(self, bodies: Sequence[bytes], deadline: float | None = None) -> range:
        """Append entries, durably; gives their sequences. `deadline` is on the monotonic clock.

        Takes as many as the journal's segment has room for: the caller comes again with the rest. Raises Late,
        Damaged or OSError, and then nothing was written that stays (but for a disk that lies).
        """
        with self._locked(deadline), self._forgetting():
            self._catch_up()
            moment = self._clock.now()
            said = self._own_events(moment)
            batch = [*(encode(event) for event in said), *bodies]
            if self._edge.size >= self._segment + SEGMENT:
                self._open_segment(self._edge.size)
                self.rolled = True
            batch = batch[: self._segment + SEGMENT - self._edge.size]
            first = self._edge.size
            self._append(batch, moment)
            self._said(said, len(batch))
            try:
                self._publish_full()
            except OSError:
                self._let_go()  # the next one makes up for it, or is refused
            return range(first + len(said), first + max(len(said), len(batch)))

    def publish(self) -> None:
        """Publish a checkpoint that covers everything, if there is none. Raises Damaged or OSError."""
        with self._locked(None), self._forgetting():
            self._catch_up()
            if self._edge.size > self._edge.published:
                moment = self._clock.now()
                said = self._own_events(moment)
                if room := min(len(said), self._segment + SEGMENT - self._edge.size):
                    self._append([encode(event) for event in said[:room]], moment)
                    self._said(said, room)
                self._edge.publish()
                self._waiting_since = None
                self._write_head()

    def retire(self, pause: float = 0) -> None:
        """Sync the tiles of finished segments and drop these. For any thread; takes the lock for a moment."""
        retire(self._folder, self._edge.size, pause)

    @contextlib.contextmanager
    def _locked(self, deadline: float | None) -> Iterator[None]:
        if self._lock_file is None:
            (self._folder / journal.FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            if os.fstat(self._lock_file).st_nlink == 0:  # somebody took the file away: there may be another by now
                os.close(self._lock_file)
                self._lock_file = None
                self._let_go()
                raise Damaged
            if deadline is not None and time.monotonic() > deadline:
                raise Late
            yield
        finally:
            if self._lock_file is not None:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        """After a failure nothing that is remembered counts: all is read again next time."""
        try:
            yield
        except (OSError, Damaged):
            self._let_go()
            raise
        except ValueError as error:
            self._let_go()
            raise Damaged from error

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _own_events(self, moment: Moment) -> list[Event]:
        """What the log says of itself: that a clock jumped, a torn tail was cut, a checkpoint was missed."""
        said = list(self._own)
        if self._edge.mended:
            said.append(Event(action=Action.AUDIT_MENDED, count=self._edge.mended))
        moved = jump(self._last, moment) if self._last is not None else None
        if moved is not None:
            said.append(Event(action=Action.CLOCK_JUMP, milliseconds=moved))
        if self._waiting_since is not None and moment.uptime - self._waiting_since > LATEST:
            late = moment.uptime - self._waiting_since
            said.append(Event(action=Action.AUDIT_CHECKPOINT_MISSED, milliseconds=late))
        return said

    def _said(self, said: list[Event], count: int) -> None:
        """The first `count` of the own events are in the log; the others wait."""
        self._own = said[count:]
        self._edge.mended = 0
        if said and self._waiting_since is not None:
            self._waiting_since = self._clock.now().uptime

    def _append(self, bodies: list[bytes], moment: Moment) -> None:
        """A frame for these, synced, and the head over it; or nothing."""
        first, before = self._edge.size, self._edge
        entries = [placed(body, first + i, moment.wall) for i, body in enumerate(bodies)]
        self._edge = before.grown(entries)
        frame = journal.encode(first, entries, moment, self._edge.root(), self._signer)
        try:
            self._put(frame)
            self._write_head()
        except OSError:
            self._edge = before
            assert self._file is not None  # noqa: S101
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._offset)
            raise
        self._offset += len(frame)
        self._last = moment
        if self._waiting_since is None:
            self._waiting_since = moment.uptime

    def _put(self, frame: bytes) -> None:
        assert self._file is not None  # noqa: S101 - `_catch_up` opened it
        view, place = memoryview(frame), self._offset
        while view:
            done = os.pwrite(self._file, view, place)
            view, place = view[done:], place + done
        os.fdatasync(self._file)

    def _write_head(self) -> None:
        """Sign what there is now, in the one sector that is overwritten: no room is needed on a full disk."""
        note = self._signer.checkpoint(self._edge.size, self._edge.root(), f"checkpoint {self._edge.published}")
        descriptor = os.open(self._folder / HEAD, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, note.ljust(SECTOR, b"\0"), 0)
        finally:
            os.close(descriptor)

    def _publish_full(self) -> None:
        """Make the tiles that became full, and the checkpoint at their border. What fails is made up for next time."""
        if self._edge.made:
            self._edge.make_tiles()
            self._waiting_since = None
            self._write_head()

    def _catch_up(self) -> None:
        """Read what others appended since. Raises Damaged, OSError."""
        if self._file is None:
            self._load()
            return
        while True:
            info = os.fstat(self._file)
            if info.st_size < self._offset:
                raise Damaged
            if info.st_size > self._offset:
                self._read_on(info.st_size)
            if self._edge.size < self._segment + SEGMENT:
                if info.st_nlink == 0:
                    raise Damaged
                break
            if not self._follow():
                break
        self._publish_full()

    def _load(self) -> None:
        """Everything anew: tiles up to the oldest segment, then the journal, all of it under the signed head."""
        folder, verifier = self._folder, self._signer.verifier
        if not (folder / VERIFIER).exists():
            tiles.write(folder / VERIFIER, f"{verifier}\n".encode())
        head = read_head(folder, verifier)
        begins = journal.segments(folder)
        base = begins[0] if begins else 0
        if begins != list(range(base, base + SEGMENT * len(begins), SEGMENT)) or (head is not None and not begins):
            raise Damaged
        self._edge, self._last = Edge.loaded(folder, self._signer, base), None
        if head is not None:
            self._edge.watch(head.size)
        self._open_segment(base)
        while True:
            assert self._file is not None  # noqa: S101
            self._read_on(os.fstat(self._file).st_size)
            if self._edge.size < self._segment + SEGMENT or self._edge.size not in begins:
                break
            self._open_segment(self._edge.size)
        self._judge(head, begins)
        self._publish_full()
        if head is None or head.size < self._edge.size:
            self._write_head()

    def _judge(self, head: Checkpoint | None, begins: list[int]) -> None:
        """Raise Damaged when what was read is less than what was signed, or something else."""
        if begins and self._segment < begins[-1]:
            raise Damaged
        if head is None and self._last is None and self._edge.size > 0:
            raise Damaged
        if head is not None:
            if head.size > self._edge.size or self._edge.watched not in (None, head.root):
                raise Damaged
            if self._edge.watched is None and self._last is None:
                raise Damaged
        self._edge.check_published()

    def _open_segment(self, first: int) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        path = self._folder / journal.segment_name(first)
        fresh = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._segment, self._offset = first, 0
        if fresh:
            for folder in (path.parent, self._folder, self._folder.parent):
                _sync_folder(folder)

    def _follow(self) -> bool:
        """Go on to the next segment if somebody began it."""
        if (self._folder / journal.segment_name(self._edge.size)).exists():
            self._open_segment(self._edge.size)
            return True
        head = read_head(self._folder, self._signer.verifier)
        if head is not None and head.size > self._edge.size:  # we slept while that segment came and went
            self._load()
        return False

    def _read_on(self, end: int) -> None:
        """Take in the frames between what we know and `end`; what is torn is cut, unless a head covers it."""
        assert self._file is not None  # noqa: S101
        data = os.pread(self._file, end - self._offset, self._offset)
        place, newest = 0, None
        edge, offset = self._edge, self._offset
        while place < len(data):
            try:
                newest, place = journal.read(data, place, edge.size)
            except Broken:
                self._check_last(edge, newest)
                self._cut(edge.size, offset, len(data) - place)
                break
            edge = edge.grown(newest.entries)
            offset = self._offset + place
            self._last = newest.moment
        self._check_last(edge, newest)
        self._edge, self._offset = edge, offset

    def _check_last(self, edge: Edge, newest: Frame | None) -> None:
        """The root in the last frame is over all that came before it, so its signature is enough."""
        if newest is not None and not (newest.genuine(self._signer.verifier) and newest.root == edge.root()):
            raise Damaged

    def _cut(self, size: int, offset: int, length: int) -> None:
        head = read_head(self._folder, self._signer.verifier)
        covered = max(head.size if head is not None else 0, self._edge.published)
        if covered > size or (head is None and size):
            raise Damaged
        assert self._file is not None  # noqa: S101
        os.ftruncate(self._file, offset)
        self._own.append(Event(action=Action.AUDIT_TAIL_CUT, size=length))


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
