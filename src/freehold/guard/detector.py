"""What a detector is, as data; and what it finds. The detectors themselves are in `detectors/`, one file a subject.

A detector names its class (what policies speak of), patterns in the language of `pattern` by which hyperscan finds
candidates, and how a candidate is judged: a `check` of the text (check digits, entropy), words that must stand shortly
before it, or a `look` of its own. Called by `engine` and `scan`.
"""

import functools
import re
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from freehold.guard import pattern

Kind = Literal[
    "SECRET",
    "CARD",
    "IBAN",
    "NATIONAL_ID",
    "PASSPORT",
    "LICENCE",
    "PHONE",
    "EMAIL",
    "IP",
    "MAC",
    "CRYPTO",
    "PERSON",
    "ADDRESS",
    "BIRTH_DATE",
    "AGE",
    "CUSTOM",
    "VALUE",
    "FOREIGN",
]
"""The classes. SECRET: whatever opens something. VALUE: a registered value; FOREIGN: one that another workspace
registered. CUSTOM: an administrator's own pattern."""

KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]

CONTEXT = 64
"""How many characters before a candidate are read for its context."""

Span = tuple[int, int]
Look = Callable[[str, int, int], Iterable[Span]]
"""(text as read, begin and end of the candidate) → the findings in it. The text has CONTEXT characters before it."""


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something found: characters `start` to `end` of the whole text, and by which detector. Never the text itself."""

    start: int
    end: int
    kind: Kind
    detector: str
    confidence: float


class Detector(msgspec.Struct, frozen=True):
    """One thing that is looked for.

    `patterns`: what hyperscan looks for. `inner`: a regular expression that finds the value in a candidate (its group
    `v`, else the whole); none: the candidate is the value. `check`: is the value's text right? `near`: words or
    phrases of which one must stand shortly before the candidate. `look`: judges a candidate by itself, instead of the
    three. `tail`: characters that belong to a finding as long as they follow it, however many. `ends_tail`: a finding
    ends such a tail.
    """

    name: str
    kind: Kind
    patterns: tuple[str, ...]
    confidence: float
    caseless: bool = False
    inner: str = ""
    check: Callable[[str], bool] | None = None
    near: tuple[str, ...] = ()
    look: Look | None = None
    tail: frozenset[str] = frozenset()
    ends_tail: bool = False

    def spans(self, text: str, start: int, end: int) -> Iterable[Span]:
        """What is found in the candidate at `start` to `end`."""
        if self.kind in _NUMBERS and start > 1 and text[start - 1] in ".," and text[start - 2].isdigit():
            return ()  # the fraction of a decimal number
        if self.near and not says(text[max(0, start - CONTEXT) : start], self.near):
            return ()
        if self.look is not None:
            return self.look(text, start, end)
        if not self.inner:
            return ((start, end),) if self.check is None or self.check(text[start:end]) else ()
        found = (
            match.span("v" if match.re.groups else 0)
            for match in _compiled(self.inner).finditer(text, start, end + 2)  # so that it may look at what follows
            if match.end() <= end
        )
        return [span for span in found if self.check is None or self.check(text[span[0] : span[1]])]

    def nodes(self) -> tuple[pattern.Node, ...]:
        """The patterns as trees."""
        return tuple(pattern.parse(source, caseless=self.caseless) for source in self.patterns)


@functools.cache
def _compiled(source: str) -> re.Pattern[str]:
    return re.compile(source, re.ASCII)


_NUMBERS = ("CARD", "NATIONAL_ID")


def says(before: str, phrases: tuple[str, ...]) -> bool:
    """Does one of the phrases (small letters, one space between words) stand in this text, as whole words?"""
    said = _words(before)
    return any(phrase in said for phrase in _spaced(phrases))


@functools.lru_cache(maxsize=256)
def _words(before: str) -> str:
    return f" {' '.join(_WORD.findall(before.lower().replace(chr(39), '')))} "


@functools.lru_cache(maxsize=256)
def _spaced(phrases: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f" {phrase} " for phrase in phrases)


_WORD = re.compile("[a-z]+")
