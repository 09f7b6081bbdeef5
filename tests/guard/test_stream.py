"""What comes out of a stream does not depend on how it was cut, is never held long, and hostile text is not dear."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import guard_corpus
from freehold.guard.exact import Book, Shelf
from freehold.guard.fingerprint import register
from freehold.guard.passage import Guard
from freehold.guard.policy import Policy
from freehold.guard.pseudonyms import Pseudonyms
from freehold.guard.scan import HELD
from tests.guard.conftest import pieces

SHORT = [
    "Card 4929 3813 3266 4295, mail ada@example.org, SSN 536-90-4399.",
    "key AKIA" + "Q3EGRIZ5XWTN7KMB then 4929\u200b381332664295 and ١٢٣",
    "My name is Ada Lovelace, 221B Baker Street, born 12/03/1980; +49 30 901820",
    "-----BEGIN PRIVATE KEY-----\nabcd\nefgh==\n-----END PRIVATE KEY-----\nafter it",
    "password = 'tr0ub4dor&3x' and postgres://ada:tr0ub4dor@db/x 1 2 3 4 5 6 7",
    "ghp_" + "k3Jd8Fh2Ls9Qw4Er6Ty1Ui0Op5As7Df3Gh2Jmore_of_it.and-more, text",
]


def streamed(
    guard: Guard, text: str, cuts: list[int], names: Pseudonyms | None = None
) -> tuple[str, list[tuple[int, int, str]]]:
    flow = guard.stream("answer", names)
    out = "".join(flow.feed(piece) for piece in pieces(text, cuts)) + flow.finish()
    return out, sorted((f.start, f.end, f.kind) for f in flow.findings)


@pytest.mark.parametrize("text", SHORT)
def test_every_single_cut_gives_the_same(strict: Guard, default: Guard, text: str) -> None:
    for guard in (strict, default):
        whole = streamed(guard, text, [])
        assert whole[1] or guard is default, "the example has something in it"
        for cut in range(1, len(text)):
            assert streamed(guard, text, [cut]) == whole, cut
        assert streamed(guard, text, list(range(1, len(text)))) == whole


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(SHORT),
            st.text(alphabet="01 4-@.aAé\u200b+:/=", max_size=80),
            st.sampled_from(["1 " * 200, "4929 " * 90, "a@" * 100, "password=" * 40, "\u200b1" * 150, "eyJ" * 60]),
        ),
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
def test_any_text_in_any_pieces_gives_the_same(strict: Guard, parts: list[str], rng: random.Random) -> None:
    text = "".join(parts)
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randint(1, 12))) if text else []
    assert streamed(strict, text, cuts) == streamed(strict, text, [])


@pytest.mark.slow
@pytest.mark.soak
def test_a_thousand_random_cuts_of_every_labelled_string_give_the_same(strict: Guard) -> None:
    rng = random.Random(1)  # noqa: S311
    labelled = [text for text, spans in guard_corpus.labelled(rng, 150) if spans]
    for text in labelled:
        whole = streamed(strict, text, [])
        for cut in range(1, len(text)):
            assert streamed(strict, text, [cut]) == whole, (text, cut)
    for text in labelled[:20]:
        whole = streamed(strict, text, [])
        for _ in range(1000):
            cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randint(2, 8)))
            assert streamed(strict, text, cuts) == whole, (text, cuts)


def test_no_character_of_a_secret_goes_out_before_it_is_known(default: Guard) -> None:
    secret = "ghp_" + "k3Jd8Fh2Ls9Qw4Er6Ty1Ui0Op5As7Df3Gh2J"
    flow = default.stream("answer")
    out = flow.feed("it is ")
    for char in secret:
        out += flow.feed(char)
        assert out in ("it is ", "it is [SECRET]")
    assert out + flow.feed(" ok") + flow.finish() == "it is [SECRET] ok"


def test_plain_words_are_not_held(default: Guard) -> None:
    flow = default.stream("answer")
    held = []
    for word in guard_corpus.prose(20_000).split(" "):
        flow.feed(" " + word)
        held.append(flow.held)
    held.sort()
    assert held[len(held) // 2] == 0
    assert held[len(held) * 99 // 100] <= 64


@pytest.mark.parametrize("shape", sorted(guard_corpus.hostile(100)))
@pytest.mark.parametrize("valued", [False, True])
def test_never_more_than_the_cap_is_held(strict: Guard, shape: str, valued: bool) -> None:
    guard = strict
    if valued:
        guard = Guard(
            strict.policy, Book([Shelf(b"k" * 32, [register(b"k" * 32, "aaaaaaaaaaaa 111 111", "x", "x")], False)])
        )
    text = guard_corpus.hostile(3000)[shape]
    flow = guard.stream("answer")
    for char in text:
        flow.feed(char)
        assert flow.held <= HELD
    flow.finish()


def test_a_card_in_a_long_run_of_digits_is_still_found(strict: Guard) -> None:
    for before in range(180, 330, 7):
        text = "1 2 " * (before // 4) + "4929 3813 3266 4295" + " 1 2" * 60
        out, found = streamed(strict, text, [])
        assert any(kind == "CARD" for _, _, kind in found), before
        assert streamed(strict, text, [before, before + 9]) == (out, found)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("shape", sorted(guard_corpus.hostile(100)))
def test_a_hostile_megabyte_takes_little_time(default: Guard, shape: str) -> None:
    text = guard_corpus.hostile(1_000_000)[shape]
    default.text("answer", "warm")
    seconds = []
    for _ in range(3):  # the machine may be busy with something else
        began = time.process_time()
        default.text("answer", text)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 2.5  # the bar is one second on a quiet machine; bench/GUARD.md has the figures


@pytest.mark.slow
@pytest.mark.soak
def test_plain_text_is_fast(default: Guard) -> None:
    text = guard_corpus.prose(1 << 20)
    default.text("answer", text)
    began = time.process_time()
    default.text("answer", text)
    assert len(text) / (time.process_time() - began) > 10e6


def test_a_stream_that_is_left_frees_what_it_held(default: Guard) -> None:
    for _ in range(200):
        default.stream("answer").feed("4929 3813")  # never finished


def test_what_only_is_noted_changes_and_holds_nothing(default: Guard) -> None:
    text = "Card 4929 3813 3266 4295 ok"
    flow = default.stream("prompt")
    out = ""
    for char in text:
        out += flow.feed(char)
        assert flow.held == 0
    assert out + flow.finish() == text
    assert [(f.kind, text[f.start : f.end]) for f in flow.findings] == [("CARD", "4929 3813 3266 4295")]


def test_empty_texts_and_empty_pieces() -> None:
    guard = Guard(Policy())
    assert guard.text("answer", "").text == ""
    flow = guard.stream("answer")
    assert flow.feed("") + flow.feed("a") + flow.feed("") + flow.finish() == "a"
