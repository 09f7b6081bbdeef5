"""What comes out of a cut stream must not depend on the cuts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.protocol.lines import LineCutter, LineTooLong, sse_data, sse_event


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b""))), st.data())
def test_lines_do_not_depend_on_cuts(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    cutter, got = LineCutter(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += cutter.feed(stream[begin:end])
    assert got == lines
    assert not cutter.pending


def test_carriage_returns_are_part_of_the_line_end() -> None:
    assert LineCutter().feed(b"a\r\nb\n") == [b"a", b"b"]


def test_a_line_without_end_is_bounded() -> None:
    cutter = LineCutter(limit=10)
    cutter.feed(b"x" * 10)
    with pytest.raises(LineTooLong):
        cutter.feed(b"x")


def test_an_unfinished_line_is_known() -> None:
    cutter = LineCutter()
    cutter.feed(b"half")
    assert cutter.pending


def test_sse_data_skips_comments_and_fields() -> None:
    assert list(sse_data([b": waiting", b"id: 1", b"data: {}", b"", b"data:x"])) == [b"{}", b"x"]


def test_sse_event_is_one_event() -> None:
    assert sse_event(b"{}", event_id="7") == b"id: 7\ndata: {}\n\n"
