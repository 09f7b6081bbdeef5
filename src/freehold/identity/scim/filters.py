"""The filter language of SCIM (RFC 7644, 3.4.2.2): read into a tree, and judged on one object.

Lists turn the tree into a query (`conditions`), PATCH paths pick values of an attribute by it. The text comes from a
stranger, so length, terms and nesting are bounded before anything is built, and the reading is one pass. Beyond the
RFC, `emails[type eq "work"].value eq "x"` is read, since Entra ID sends it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from freehold.protocol.errors import Refused

MAX_LENGTH, MAX_TERMS, MAX_DEPTH = 2000, 30, 8
OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "pr", "gt", "ge", "lt", "le"})
CORE = (
    "urn:ietf:params:scim:schemas:core:2.0:user:",
    "urn:ietf:params:scim:schemas:core:2.0:group:",
)
"""Prefixes that a full attribute name may have; without them it means the same."""

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z0-9$:._+-]+)|([()\[\]]))', re.ASCII)
_BARE = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Compare:
    """One comparison. `attribute` is in lower case, `value` None for `pr`."""

    attribute: str
    operator: str
    value: str | int | float | bool | None


@dataclass(frozen=True)
class Both:
    """`and` of two or more."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Either:
    """`or` of two or more."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Not:
    """`not (…)`."""

    part: "Filter"


@dataclass(frozen=True)
class Within:
    """`attribute[…]`: one of the attribute's values holds all that is inside."""

    attribute: str
    part: "Filter"


Filter = Compare | Both | Either | Not | Within


def parse(text: str) -> Filter:
    """The tree of a filter. Raises Refused 400 `invalid_filter`."""
    reader = _Reader(text)
    found = reader.either(0)
    if reader.peek() is not None:
        raise invalid_filter()
    return found


def plain(attribute: str) -> str:
    """An attribute's name in lower case and without the prefix of a core schema."""
    name = attribute.lower()
    for prefix in CORE:
        name = name.removeprefix(prefix)
    return name


def holds(condition: Filter, value: Mapping[str, Any]) -> bool:
    """Whether one value of a multi-valued attribute (its names in lower case) is meant."""
    match condition:
        case Both(parts):
            return all(holds(part, value) for part in parts)
        case Either(parts):
            return any(holds(part, value) for part in parts)
        case Not(part):
            return not holds(part, value)
        case Compare(attribute, operator, wanted):
            return _holds(operator, value.get(attribute), wanted)
    raise invalid_filter()


def invalid_filter() -> Refused:
    """A filter that cannot be read, is too long, or asks for what is not supported."""
    return Refused("The filter is not valid, or asks for what is not supported.", code="invalid_filter")


def _holds(operator: str, value: Any, wanted: Any) -> bool:
    if operator == "pr":
        return value not in (None, "", False)
    if isinstance(value, bool) or isinstance(wanted, bool):
        value, wanted = str(value).lower(), str(wanted).lower()
    if isinstance(value, str) and isinstance(wanted, str):
        value, wanted = value.lower(), wanted.lower()
        if operator in ("co", "sw", "ew"):
            found: bool = {"co": wanted in value, "sw": value.startswith(wanted), "ew": value.endswith(wanted)}[
                operator
            ]
            return found
    if operator in ("eq", "ne"):
        return bool(value == wanted) == (operator == "eq")
    raise invalid_filter()


class _Reader:
    """Recursive descent; every level of nesting in the text is one of the reader, and they are counted."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise invalid_filter()
        self._tokens: list[tuple[str, str]] = []
        self._at = self._terms = 0
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise invalid_filter()
            kind = ("string", "word", "mark")[match.lastindex - 1 if match.lastindex else 0]
            self._tokens.append((kind, match[match.lastindex or 0]))
            at = match.end()

    def peek(self) -> str | None:
        """The next token, a word in lower case; None at the end."""
        if self._at >= len(self._tokens):
            return None
        kind, text = self._tokens[self._at]
        return text.lower() if kind == "word" else text

    def either(self, depth: int) -> Filter:
        """`a or b or …`."""
        parts = [self._both(depth)]
        while self._skip("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self, depth: int) -> Filter:
        parts = [self._term(depth)]
        while self._skip("and"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _term(self, depth: int) -> Filter:
        self._terms += 1
        if depth > MAX_DEPTH or self._terms > MAX_TERMS:
            raise invalid_filter()
        if self._skip("("):
            return self._until(")", depth)
        kind, text = self._next()
        if kind != "word":
            raise invalid_filter()
        if text.lower() == "not" and self._skip("("):
            return Not(self._until(")", depth))
        attribute = plain(text)
        if self._skip("["):
            part = self._until("]", depth)
            following = self.peek()
            if following is not None and following.startswith("."):
                self._next()
                part = Both((part, self._comparison(following[1:])))
            return Within(attribute, part)
        return self._comparison(attribute)

    def _comparison(self, attribute: str) -> Filter:
        kind, operator = self._next()
        operator = operator.lower()
        if kind != "word" or operator not in OPERATORS:
            raise invalid_filter()
        return Compare(attribute, operator, None if operator == "pr" else self._value())

    def _value(self) -> str | int | float | bool | None:
        kind, text = self._next()
        try:
            if kind == "string":
                value: str = msgspec.json.decode(text, type=str)
                if not value.isprintable():
                    raise invalid_filter()
                return value
            if kind == "word" and text.lower() in _BARE:
                return _BARE[text.lower()]
            return msgspec.json.decode(text, type=int | float)
        except (msgspec.DecodeError, UnicodeError):
            raise invalid_filter() from None

    def _until(self, mark: str, depth: int) -> Filter:
        found = self.either(depth + 1)
        if not self._skip(mark):
            raise invalid_filter()
        return found

    def _skip(self, token: str) -> bool:
        if self.peek() != token or self._tokens[self._at][0] == "string":
            return False
        self._at += 1
        return True

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise invalid_filter()
        self._at += 1
        return self._tokens[self._at - 1]
