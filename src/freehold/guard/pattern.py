"""The pattern language of detectors: a small, closed part of regular expressions whose every pattern has a
greatest width.

One character of text is one byte here (see `reading`). What a pattern may hold: literals, classes, `\\d \\w \\s`,
`\\b`, groups `(?:…)`, `|`, `?`, `{m}`, `{m,n}`. No `*` and `+`, no look-around, no back-references: so a scan is
linear, and how long text must be held back has a bound. From a pattern its *beginnings* are derived (what a match
looks like while it is not yet complete), which tells a stream from where a match may still come. Called by `engine`,
and by `policy` for an administrator's own patterns.
"""

from dataclasses import dataclass
from typing import Final

from freehold.protocol.errors import Refused

WIDEST: Final = 256
"""The greatest width (characters) of a pattern."""

_LARGEST = 4000  # nodes of one pattern, repeats multiplied out: what compiles in a moment

_DIGIT = frozenset(b"0123456789")
_WORD = _DIGIT | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_SPACE = frozenset(b" \t\n\r\f\v")
_ANY = frozenset(range(256)) - frozenset(b"\n")
_SHORT = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_NAMED = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}


@dataclass(frozen=True)
class Chars:
    """One character out of a set."""

    of: frozenset[int]


@dataclass(frozen=True)
class Border:
    """`\\b`: between a word's character and another."""


@dataclass(frozen=True)
class Row:
    """One after the other; an empty row matches nothing's text."""

    items: tuple["Node", ...]


@dataclass(frozen=True)
class Either:
    """One of several."""

    options: tuple["Node", ...]


@dataclass(frozen=True)
class Times:
    """`least` to `most` of the same."""

    item: "Node"
    least: int
    most: int


Node = Chars | Border | Row | Either | Times


def parse(source: str, *, caseless: bool = False) -> Node:
    """The pattern as a tree. Raises Refused 400 with a fixed text when it is not in the language, or too wide."""
    reader = _Reader(source, caseless)
    node = reader.either()
    if not reader.at_end():
        raise _wrong("has a closing bracket too many")
    if _weight(node) > _LARGEST or width(node) > WIDEST:
        raise _wrong(f"can match more than {WIDEST} characters or is too large")
    if least_width(node) == 0:
        raise _wrong("also matches nothing at all")
    return node


def width(node: Node) -> int:
    """The most characters that it matches."""
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Row):
        return sum(width(item) for item in node.items)
    if isinstance(node, Either):
        return max(width(option) for option in node.options)
    return width(node.item) * node.most if isinstance(node, Times) else 0


def least_width(node: Node) -> int:
    """The fewest characters that it matches."""
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Row):
        return sum(least_width(item) for item in node.items)
    if isinstance(node, Either):
        return min(least_width(option) for option in node.options)
    return least_width(node.item) * node.least if isinstance(node, Times) else 0


def beginnings(node: Node) -> Node | None:
    """Matches every non-empty beginning of what `node` matches, the whole included; None: there is none."""
    if isinstance(node, Chars):
        return node
    if isinstance(node, Either):
        found = [begun for option in node.options if (begun := beginnings(option)) is not None]
        return Either(tuple(found)) if found else None
    if isinstance(node, Times):
        begun = beginnings(node.item)
        if begun is None or node.most == 0:
            return None
        return Row((Times(node.item, 0, node.most - 1), begun)) if node.most > 1 else begun
    if isinstance(node, Border) or not node.items:
        return None
    first, rest = node.items[0], beginnings(Row(node.items[1:]))
    if isinstance(first, Chars):
        return first if rest is None else Row((first, Times(rest, 0, 1)))
    begun = beginnings(first)
    after = None if rest is None else Row((first, rest))
    return Either((begun, after)) if begun and after else begun or after


def backwards(node: Node) -> Node:
    """Matches the same texts read from their end."""
    if isinstance(node, Row):
        return Row(tuple(backwards(item) for item in reversed(node.items)))
    if isinstance(node, Either):
        return Either(tuple(backwards(option) for option in node.options))
    return Times(backwards(node.item), node.least, node.most) if isinstance(node, Times) else node


def render(node: Node) -> str:
    """The tree as an expression that both hyperscan and `re` read."""
    if isinstance(node, Chars):
        return _render_set(node.of)
    if isinstance(node, Border):
        return r"\b"
    if isinstance(node, Row):
        return "".join(f"(?:{render(item)})" if isinstance(item, Either) else render(item) for item in node.items)
    if isinstance(node, Either):
        return "|".join(render(option) for option in node.options)
    if node.most == 0:
        return ""
    inner = render(node.item)
    if not isinstance(node.item, Chars):
        inner = f"(?:{inner})"
    if (node.least, node.most) == (0, 1):
        return f"{inner}?"
    return f"{inner}{{{node.least}}}" if node.least == node.most else f"{inner}{{{node.least},{node.most}}}"


