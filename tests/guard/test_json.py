"""JSON in pieces: what was JSON stays JSON, strings are judged with their escapes read."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.guard.passage import Guard
from freehold.guard.pseudonyms import Pseudonyms
from tests.guard.conftest import pieces

VALUES: list[Any] = [
    {"card": "4929 3813 3266 4295", "n": 1, "list": [True, None, 1.5e3, "x"]},
    {"card": 4929381332664295, "amount": 12},
    {"text": 'say "4929381332664295"\n\t\\ and é 😀'},
    ["4929381332664295", {"a": {"b": "mail ada@example.org"}}],
    "plain",
    {"": "", "4929381332664295": "a name can be one, too"},
]


def passed(guard: Guard, text: str, cuts: list[int]) -> str:
    flow = guard.json_stream("call", Pseudonyms())
    return "".join(flow.feed(piece) for piece in pieces(text, cuts)) + flow.finish()


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_stays_json_whatever_the_cut(strict: Guard, value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    whole = passed(strict, text, [])
    assert "4929" not in json.dumps(json.loads(whole))
    for cut in range(1, len(text)):
        assert passed(strict, text, [cut]) == whole, cut
    assert passed(strict, text, list(range(1, len(text)))) == whole


def test_a_number_becomes_a_string_and_the_rest_is_as_it_was(strict: Guard) -> None:
    assert passed(strict, '{"card": 4929381332664295, "n": 12}', []) == '{"card": "[CARD]", "n": 12}'


def test_an_escaped_digit_hides_nothing(strict: Guard) -> None:
    text = '{"a": "' + "".join(f"\\u{ord(char):04x}" for char in "4929381332664295") + '"}'
    assert json.loads(passed(strict, text, [])) == {"a": "[CARD]"}


def test_a_members_name_is_context(strict: Guard) -> None:
    assert json.loads(passed(strict, '{"ssn": "536904399", "n": "536904399"}', [])) == {
        "ssn": "[NATIONAL_ID]",
        "n": "536904399",
    }


def test_names_come_back_escaped(strict: Guard) -> None:
    names = Pseudonyms()
    names.of("PERSON", 'Ada "The Countess" Lovelace')
    flow = strict.json_stream("call", names)
    out = flow.feed('{"to": "<PERSON_1>"}') + flow.finish()
    assert json.loads(out) == {"to": 'Ada "The Countess" Lovelace'}


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**9), 10**9),
        st.floats(-1e9, 1e9),
        st.text(max_size=30),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(JSON, st.randoms(use_true_random=False))
def test_clean_json_means_the_same_after(default: Guard, value: Any, rng: random.Random) -> None:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(4))
    whole = passed(default, text, [])
    assert passed(default, text, cuts) == whole
    if "[" not in json.dumps(value):
        assert json.loads(whole) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "cut off',
        '{"a": "\\u12',
        "not json at all 4929381332664295",
        '{"a" 1,,}]',
        '"\\',
        "1" * 2000,
        '"\\ud800"',
        '{"a":"\\q"}',
    ],
)
def test_what_is_no_json_is_scanned_and_ends(strict: Guard, text: str) -> None:
    whole = passed(strict, text, [])
    assert "4929381332664295" not in whole
    for cut in range(1, min(len(text), 40)):
        assert passed(strict, text, [cut]) == whole, cut
