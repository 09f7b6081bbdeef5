"""Registered values are found in twelve ways of writing, whatever the cut; what is none is left alone."""

import base64
import random
import urllib.parse
from collections.abc import Callable, Sequence

import pytest

from bench import guard_corpus
from freehold.guard.exact import WIDEST, Book, Search, Shelf
from freehold.guard.fingerprint import folded, register, workspace_key
from freehold.guard.passage import Guard
from freehold.guard.policy import Policy
from freehold.protocol.errors import Refused
from tests.guard.conftest import pieces

KEY = workspace_key(b"s" * 32, "ws_theirs")


def _wide(value: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in value)


def _base64(before: bytes) -> Callable[[str], str]:
    return lambda value: base64.b64encode(before + value.encode() + b" and more").decode()


WAYS: dict[str, Sequence[Callable[[str], str]]] = {
    "case": (str.upper, str.lower, str.swapcase),
    "spaces": (lambda v: " ".join(v.replace(" ", "")), lambda v: v.replace(" ", ""), lambda v: v.replace(" ", "\n  ")),
    "punctuation": (lambda v: "-".join(v[at : at + 3] for at in range(0, len(v), 3)), lambda v: ".".join(v.split())),
    "full-width": (_wide,),
    "invisible": (lambda v: "\u200b".join(v),),
    "URL": (urllib.parse.quote_plus, urllib.parse.quote, lambda v: "".join(f"%{byte:02X}" for byte in v.encode())),
    "HTML": (lambda v: "".join(f"&#{ord(c)};" for c in v), lambda v: "".join(f"&#x{ord(c):X};" for c in v)),
    "JSON": (lambda v: "".join(f"\\u{ord(c):04x}" for c in v),),
    "base64 at 0": (_base64(b""), lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("=")),
    "base64 at 1 and 2": (_base64(b"x "), _base64(b": ")),
    "hexadecimal": (lambda v: v.encode().hex(), lambda v: v.encode().hex().upper()),
    "reversed": (lambda v: v[::-1],),
}
assert len(WAYS) == 12

VALUES = [
    "Zoltán Österberg",
    "Anna-Maria Smith",
    "4711081512345",
    "FH-CANARY-7f3a9c",
    "Иван Петров",
    "O'Neill & Sons Ltd",
]


def book(values: Sequence[str], *, foreign: bool = True) -> Book:
    return Book([Shelf(KEY, [register(KEY, value, "name", "test") for value in values], foreign)])


def found(searched: Book, text: str, cuts: Sequence[int] = ()) -> list[tuple[int, int]]:
    search = Search(searched)
    findings = [f for piece in pieces(text, cuts) for f in search.feed(piece)] + search.finish()
    return sorted({(f.start, f.end) for f in findings})


@pytest.mark.parametrize("way", WAYS)
def test_a_value_is_found_however_it_is_written_and_cut(way: str) -> None:
    searched = book(VALUES)
    for value in VALUES:
        for write in WAYS[way]:
            written = write(value)
            if len(written) > WIDEST:
                continue
            text = f"see {written}, ok"
            spans = found(searched, text)
            assert spans, (value, text)
            assert spans[0][0] <= 4 + (way == "punctuation")
            assert spans[-1][1] >= 4 + len(written) - 2
            for cut in range(1, len(text)):
                assert found(searched, text, [cut]) == spans, (text, cut)


def test_it_is_replaced_as_it_stands_and_what_is_around_stays() -> None:
    guard = Guard(Policy(), book(VALUES, foreign=False))
    assert guard.text("answer", "Ask  ANNA   maria smith's team").text == "Ask  [VALUE]'s team"
    assert guard.text("answer", "id=4711-0815-12345.").text == "id=[VALUE]."


def test_a_foreign_value_blocks_an_answer_and_one_of_ones_own_is_masked() -> None:
    theirs = register(KEY, "4711081512345", "account", "x")
    own_key = workspace_key(b"s" * 32, "ws_own")
    guard = Guard(
        Policy(),
        Book([Shelf(own_key, [register(own_key, "Anna Smith", "name", "y")], False), Shelf(KEY, [theirs], True)]),
    )
    outcome = guard.text("answer", "Anna Smith has 4711081512345 there")
    assert outcome.blocked
    assert outcome.text.startswith("[VALUE] has [This text was ended here")
    assert "4711" not in outcome.text
    both = Guard(
        Policy(),
        Book([Shelf(own_key, [register(own_key, "4711081512345", "a", "y")], False), Shelf(KEY, [theirs], True)]),
    )
    assert not both.text("answer", "it is 4711081512345").blocked, "a value of both is the workspace's own"


