"""Whether a log is what was signed: from its files and the public key alone, offline, trusting nothing else.

Everything is computed again: each entry's hash, each tile, the root under every signed head that lies there. `held` are
checkpoints that somebody kept elsewhere (an auditor's, a copy's): a log that was rolled back or written anew is sound
in itself, and only they show it. The findings say what is wrong and in which file and entry. `freehold audit verify`
calls this, and so may whoever keeps a copy, which is a folder without journal.
"""

import bisect
import contextlib
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from freehold.audit import journal, tiles
from freehold.audit.events import Action, decode, is_canonical
from freehold.audit.folder import CHECKPOINT, HEAD, LOCK, PAYLOAD, PLACES, SECTOR, VERIFIER, locked
from freehold.audit.note import Checkpoint, Verifier
from freehold.audit.tree import WIDTH, Frontier, FullTile, leaf_hash

_MOST_FAULTS = 100
_UNCOVERED = 2  # frames that a killed writer may leave without a head over them


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong. `entry` is the first sequence that it concerns, when it concerns entries."""

    where: str
    what: str
    entry: int | None = None


class Report(msgspec.Struct, frozen=True):
    """What was found. `size`: entries; `pruned`: how many of the oldest were removed as the log itself says;
    `torn`: bytes at the journal's end that a killed writer never finished, which is not a fault."""

    sound: bool
    origin: str
    size: int
    root: str
    checkpoint: int
    pruned: int
    torn: int
    seconds: float
    faults: list[Fault]


def verify(folder: Path, key: Verifier, held: Sequence[bytes | Checkpoint] = ()) -> Report:
    """Check a log. `held`: checkpoints kept elsewhere, as notes. Raises OSError when the folder cannot be read."""
    began = time.monotonic()
    check = _Check(folder, key)
    check.run(held)
    return Report(
        not check.faults,
        key.name,
        check.tree.size,
        check.tree.root().hex(),
        check.checkpoint.size if check.checkpoint is not None else 0,
        check.pruned,
        check.torn,
        round(time.monotonic() - began, 3),
        check.faults[:_MOST_FAULTS],
    )


