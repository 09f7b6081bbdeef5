"""JSON text through the guard, in pieces: strings are read with their escapes, judged each by itself, and written
again.

What comes out is JSON where what went in was: a number that is masked becomes a string. The name of a member stands as
context before its value (`"card": …`). Text that is no JSON is not mended, only scanned. A block masks here, and
`blocked` tells the caller to send none of it. Called by `passage`.
"""

import json
import re
from collections.abc import Callable
from typing import Protocol

from freehold.guard.detector import Finding

_OUTSIDE = re.compile(r"[\s,:{}\[\]]+")
_LITERAL = re.compile(r"[^\s,:{}\[\]\"]+")
_PLAIN = re.compile(r'[^"\\]+')
_LONE = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"'}
_LONGEST_LITERAL = 256


class Flow(Protocol):
    """A text's way through the guard: `passage.Outflow`."""

    blocked: bool

    @property
    def held(self) -> int:
        """Characters held back."""

    @property
    def findings(self) -> list[Finding]:
        """What was found."""

    def feed(self, text: str) -> str:
        """What may go out."""

    def finish(self) -> str:
        """The rest."""


class JsonFlow:
    """One JSON text. `begin` gives the flow of one string, for what stands before it."""

    def __init__(self, begin: Callable[[str], Flow]) -> None:
        self._begin = begin
        self._string: Flow | None = None
        self._rest = ""  # an escape or a literal that is not yet whole
        self._high = ""  # the first half of a surrogate pair
        self._name = ""  # the last string
        self._before = ""
        self._findings: list[Finding] = []
        self.blocked = False

    @property
    def held(self) -> int:
        """How many characters are held back now."""
        return len(self._rest) + len(self._high) + (self._string.held if self._string is not None else 0)

    @property
    def findings(self) -> list[Finding]:
        """What was found, in the order of the strings; places are those in a string."""
        return list(self._findings)

    def feed(self, text: str) -> str:
        """What may go out after this piece."""
        text, self._rest = self._rest + text, ""
        out: list[str] = []
        at = 0
        while at < len(text):
            string = self._string
            at = self._outside(text, at, out) if string is None else self._inside(string, text, at, out)
            if at < 0:
                break
        return "".join(out)

    def finish(self) -> str:
        """The rest."""
        rest, self._rest = self._rest, ""
        if self._string is not None:  # it was cut off
            return _written(self._string.feed(self._high)) + self._end(self._string) + rest
        return self._literal(rest) if rest else ""

    def _outside(self, text: str, at: int, out: list[str]) -> int:
        if text[at] == '"':
            out.append('"')
            self._string = self._begin(self._before)
            self._name = ""
            return at + 1
        match = _OUTSIDE.match(text, at)
        if match is not None:
            for mark in match.group():
                if mark in ":{}":
                    self._before = f"{self._name}: " if mark == ":" else ""
            out.append(match.group())
            return match.end()
        literal = _LITERAL.match(text, at)
        end = len(text) if literal is None else literal.end()
        while end - at > _LONGEST_LITERAL:  # no JSON has such a one
            out.append(self._literal(text[at : at + _LONGEST_LITERAL]))
            at += _LONGEST_LITERAL
        if end == len(text):
            self._rest = text[at:]
            return -1
        if at < end:
            out.append(self._literal(text[at:end]))
        return end

    def _literal(self, text: str) -> str:
        flow = self._begin(self._before)
        passed = flow.feed(text) + flow.finish()
        self._take(flow)
        return text if passed == text else json.dumps(passed, ensure_ascii=False)

    def _inside(self, string: Flow, text: str, at: int, out: list[str]) -> int:
        match = _PLAIN.match(text, at)
        if match is not None:
            self._pass(string, match.group(), out)
            return match.end()
        if text[at] == '"':
            if self._high:
                self._pass(string, "", out, last=True)
            out += (self._end(string), '"')
            return at + 1
        size = 6 if text[at + 1 : at + 2] == "u" else 2
        if len(text) - at < size:
            self._rest = text[at:]
            return -1
        escape = text[at + 1]
        if escape == "u":
            try:
                self._pass(string, chr(int(text[at + 2 : at + 6], 16)), out)
            except ValueError:
                self._pass(string, text[at : at + 6], out)
        else:
            self._pass(string, _ESCAPES.get(escape, escape), out)
        return at + size

    def _pass(self, string: Flow, text: str, out: list[str], *, last: bool = False) -> None:
        """Characters of the string, pairs of surrogates joined."""
        text, self._high = self._high + text, ""
        if not last and text and "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        if len(text) > 1 and _LONE.search(text):
            text = _PAIR.sub(_joined, text)
        if len(self._name) < 64:
            self._name = (self._name + text)[:64]
        out.append(_written(string.feed(text)))

    def _end(self, string: Flow) -> str:
        out = _written(string.finish())
        self._take(string)
        self._string, self._high = None, ""
        return out

    def _take(self, flow: Flow) -> None:
        self._findings += flow.findings
        self.blocked = self.blocked or flow.blocked


def _joined(match: "re.Match[str]") -> str:
    high, low = map(ord, match.group())
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)


def _written(text: str) -> str:
    """Text as it stands in a JSON string."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    return _LONE.sub(lambda match: f"\\u{ord(match.group()):04x}", plain)