@pytest.mark.parametrize(
    "text",
    [
        "Smith Anna Maria",
        "Annamaria Smithson",
        "XAnna-Maria Smith",
        "47110815123456",
        "4711081512346",
        "Anna. " + "x" * 9 + " Maria Smith",
    ],
)
def test_what_is_nearly_it_is_not_it(text: str) -> None:
    assert found(book(VALUES), text) == []


def test_a_value_must_have_a_length() -> None:
    for value in ("Ann", "- - -", "", "x" * 65):
        with pytest.raises(Refused):
            register(KEY, value, "name", "x")
    assert folded("Ann  Lee-7") == "annlee7"


def test_nothing_of_a_value_is_kept_and_another_workspaces_key_gives_another_print() -> None:
    one, two = register(KEY, "Anna Smith", "n", "l"), register(workspace_key(b"s" * 32, "ws_2"), "Anna Smith", "n", "l")
    assert one.fingerprint != two.fingerprint
    assert "anna" not in repr(one).lower()


def _many(count: int) -> list[str]:
    rng = random.Random(3)  # noqa: S311
    return sorted({guard_corpus.registered_value(rng) for _ in range(count)})


def test_text_without_values_is_left_alone() -> None:
    searched, text = book(_many(2000)), guard_corpus.prose(100_000)
    assert found(searched, text) == []


@pytest.mark.slow
@pytest.mark.soak
def test_ten_thousand_values_in_twelve_ways_are_all_found_and_the_owners_own_are_let_through() -> None:
    values = _many(10_050)[:10_000]
    assert len(values) == 10_000
    searched = book(values)
    for way, writers in WAYS.items():
        for write in writers[:1]:
            missed = [value for value in values if not found(searched, f"It is {write(value)}, they say.")]
            assert not missed, (way, missed[:3])
    own = _many(20_000)
    others = [value for value in own if value not in set(values)][:10_000]
    alarms = sum(bool(found(searched, f"Our customer {value} called.")) for value in others)
    assert alarms <= len(others) // 1000


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("shape", sorted(guard_corpus.hostile(100)))
def test_hostile_text_is_searched_in_bounded_time(shape: str) -> None:
    import time

    searched, text = book(_many(1000)), guard_corpus.hostile(300_000)[shape]
    search = Search(searched)
    began = time.process_time()
    for at in range(0, len(text), 65536):
        search.feed(text[at : at + 65536])
        assert len(text) < at + 65536 or search.waiting() >= at + 65536 - 2 * WIDEST
    search.finish()
    assert time.process_time() - began < 5


def test_in_a_stream_no_character_of_a_value_goes_out_whatever_the_cut() -> None:
    guard = Guard(Policy(), book(["Anna Smith", "4711081512345"], foreign=False))
    coded = base64.b64encode(b"x Anna Smith").decode()
    text = f"see anna-smith and 4711 0815 12345, {coded} annabel smith; {'A' * 300} 4711081512345"
    whole = guard.text("answer", text).text
    assert whole == f"see [VALUE] and [VALUE], [VALUE] annabel smith; {'A' * 300} [VALUE]"
    for cut in range(1, len(text)):
        flow = guard.stream("answer")
        assert "".join(flow.feed(piece) for piece in pieces(text, [cut])) + flow.finish() == whole, cut
    flow, out = guard.stream("answer"), ""
    for char in text:
        out += flow.feed(char)
        assert whole.startswith(out)
    assert out + flow.finish() == whole


def test_values_that_overlap_in_a_long_run_come_out_the_same() -> None:
    guard = Guard(Policy(), book(["11111 1", "aaaaa"], foreign=False))
    text = "x " + "1-" * 400 + " end"
    whole = guard.text("answer", text)
    ends = 0
    for finding in whole.findings:
        assert finding.start >= ends, "no two findings cover the same"
        ends = finding.end
    for cut in range(5, len(text), 37):
        flow = guard.stream("answer")
        assert "".join(flow.feed(piece) for piece in pieces(text, [cut, cut])) + flow.finish() == whole.text, cut