def _render_set(of: frozenset[int]) -> str:
    if len(of) == 1:
        return f"\\x{next(iter(of)):02x}"
    parts, members = [], sorted(of)
    begin = last = members[0]
    for value in [*members[1:], 999]:
        if value == last + 1:
            last = value
            continue
        parts.append(f"\\x{begin:02x}" if begin == last else f"\\x{begin:02x}-\\x{last:02x}")
        begin = last = value
    return f"[{''.join(parts)}]"


def _weight(node: Node) -> int:
    if isinstance(node, Row):
        return 1 + sum(_weight(item) for item in node.items)
    if isinstance(node, Either):
        return 1 + sum(_weight(option) for option in node.options)
    return max(node.most, 1) * _weight(node.item) if isinstance(node, Times) else 1


def _wrong(what: str) -> Refused:
    return Refused(f"The pattern {what}.", code="invalid_pattern")


class _Reader:
    """Recursive descent over the source."""

    def __init__(self, source: str, caseless: bool) -> None:
        self._source = source
        self._at = 0
        self._caseless = caseless
        self._depth = 0

    def at_end(self) -> bool:
        return self._at == len(self._source)

    def either(self) -> Node:
        options = [self._row()]
        while self._took("|"):
            options.append(self._row())
        return options[0] if len(options) == 1 else Either(tuple(options))

    def _row(self) -> Node:
        items: list[Node] = []
        while not self.at_end() and self._source[self._at] not in "|)":
            items.append(self._repeated(self._atom()))
        return items[0] if len(items) == 1 else Row(tuple(items))

    def _repeated(self, item: Node) -> Node:
        if self._took("?"):
            return Times(item, 0, 1)
        if not self._took("{"):
            return item
        end = self._source.find("}", self._at)
        least, comma, most = self._source[self._at : max(end, self._at)].partition(",")
        self._at = end + 1
        if not (_is_count(least) and (_is_count(most) or not comma)) or end < 0:
            raise _wrong("has a repeat that is not {m} or {m,n}")
        times = Times(item, int(least), int(most) if comma else int(least))
        if times.least > times.most:
            raise _wrong("has a repeat that is not {m} or {m,n}")
        return times

    def _atom(self) -> Node:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._chars(self._set())
        if char == ".":
            return Chars(_ANY)
        if char in "*+":
            raise _wrong("has * or +; say how many with {m,n}")
        if char in "^$?{":
            raise _wrong("has a character that needs a backslash before it")
        if char != "\\":
            return self._chars(frozenset((self._byte(char),)))
        if self._took("b"):
            return Border()
        return self._chars(self._escape())

    def _group(self) -> Node:
        if not (self._took("?") and self._took(":")):
            raise _wrong("has a group that is not (?:…)")
        self._depth += 1
        if self._depth > 20:
            raise _wrong("is nested too deeply")
        node = self.either()
        if not self._took(")"):
            raise _wrong("has an opening bracket too many")
        self._depth -= 1
        return node

    def _set(self) -> frozenset[int]:
        negated = self._took("^")
        found: set[int] = set()
        while not self._took("]"):
            low = self._member()
            ranged = self._source[self._at : self._at + 1] == "-" and self._source[self._at + 1 : self._at + 2] != "]"
            if not ranged or len(low) > 1:
                found |= low
                continue
            self._at += 1
            high = self._member()
            if len(high) != 1 or max(low) > max(high):
                raise _wrong("has a range in brackets that runs backwards")
            found.update(range(max(low), max(high) + 1))
        of = frozenset(range(256)) - found if negated else frozenset(found)
        if not of:
            raise _wrong("has brackets that match nothing")
        return of

    def _member(self) -> frozenset[int]:
        char = self._next()
        return self._escape() if char == "\\" else frozenset((self._byte(char),))

    def _escape(self) -> frozenset[int]:
        char = self._next()
        if char in _SHORT:
            return _SHORT[char]
        if char in _NAMED:
            return frozenset((_NAMED[char],))
        if char == "x":
            digits = self._source[self._at : self._at + 2]
            self._at += 2
            if len(digits) != 2 or not set(digits) <= set("0123456789abcdefABCDEF"):
                raise _wrong("has a \\x without two hexadecimal digits")
            return frozenset((int(digits, 16),))
        if char.isalnum():
            raise _wrong("has an escape that is not known here")
        return frozenset((self._byte(char),))

    def _chars(self, of: frozenset[int]) -> Chars:
        if not self._caseless:
            return Chars(of)
        text = bytes(of)
        return Chars(frozenset(text.lower() + text.upper()))

    def _byte(self, char: str) -> int:
        if ord(char) > 127:
            raise _wrong("has a letter that is not ASCII; \\xE1 stands for a capital, \\xE0 for a small letter")
        return ord(char)

    def _took(self, char: str) -> bool:
        if self._source[self._at : self._at + 1] != char:
            return False
        self._at += 1
        return True

    def _next(self) -> str:
        if self.at_end():
            raise _wrong("ends in the middle")
        self._at += 1
        return self._source[self._at - 1]


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3
