"""The Merkle tree of RFC 6962: hashes, the growing right edge, and the two proofs. Pure; knows no files.

`Frontier` is what a writer keeps of the tree (some kilobytes however large the log is), with the hashes that the next
tiles will be made of. Proofs are made from any source of complete subtrees' hashes (`ReadHash`), and checked by
`holds_entry` and `extends`, which follow the algorithms of RFC 9162, 2.1.3.2 and 2.1.4.2.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

import msgspec

WIDTH = 256
"""Hashes in a full tile."""

ReadHash = Callable[[int, int], bytes]
"""(level, index) → the hash of the complete subtree of 2**level entries at that index."""

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def full_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    row = hashes
    while len(row) > 1:
        row = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


class FullTile(msgspec.Struct, frozen=True):
    """A tile that will never change again."""

    level: int
    index: int
    hashes: list[bytes]


class Frontier:
    """The right edge of a tree that only grows.

    `levels[n]` are the hashes of the tile at level n that is not full yet; `full` collects the tiles that became full,
    lowest level first, until somebody takes them.
    """

    def __init__(self) -> None:
        self.size = 0
        self.levels: list[list[bytes]] = [[]]
        self.full: list[FullTile] = []
        self._peaks: list[bytes] = []

    @classmethod
    def resumed(cls, size: int, levels: Sequence[Sequence[bytes]]) -> "Frontier":
        """The edge of a tree of `size` entries, from the hashes of its tiles that are not full."""
        edge = cls()
        edge.size = size
        edge.levels = [list(row) for row in levels] or [[]]
        edge._peaks = [peak for level in range(len(edge.levels) - 1, -1, -1) for peak in _peaks_of(edge.levels[level])]
        return edge

    def copy(self) -> "Frontier":
        """Another edge that grows by itself."""
        edge = Frontier()
        edge.size, edge.levels, edge.full = self.size, [list(row) for row in self.levels], list(self.full)
        edge._peaks = list(self._peaks)
        return edge

    def append(self, leaf: bytes) -> None:
        """Grow by one leaf hash."""
        self._keep(0, leaf)
        number, level, peaks, found = self.size, 0, self._peaks, leaf
        while number & 1:
            found = sha256(b"\x01" + peaks.pop() + found).digest()
            number >>= 1
            level += 1
            if not level & 7:
                self._keep(level >> 3, found)
        peaks.append(found)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        if not self._peaks:
            return EMPTY_ROOT
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found

    def append_tile(self, leaves: list[bytes]) -> None:
        """Grow by a whole tile of leaf hashes, at a tile's border. Quicker than one by one."""
        if self.levels[0] or len(leaves) != WIDTH:
            raise ValueError("a tile begins at a tile's border")
        self.full.append(FullTile(0, self.size // WIDTH, leaves))
        found, number, level = full_root(leaves), self.size >> 8, 8
        self._keep(1, found)
        while number & 1:
            found = node_hash(self._peaks.pop(), found)
            number >>= 1
            level += 1
            if not level & 7:
                self._keep(level >> 3, found)
        self._peaks.append(found)
        self.size += WIDTH

    def _keep(self, level: int, found: bytes) -> None:
        if level == len(self.levels):
            self.levels.append([])
        row = self.levels[level]
        row.append(found)
        if len(row) == WIDTH:
            self.full.append(FullTile(level, self.size // WIDTH ** (level + 1), row))
            self.levels[level] = []


def _peaks_of(row: Sequence[bytes]) -> Iterable[bytes]:
    begin = 0
    for bit in range(7, -1, -1):
        if len(row) >> bit & 1:
            yield full_root(row[begin : begin + (1 << bit)])
            begin += 1 << bit


def range_root(read: ReadHash, begin: int, end: int) -> bytes:
    """The root over the entries [begin, end), a range that RFC 6962's splitting makes."""
    size = end - begin
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return read(level, begin >> level)
    split = begin + _split(size)
    return node_hash(range_root(read, begin, split), range_root(read, split, end))


def root_of(read: ReadHash, size: int) -> bytes:
    """The root of the tree's first `size` entries."""
    return range_root(read, 0, size) if size else EMPTY_ROOT


def inclusion(read: ReadHash, index: int, size: int) -> list[bytes]:
    """The proof that entry `index` is in the tree of `size` entries (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError("no such entry")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        split = begin + _split(end - begin)
        if index < split:
            path.append(range_root(read, split, end))
            end = split
        else:
            path.append(range_root(read, begin, split))
            begin = split
    return path[::-1]


def consistency(read: ReadHash, old: int, new: int) -> list[bytes]:
    """The proof that the tree of `new` entries begins with the tree of `old` ones (RFC 6962, 2.1.2)."""
    if not 0 <= old <= new:
        raise ValueError("no such trees")
    if old in (0, new):
        return []
    path: list[bytes] = []
    begin, end, whole = 0, new, True
    while old - begin != end - begin:
        split = begin + _split(end - begin)
        if old <= split:
            path.append(range_root(read, split, end))
            end = split
        else:
            path.append(range_root(read, begin, split))
            begin, whole = split, False
    if not whole:
        path.append(range_root(read, begin, end))
    return path[::-1]


def holds_entry(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows that `leaf` is entry `index` of the tree with this root."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(step, found)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        place >>= 1
        last >>= 1
    return last == 0 and found == root


def extends(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the proof shows that the new tree begins with the old one."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place >>= 1
        last >>= 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            second = node_hash(second, step)
        place >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