class _Check:
    """One run. The tree grows by what the files say; the signed heads are compared as it passes their sizes."""

    def __init__(self, folder: Path, key: Verifier) -> None:
        self.folder = folder
        self.key = key
        self.faults: list[Fault] = []
        self.tree = Frontier()
        self.checkpoint: Checkpoint | None = None
        self.pruned = 0
        self.torn = 0
        self._head: Checkpoint | None = None
        self._begin = 0
        self._recent: list[bytes] = []
        self._wanted: dict[int, list[tuple[str, bytes]]] = {}
        self._frame_ends: list[int] = []
        self._missing: list[int] = []
        self._prunes: list[int] = []
        self._files: set[str] = set()  # those that nothing asked for yet
        self._found: frozenset[str] = frozenset()
        self._parts: dict[str, list[str]] = {}
        self._grown = 0  # entries of the log after we looked
        self._end = 0  # and when we looked
        self._segments: list[int] = []

    def run(self, held: Sequence[bytes | Checkpoint]) -> None:
        with locked(self.folder, fcntl.LOCK_SH, 1.0):
            present = any((self.folder / name).exists() for name in (CHECKPOINT, HEAD, journal.FOLDER, "tile"))
            self.checkpoint = self._signed(CHECKPOINT)
            self._head = self._signed(HEAD)
            self._read_journal()
        self._files = self._walk()
        self._found = frozenset(self._files)
        self._grown = self._size_by_now()
        for name in self._files:
            if ".p/" in name and tiles.parse(name) is not None:
                self._parts.setdefault(name.rpartition("/")[0], []).append(name)
        if not present:
            self._fault(str(self.folder), "there is no audit log")
            return
        self._public_key()
        self._want_held(held)
        end = self._begin + len(self._recent)
        if not self._journaled:
            end = self.checkpoint.size if self.checkpoint is not None else 0
        self._judge_heads(end)
        self._grow(end)
        for size, heads in self._wanted.items():
            if size > end:
                for where, _ in heads:
                    self._fault(where, f"it covers {size} entries, but the log has {end}: it was cut or rolled back")
        self._upper_tiles()
        self._prune_marks()

    @property
    def _journaled(self) -> bool:
        return any(name.startswith(f"{journal.FOLDER}/") for name in self._files) or self._head is not None

    def _fault(self, where: str, what: str, entry: int | None = None) -> None:
        if len(self.faults) <= _MOST_FAULTS:
            self.faults.append(Fault(where, what, entry))

    def _signed(self, name: str) -> Checkpoint | None:
        """A signed head that lies in the folder; its root will be compared."""
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        if name == HEAD:
            if len(data) != SECTOR:
                self._fault(name, "it is not a head")
                return None
            data = data.rstrip(b"\0")
        try:
            found = self.key.open(data)
        except ValueError as error:
            self._fault(name, f"{error}")
            return None
        self._want(name, found)
        return found

    def _want(self, where: str, head: Checkpoint) -> None:
        self._wanted.setdefault(head.size, []).append((where, head.root))

    def _want_held(self, held: Sequence[bytes | Checkpoint]) -> None:
        for number, note in enumerate(held):
            name = f"held checkpoint {number + 1}"
            try:
                self._want(name, note if isinstance(note, Checkpoint) else self.key.open(note))
            except ValueError as error:
                self._fault(name, f"{error}")

    def _public_key(self) -> None:
        try:
            if (self.folder / VERIFIER).read_text("utf-8") != f"{self.key}\n":
                self._fault(VERIFIER, "the public key in the folder is not the one that was given")
        except (FileNotFoundError, UnicodeDecodeError):
            self._fault(VERIFIER, "the public key is missing")

    def _walk(self) -> set[str]:
        """Every file but those that are nobody's business, by name."""
        found = set()
        for place, _, names in os.walk(self.folder):
            inside = Path(place).relative_to(self.folder).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            if not prefix.startswith((f"{PAYLOAD}/", f"{PLACES}/")):
                found |= {prefix + name for name in names if not name.startswith(".")}
        return found - {LOCK}

    def _size_by_now(self) -> int:
        """How long the log is after its files were listed: writers go on meanwhile, and are not kept waiting."""
        with locked(self.folder, fcntl.LOCK_SH, 1.0), contextlib.suppress(ValueError, FileNotFoundError):
            return self.key.open((self.folder / HEAD).read_bytes().rstrip(b"\0")).size
        return 0

    def _came_later(self, name: str) -> bool:
        """Whether a tile is of entries that were written after we looked."""
        level, index, width = tiles.parse(name) or ("0", 0, 0)
        number = 0 if level == tiles.ENTRIES else int(level)
        end: int = index * WIDTH ** (number + 1) + width * WIDTH**number
        return self._end < end <= self._grown

    def _read_journal(self) -> None:
        begins = self._segments = journal.segments(self.folder)
        if not begins:
            return
        self._begin = begins[0]
        for number, begin in enumerate(begins):
            name = journal.segment_name(begin)
            if begin != self._begin + len(self._recent):
                self._fault(name, "the journal has a gap before it", begin)
                return
            self._read_segment(name, begin, last=number == len(begins) - 1)

    def _read_segment(self, name: str, begin: int, last: bool) -> None:
        data, place, after = (self.folder / name).read_bytes(), 0, begin
        while place < len(data):
            try:
                frame, place = journal.read(data, place, after)
            except journal.Broken as broken:
                if last and broken.torn:
                    self.torn = len(data) - place
                else:
                    self._fault(name, f"what is at byte {place} is not what was written", after)
                return
            if not frame.genuine(self.key):
                self._fault(name, "a frame is not signed by this key", frame.first)
            after = frame.end
            if after > begin + journal.SEGMENT:
                self._fault(name, "it holds more than its entries", frame.first)
            self._recent += frame.entries
            self._wanted.setdefault(after, []).append((name, frame.root))
            self._frame_ends.append(after)

    def _judge_heads(self, end: int) -> None:
        """Heads that are missing, or older than they can be."""
        if self._journaled:
            if self._head is None and end and not any(f.where == HEAD for f in self.faults):
                self._fault(HEAD, "the newest signed head is missing")
            if self._head is not None:
                later = [number for number in self._frame_ends if number > self._head.size]
                if len(later) > _UNCOVERED:
                    self._fault(HEAD, "it is older than the journal: it was replaced", self._head.size)
                published = self._head.extensions[0].removeprefix("checkpoint ") if self._head.extensions else ""
                if not published.isdigit():
                    self._fault(HEAD, "it does not say what was published")
                elif int(published) > (self.checkpoint.size if self.checkpoint is not None else 0):
                    self._fault(CHECKPOINT, f"it is missing or older than the published one of {published} entries")
        elif self.checkpoint is None and not self.faults:
            self._fault(CHECKPOINT, "the signed checkpoint is missing")

    def _grow(self, end: int) -> None:
        """The tree from the entries, tile by tile, with every file that says something of them."""
        self._end = end
        sizes = sorted(self._wanted)
        for index in range(end // WIDTH):
            first = index * WIDTH
            leaves = self._full_tile(index, first, required=self._tile_required(first + WIDTH))
            if bisect.bisect_right(sizes, first) < bisect.bisect_left(sizes, first + WIDTH):
                for leaf in leaves:
                    self.tree.append(leaf)
                    self._compare()
            else:
                self.tree.append_tile(leaves)
                self._compare()
            self._check_full()
        self._right_edge(end)

    def _tile_required(self, end: int) -> bool:
        """Whether a full tile must lie there: a published checkpoint covers it, or the journal does not reach it."""
        return (self.checkpoint is not None and end <= self.checkpoint.size) or end <= self._begin

    def _full_tile(self, index: int, first: int, required: bool) -> list[bytes]:
        """The leaf hashes of a full tile, computed from its entries where there are any."""
        tile_name, bundle_name = tiles.path(0, index), tiles.path(tiles.ENTRIES, index)
        told = self._read_hashes(tile_name, required)
        entries = self._read_bundle(bundle_name)
        if entries is None:
            if first + WIDTH <= self._begin or not self._recent:
                self._missing.append(index)
                return told or [b"\0" * 32] * WIDTH
            if required:
                self._fault(bundle_name, "the bundle of entries is missing", first)
        if first >= self._begin and self._journaled:
            known = self._recent[first - self._begin : first - self._begin + WIDTH]
            if entries is not None and entries != known:
                self._fault(bundle_name, "it differs from the journal", first + _first_difference(entries, known))
            entries = known
        assert entries is not None  # noqa: S101
        if len(entries) != WIDTH:
            self._fault(bundle_name, f"it holds {len(entries)} entries, not {WIDTH}", first)
            return told or [b"\0" * 32] * WIDTH
        leaves = [leaf_hash(entry) for entry in entries]
        if told is not None and told != leaves:
            at = first + _first_difference(told, leaves)
            self._fault(bundle_name, f"entry {at} does not have the hash that {tile_name} has for it", at)
        self._read_entries(bundle_name, first, entries)
        self._partials(0, index, leaves)
        self._partial_bundles(index, entries)
        return leaves

    def _read_entries(self, name: str, first: int, entries: Sequence[bytes]) -> None:
        """Sequence and form of entries. The hashes hold what they say; this holds that they are readable."""
        for number, entry in enumerate(entries, first):
            if not entry.startswith(b'{"sequence":%d,"at":' % number):
                self._fault(name, f"entry {number} does not say that it is", number)
            elif b'"audit:prune"' in entry:
                self._note_prune(name, number, entry)

    def _note_prune(self, name: str, number: int, entry: bytes) -> None:
        try:
            found = decode(entry)
        except msgspec.DecodeError:
            self._fault(name, f"entry {number} cannot be read", number)
            return
        if found.action is Action.AUDIT_PRUNE and found.end is not None and found.end <= number:
            if not is_canonical(entry):
                self._fault(name, f"entry {number} is not canonical", number)
            self._prunes.append(found.end)

    def _read_hashes(self, name: str, required: bool, width: int = WIDTH) -> list[bytes] | None:
        if name not in self._files:
            if required:
                self._fault(name, "the tile is missing")
            return None
        self._files.discard(name)
        try:
            found = tiles.hashes((self.folder / name).read_bytes())
        except FileNotFoundError:
            if not self._became_full(name):
                self._fault(name, "the tile is missing")
            return None
        except ValueError:
            found = []
        if len(found) != width:
            self._fault(name, f"it is not a tile of {width} hashes")
            return None
        return found

    def _read_bundle(self, name: str) -> list[bytes] | None:
        if name not in self._files:
            return None
        self._files.discard(name)
        try:
            return tiles.unbundle((self.folder / name).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._fault(name, f"{error}")
            return []

    def _compare(self) -> None:
        """The root now against every signed head of this size."""
        heads = self._wanted.get(self.tree.size)
        if heads:
            root = self.tree.root()
            for where, said in heads:
                if said != root:
                    self._fault(where, f"the root over the first {self.tree.size} entries is not the signed one")

    def _check_full(self) -> None:
        """The tiles above that became full."""
        for tile in self.tree.full:
            if tile.level:
                self._check_tile(tile)
        self.tree.full.clear()

    def _check_tile(self, tile: FullTile) -> None:
        required = self._tile_required((tile.index + 1) * WIDTH ** (tile.level + 1))
        told = self._read_hashes(tiles.path(tile.level, tile.index), required)
        if told is not None and told != tile.hashes:
            self._fault(tiles.path(tile.level, tile.index), "it is not made of the tiles below it")
        self._partials(tile.level, tile.index, tile.hashes)

    def _right_edge(self, end: int) -> None:
        """The entries after the last full tile."""
        first = end // WIDTH * WIDTH
        entries: list[bytes] | None
        if self._journaled:
            entries = self._recent[max(first - self._begin, 0) :]
            name = journal.segment_name(first)
        elif end > first:
            name = tiles.path(tiles.ENTRIES, end // WIDTH, end % WIDTH)
            entries = self._read_bundle(name)
            if entries is None or len(entries) != end - first:
                self._fault(name, "the bundle of entries is missing or not of its size", first)
                entries = (entries or [])[: end - first]
        else:
            return
        for entry in entries:
            self.tree.append(leaf_hash(entry))
            self._compare()
        self._check_full()
        self._read_entries(name, first, entries)
        self._partial_bundles(end // WIDTH, entries)

    def _partial_bundles(self, index: int, entries: list[bytes]) -> None:
        if self.checkpoint is not None and self._journaled and self.checkpoint.size // WIDTH == index:
            width = self.checkpoint.size % WIDTH
            name = tiles.path(tiles.ENTRIES, index, width)
            if width and name not in self._files and not self._became_full(name):
                self._fault(name, "the partial bundle is missing")
        for name in self._partial_names(tiles.ENTRIES, index):
            found = self._read_bundle(name)
            width = int(name.rpartition("/")[2])
            if found is None and self._became_full(name):
                continue
            if found is None or len(found) != width or found != entries[:width]:
                self._fault(name, "it is not the beginning of the entries there", index * WIDTH)

    def _partial_names(self, level: int | str, index: int) -> list[str]:
        names = self._parts.get(f"{tiles.path(level, index)}.p", [])
        return [name for name in names if name in self._files and not self._came_later(name)]

    def _became_full(self, name: str) -> bool:
        """Whether a partial tile went because the full one came, before or while we looked."""
        return ".p/" in name and (self.folder / name.partition(".p/")[0]).exists()

    def _partials(self, level: int, index: int, row: list[bytes]) -> None:
        """Partial tiles that lie there must be beginnings of the tile."""
        for name in self._partial_names(level, index):
            width = int(name.rpartition("/")[2])
            found = self._read_hashes(name, False, width)
            if found is not None and found != row[:width]:
                self._fault(name, "it is not the beginning of its tile")

    def _upper_tiles(self) -> None:
        """The tiles that are not full, at every level; then whatever else lies there and should not."""
        size = self.checkpoint.size if self.checkpoint is not None else 0
        for level, row in enumerate(self.tree.levels):
            index = self.tree.size // WIDTH ** (level + 1)
            width = size // WIDTH**level % WIDTH
            same = size // WIDTH ** (level + 1) == index
            part = tiles.path(level, index, width) if width and same else ""
            if part and part not in self._found and not self._became_full(part):
                self._fault(part, "the partial tile is missing")
            self._partials(level, index, row)
        left = {name for name in self._files if tiles.parse(name) is not None}
        later = range(self._begin, self._grown + 1, journal.SEGMENT)
        known = {CHECKPOINT, HEAD, VERIFIER} | {journal.segment_name(b) for b in (*self._segments, *later)}
        for name in sorted(self._files - left - known):
            self._fault(name, "it is no file of this log")
        for name in sorted(name for name in left if not self._came_later(name)):
            self._fault(name, "it is beyond the end of the log, or not of it")

    def _prune_marks(self) -> None:
        """Bundles may be missing only as far as an entry of the log itself says that they were pruned."""
        allowed = max(self._prunes, default=0)
        missing = [index for index in self._missing if (index + 1) * WIDTH > allowed]
        for index in missing:
            self._fault(tiles.path(tiles.ENTRIES, index), "the bundle of entries is missing", index * WIDTH)
        self.pruned = (len(self._missing) - len(missing)) * WIDTH


def _first_difference(some: Sequence[bytes], others: Sequence[bytes]) -> int:
    for number, (one, other) in enumerate(zip(some, others, strict=False)):
        if one != other:
            return number
    return min(len(some), len(others))
