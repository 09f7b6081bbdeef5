"""Names and bundles as the specification has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit import tiles


@pytest.mark.parametrize(
    ("level", "index", "width", "name"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (1, 7, 12, "tile/1/007.p/12"),
        ("entries", 1000, 1, "tile/entries/x001/000.p/1"),
    ],
)
def test_names_of_the_specification(level: int | str, index: int, width: int, name: str) -> None:
    assert tiles.path(level, index, width) == name
    assert tiles.parse(name) == (str(level), index, width)


@pytest.mark.parametrize(
    "name", ["tile/0/x000/001", "tile/00/001", "tile/0/001.p/256", "tile/0/001.p/0", "tile/0/1", "x"]
)
def test_other_names_are_none(name: str) -> None:
    assert tiles.parse(name) is None


@given(st.integers(0, 10**12), st.integers(1, 256))
def test_every_name_reads_back(index: int, width: int) -> None:
    assert tiles.parse(tiles.path(3, index, width)) == ("3", index, width)


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_bundles_read_back_and_cut_ones_do_not(entries: list[bytes]) -> None:
    data = tiles.bundle(entries)
    assert tiles.unbundle(data) == entries
    if data and entries[-1]:
        with pytest.raises(ValueError):
            tiles.unbundle(data[:-1])
