"""The tree and its proofs against the independent checker, at every size up to 300 and at random larger ones."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from freehold.audit import tree
from freehold.audit.tree import Frontier
from tests.audit import checker

LEAVES = [tree.leaf_hash(b"entry %d" % number) for number in range(5000)]


def reader(leaves: list[bytes]) -> tree.ReadHash:
    cache: dict[tuple[int, int], bytes] = {}

    def read(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        if (level, index) not in cache:
            cache[level, index] = tree.node_hash(read(level - 1, 2 * index), read(level - 1, 2 * index + 1))
        return cache[level, index]

    return read


def test_the_known_roots_of_rfc_6962() -> None:
    data = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"]
    edge = Frontier()
    assert edge.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for one in data:
        edge.append(tree.leaf_hash(one))
    assert edge.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_roots_and_inclusion_at_every_size() -> None:
    edge = Frontier()
    read = reader(LEAVES)
    for size in range(1, 301):
        edge.append(LEAVES[size - 1])
        root = checker.mth(LEAVES[:size])
        assert edge.root() == root == tree.root_of(read, size)
        for index in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
            path = tree.inclusion(read, index, size)
            assert path == checker.path(index, LEAVES[:size])
            assert checker.root_from(LEAVES[index], index, size, path) == root
            assert tree.holds_entry(LEAVES[index], index, size, path, root)


@pytest.mark.slow
@pytest.mark.soak
def test_inclusion_of_every_entry_and_growth_between_all_sizes() -> None:
    read = reader(LEAVES)
    roots = [checker.mth(LEAVES[:size]) for size in range(301)]
    for size in range(1, 301):
        for index in range(size):
            path = tree.inclusion(read, index, size)
            assert checker.root_from(LEAVES[index], index, size, path) == roots[size]
            assert tree.holds_entry(LEAVES[index], index, size, path, roots[size])
        for old in range(size + 1):
            path = tree.consistency(read, old, size)
            assert path == checker.proof(old, LEAVES[:size])
            assert tree.extends(old, roots[old], size, roots[size], path)


def test_growth_at_sizes_that_matter() -> None:
    read, sizes = reader(LEAVES), [0, 1, 2, 3, 4, 7, 8, 9, 100, 128, 255, 256, 257, 300, 1000, 4096, 4097]
    roots = {size: checker.mth(LEAVES[:size]) for size in sizes}
    for new in sizes:
        for old in [size for size in sizes if size <= new]:
            path = tree.consistency(read, old, new)
            assert path == checker.proof(old, LEAVES[:new])
            assert tree.extends(old, roots[old], new, roots[new], path)
            wrong = bytes(32)
            assert not tree.extends(old, wrong, new, roots[new], path)
            if old:
                assert not tree.extends(old, roots[old], new, wrong, path)


@given(st.integers(1, 5000), st.data())
@settings(max_examples=60, deadline=None)
def test_a_proof_that_was_changed_does_not_hold(size: int, data: st.DataObject) -> None:
    read = reader(LEAVES)
    index = data.draw(st.integers(0, size - 1))
    root, path = tree.root_of(read, size), tree.inclusion(read, index, size)
    assert tree.holds_entry(LEAVES[index], index, size, path, root)
    assert checker.root_from(LEAVES[index], index, size, path) == root
    chance = random.Random(data.draw(st.integers()))  # noqa: S311
    bad = list(path)
    match chance.randrange(5 if path else 2):
        case 0:
            bad.append(chance.randbytes(32))
        case 1:
            assert not tree.holds_entry(chance.randbytes(32), index, size, path, root)
            return
        case 2:
            bad.pop(chance.randrange(len(bad)))
        case 3:
            place = chance.randrange(len(bad))
            bad[place] = bytes([bad[place][0] ^ 1]) + bad[place][1:]
        case _:
            other = (index + 1 + chance.randrange(size - 1)) % size
            assert not tree.holds_entry(LEAVES[index], other, size, path, root)
            return
    assert not tree.holds_entry(LEAVES[index], index, size, bad, root)


class Growing(RuleBasedStateMachine):
    """The frontier, grown one by one, by tiles and over restarts, against the plain definition."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = Frontier()
        self.leaves: list[bytes] = []
        self.tiles: dict[tuple[int, int], list[bytes]] = {}

    @rule(count=st.integers(1, 300))
    def append(self, count: int) -> None:
        for _ in range(count):
            leaf = tree.leaf_hash(b"%d" % len(self.leaves))
            self.leaves.append(leaf)
            self.edge.append(leaf)

    @precondition(lambda self: len(self.leaves) % 256 == 0)
    @rule(count=st.integers(1, 3))
    def append_tiles(self, count: int) -> None:
        for _ in range(count):
            more = [tree.leaf_hash(b"%d" % (len(self.leaves) + n)) for n in range(256)]
            self.leaves += more
            self.edge.append_tile(more)

    @rule()
    def restart(self) -> None:
        self._take()
        self.edge = Frontier.resumed(self.edge.size, self.edge.levels)

    @invariant()
    def same(self) -> None:
        self._take()
        assert self.edge.size == len(self.leaves)
        assert self.edge.root() == checker.mth(self.leaves)
        for (level, index), row in self.tiles.items():
            width = 256**level
            begin = index * 256 * width
            assert len(row) == 256
            assert row[0] == checker.mth(self.leaves[begin : begin + width])

    def _take(self) -> None:
        for tile in self.edge.full:
            self.tiles[tile.level, tile.index] = tile.hashes
        self.edge.full.clear()


TestGrowing = Growing.TestCase
TestGrowing.settings = settings(max_examples=15, stateful_step_count=10, deadline=None)


def test_a_second_level_tile_becomes_full() -> None:
    edge = Frontier()
    leaves = [tree.leaf_hash(b"%d" % n) for n in range(256)]
    for _ in range(257):
        edge.append_tile(leaves)
    one = next(tile for tile in edge.full if tile.level == 1)
    assert one.index == 0
    assert one.hashes == [checker.mth(leaves)] * 256
    assert [len(row) for row in edge.levels] == [0, 1, 1]
    again = Frontier.resumed(edge.size, edge.levels)
    again.append(leaves[0])
    edge.append(leaves[0])
    assert again.root() == edge.root()
