"""Registered values found in a stream, however they are written. Called by `scan` through its `Values` seam; pure.

Twelve ways of writing are seen through: in any case; with other spaces (also J o h n); with other punctuation or none;
full-width and look-alike letters; invisible characters between; percent-encoded (URL); HTML entities; JSON and
JavaScript escapes; base64 at each of three alignments, both alphabets; hexadecimal; reversed. A value begins and ends
with a word, so a name is not found inside a longer one. Text is held from the word in progress, and from where words
begin as a registered value does. At most 256 characters of writing make one value.
"""

import base64
import binascii
import html
import re
from collections.abc import Sequence
from typing import NamedTuple

from freehold.guard.detector import Finding, Kind
from freehold.guard.fingerprint import HEAD, Known, fingerprint, fold, tag

WIDEST = 256
_GAP = 24  # characters between two words of a value: three escaped marks
_STEP = 128

_RUN = re.compile(r"[^\W]|[+/=%&#;\\\-]")
_RUNS = re.compile(r"(?:\w|[+/=%&#;\\\-])+")
_WORD = re.compile(r"[぀-鿿가-힣]|[^\W_぀-鿿가-힣]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{7,}")
_HEX = re.compile(r"(?:[0-9a-f]{2}){5,}")
_READABLE = re.compile("[^\ufffd]{5}")
_ESCAPE = re.compile(
    r"%[0-7][0-9A-Fa-f]|%[CDcd][0-9A-Fa-f]%[0-9A-Fa-f]{2}|%[Ee][0-9A-Fa-f](?:%[0-9A-Fa-f]{2}){2}"
    r"|%[Ff][0-7](?:%[0-9A-Fa-f]{2}){3}|&#\d{1,7};|&#[xX][0-9A-Fa-f]{1,6};|&[A-Za-z]{2,8};"
    r"|\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[nrtbf]"
)


class Shelf(NamedTuple):
    """The registered values of one workspace. `foreign`: not the one whose text is scanned."""

    key: bytes
    values: Sequence[Known]
    foreign: bool


class _Way(NamedTuple):
    """How the values of a shelf go on that begin with the same characters."""

    shelf: int
    forward: frozenset[int]
    backward: frozenset[int]


class _Begun(NamedTuple):
    """Where first characters may lead."""

    ways: tuple[_Way, ...]
    lengths: frozenset[int]
    longest: int


_NOWHERE = _Begun((), frozenset(), 0)
_Open = tuple[int, str, _Begun | None]
"""A place where a value may have begun: its start, what was read since, where that may lead (none: not yet HEAD)."""


class Book:
    """The values that are looked for, in memory."""

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self.shelves = [shelf for shelf in shelves if shelf.values]
        self._prints = [{known.fingerprint: known for known in shelf.values} for shelf in self.shelves]
        self._heads = [_by_tag(shelf.values, "head") for shelf in self.shelves]
        self._tails = [_by_tag(shelf.values, "tail") for shelf in self.shelves]
        self._begun: dict[str, _Begun] = {}

    def begun(self, head: str) -> _Begun:
        """Where these first characters may lead."""
        known = self._begun.get(head)
        if known is None:
            if len(self._begun) > 100_000:
                self._begun.clear()
            self._begun[head] = known = self._begins(head)
        return known

    def _begins(self, head: str) -> _Begun:
        ways = []
        for at, shelf in enumerate(self.shelves):
            mark = tag(shelf.key, head)
            forward, backward = self._heads[at].get(mark, frozenset()), self._tails[at].get(mark, frozenset())
            if forward or backward:
                ways.append(_Way(at, forward, backward))
        lengths = frozenset().union(*(way.forward | way.backward for way in ways))
        return _Begun(tuple(ways), lengths, max(lengths)) if ways else _NOWHERE

    def named(self, plain: str, begun: _Begun) -> tuple[bool, Known] | None:
        """The value that these characters are, if they are one; and whether it is foreign."""
        for at, forward, backward in begun.ways:
            shelf, prints = self.shelves[at], self._prints[at]
            for possible, written in ((forward, plain), (backward, plain[::-1])):
                if len(plain) in possible:
                    known = prints.get(fingerprint(shelf.key, written))
                    if known is not None:
                        return shelf.foreign, known
        return None


def _by_tag(values: Sequence[Known], which: str) -> dict[int, frozenset[int]]:
    lengths: dict[int, set[int]] = {}
    for known in values:
        lengths.setdefault(known.head if which == "head" else known.tail, set()).add(known.length)
    return {mark: frozenset(found) for mark, found in lengths.items()}


