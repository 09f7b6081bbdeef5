"""The pattern language: what it takes, what it refuses, and that beginnings are all beginnings."""

import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from freehold.guard import pattern
from freehold.protocol.errors import Refused

_ATOMS = st.sampled_from(["a", "b", r"\d", "[a-c]", "[^a]", r"\b", ".", r"\x41", "ab"])


def _more(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.integers(0, 2), st.integers(0, 2)).map(lambda t: f"(?:{t[0]}){{{t[1]},{t[1] + t[2]}}}"),
        inner.map(lambda part: f"(?:{part})?"),
    )


PATTERNS = st.recursive(_ATOMS, _more, max_leaves=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(PATTERNS, st.text(alphabet="abcA1 ", min_size=1, max_size=12))
def test_it_means_what_re_means_and_its_beginnings_are_all_there(source: str, text: str) -> None:
    try:
        node = pattern.parse(source)
    except Refused:
        assume(False)
    ours, theirs = re.compile(pattern.render(node), re.ASCII), re.compile(source, re.ASCII)
    match = theirs.fullmatch(text)
    assert bool(ours.fullmatch(text)) == bool(match)
    if match and r"\b" not in source:
        begun = pattern.beginnings(node)
        assert begun is not None
        expression = re.compile(pattern.render(begun), re.ASCII)
        for size in range(1, len(text) + 1):
            assert expression.fullmatch(text[:size]), size
        assert pattern.least_width(node) <= len(text) <= pattern.width(node)
        assert re.compile(pattern.render(pattern.backwards(node)), re.ASCII).fullmatch(text[::-1])


@pytest.mark.parametrize(
    "source",
    [
        "a*",
        "a+",
        "(a)",
        "(?=a)",
        "(?i)a",
        "^a",
        "a$",
        "a{1,",
        "a{2,1}",
        "a{1000}",
        "(?:a{200}){200}",
        "a{257}",
        "[",
        "[b-a]",
        "a\\",
        r"\q",
        r"\1",
        r"\x4",
        "(?:a",
        "a)",
        "",
        "a?",
        "(?:|a)",
        "é",
        "(?:" * 30 + "a" + ")" * 30,
    ],
)
def test_what_is_not_in_the_language_is_refused(source: str) -> None:
    with pytest.raises(Refused) as refused:
        pattern.parse(source)
    assert source not in refused.value.message or len(source) < 3