class Search:
    """One stream."""

    def __init__(self, book: Book, *, depth: int = 0) -> None:
        self._book = book
        self._depth = depth
        self._begin = 0  # where _text begins
        self._text = ""  # the run in progress
        self._end = 0
        self._last = 0  # where the last word ended
        self._open: list[_Open] = []
        self._found: list[Finding] = []

    def feed(self, text: str) -> list[Finding]:
        """What became certain with this piece. Places are characters of the stream."""
        self._text += text
        self._end += len(text)
        whole, base = self._text, self._begin
        cut = len(whole)
        while cut and _RUN.match(whole[cut - 1]) and len(whole) - cut <= WIDEST:
            cut -= 1
        if len(whole) - cut > WIDEST:
            cut = self._long_cut(whole, cut)
        self._read(whole[:cut], base)
        rest = whole[cut:]
        self._text, self._begin = rest, base + cut
        while len(self._text) > WIDEST:
            self._zone(self._text[:WIDEST], self._begin)
            self._text, self._begin = self._text[_STEP:], self._begin + _STEP
        if self._end - len(self._text) - self._last > _GAP:
            self._open.clear()
        self._drop_wide(self._end)
        return self._take()

    def finish(self) -> list[Finding]:
        """What ends with the text."""
        self._read(self._text, self._begin)
        self._text, self._begin = "", self._end
        return self._take()

    def waiting(self) -> int:
        """From which character on a value may still come."""
        first = self._begin if self._text else self._end
        return min(first, self._open[0][0]) if self._open else first

    def _long_cut(self, whole: str, cut: int) -> int:
        while cut and _RUN.match(whole[cut - 1]):
            cut -= 1
        return cut

    def _take(self) -> list[Finding]:
        found, self._found = self._found, []
        return found

    def _read(self, text: str, base: int) -> None:
        """Whole runs."""
        for match in _RUNS.finditer(text):
            run, start = match.group(), base + match.start()
            while len(run) > WIDEST:
                self._zone(run[:WIDEST], start)
                run, start = run[_STEP:], start + _STEP
            self._run(run, start)

    def _zone(self, text: str, start: int) -> None:
        """A part of a very long run, by itself."""
        inner = Search(self._book, depth=self._depth)
        inner._run(text, start)
        self._found += inner._take()
        self._open.clear()

    def _drop_wide(self, end: int) -> None:
        """A value ends with its last run, so one that began too far before the run's end is none."""
        if self._open and end - self._open[0][0] > WIDEST:
            self._open = [place for place in self._open if end - place[0] <= WIDEST]

    def _run(self, run: str, start: int) -> None:
        self._drop_wide(start + len(run))
        plain = fold(run)
        if "%" in run or "&" in run or "\\" in run:
            self._words(*_unescaped(run), start)
        else:
            for match in _WORD.finditer(plain):
                self._word(match.group(), start + match.start(), start + match.end())
        if self._depth == 0:
            for match in _BASE64.finditer(run):
                self._coded(match.group(), start + match.start())
            for match in _HEX.finditer(plain):
                self._nested(bytes.fromhex(match.group()), start + match.start(), start + match.end())

    def _words(self, plain: str, places: list[tuple[int, int]], start: int) -> None:
        for match in _WORD.finditer(plain):
            self._word(match.group(), start + places[match.start()][0], start + places[match.end() - 1][1])

    def _word(self, plain: str, start: int, end: int) -> None:
        """One more word: every open place goes on with it, and a new one opens."""
        opened = self._open if start - self._last <= _GAP else []
        self._last = end
        still: list[_Open] = []
        opened.append((start, "", None))
        for begin, before, begun in opened:
            whole = before + plain
            size = len(whole)
            if begun is None and size >= HEAD:
                begun = self._book.begun(whole[:HEAD])
            if begun is not None:
                if size in begun.lengths:
                    named = self._book.named(whole, begun)
                    if named is not None:
                        self._report(*named, begin, end)
                if size >= begun.longest:
                    continue
            still.append((begin, whole, begun))
        self._open = still

    def _report(self, foreign: bool, known: Known, start: int, end: int) -> None:
        if end - start <= WIDEST:
            kind: Kind = "FOREIGN" if foreign else "VALUE"
            self._found.append(Finding(start, end, kind, known.kind, 1.0))

    def _coded(self, run: str, start: int) -> None:
        """Base64, at whatever alignment the run begins."""
        plain = run.replace("-", "+").replace("_", "/")
        for skip in range(4):
            usable = plain[skip:]
            usable = usable[: len(usable) - (len(usable) % 4 == 1)]
            if len(usable) < 7:
                break
            try:
                decoded = base64.b64decode(usable + "=" * (-len(usable) % 4))
            except (binascii.Error, ValueError):
                continue
            if self._nested(decoded, start, start + len(run)):
                break

    def _nested(self, decoded: bytes, start: int, end: int) -> bool:
        text = decoded.decode("utf-8", "replace")
        if _READABLE.search(text) is None:
            return False
        inner = Search(self._book, depth=self._depth + 1)
        found = inner.feed(text) + inner.finish()
        for finding in found:
            self._found.append(Finding(start, end, finding.kind, finding.detector, 1.0))
        return bool(found)


def _unescaped(run: str) -> tuple[str, list[tuple[int, int]]]:
    """The run with its escapes read and folded, and where each character of it stands."""
    plain: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for match in _ESCAPE.finditer(run):
        plain += fold(run[at : match.start()])
        places += [(place, place + 1) for place in range(at, match.start())]
        for char in _escape(match.group()):
            plain += fold(char)
            places.append(match.span())
        at = match.end()
    plain += fold(run[at:])
    places += [(place, place + 1) for place in range(at, len(run))]
    return "".join(plain), places


def _escape(text: str) -> str:
    if text[0] == "%":
        return bytes.fromhex(text.replace("%", "")).decode("utf-8", "replace")
    if text[0] == "&":
        return html.unescape(text)
    if text[1] not in "ux":
        return " "
    units = [int(unit, 16) for unit in re.findall(r"\\[ux]([0-9A-Fa-f]+)", text)]
    if len(units) == 2:
        return chr(0x10000 + ((units[0] - 0xD800) << 10) + units[1] - 0xDC00)
    return chr(units[0]) if not 0xD800 <= units[0] < 0xE000 else " "
