"""Detectors compiled for hyperscan: where candidates are, and from where one may still come.

Two databases. The first runs over the stream and reports each candidate once it is whole. The second looks at the last
characters, backwards from the end, for beginnings of matches: that is how far a stream must be held back. It knows only
the detectors whose finding changes the text; the others hold nothing. Where hyperscan cannot tell a pattern's begin by
itself (wide repeats), it is found by reading backwards from its end. An engine belongs to one thread, for its scratch
space; streams on it may be interleaved. Compiling takes up to a second, so engines are kept by what they were made of.
"""

import functools
from collections.abc import Collection, Sequence

import hyperscan as hs

from freehold.guard import pattern
from freehold.guard.detector import Detector

_STREAM = hs.HS_MODE_STREAM | hs.HS_MODE_SOM_HORIZON_LARGE
_WINDOW = pattern.WIDEST + 1  # one more, for the border before a match

Candidate = tuple[int, int, int]
"""(begin, end, number of the pattern), in bytes of the stream."""


class Engine:
    """`holding` detectors change the text, `noting` ones do not. Made by `engine_for`."""

    def __init__(self, holding: Sequence[Detector], noting: Sequence[Detector]) -> None:
        numbers: dict[tuple[str, bool, bool], int] = {}
        owners: list[list[Detector]] = []
        nodes: list[pattern.Node] = []
        for holds, detectors in ((True, holding), (False, noting)):
            for detector in detectors:
                for source, node in zip(detector.patterns, detector.nodes(), strict=True):
                    number = numbers.setdefault((source, detector.caseless, holds), len(nodes))
                    if number == len(nodes):
                        nodes.append(node)
                        owners.append([])
                    owners[number].append(detector)
        self.owners: tuple[tuple[Detector, ...], ...] = tuple(map(tuple, owners))
        """Number of a pattern → the detectors that it is of."""
        self.holds: tuple[bool, ...] = tuple(holds for _, _, holds in numbers)
        """Number of a pattern → does its finding change the text?"""
        self._backwards: dict[int, hs.Database] = {}
        self._candidates = self._compile_candidates(nodes)
        self._begun = self._compile_beginnings([node for node, holds in zip(nodes, self.holds, strict=True) if holds])

    def _compile_candidates(self, nodes: Sequence[pattern.Node]) -> hs.Database | None:
        if not nodes:
            return None
        expressions, flags = [], []
        for number, node in enumerate(nodes):
            source = pattern.render(node).encode()
            told = _tells_begin(source)
            if not told:
                self._backwards[number] = _anchored(pattern.render(pattern.backwards(node)))
            expressions.append(source)
            flags.append(hs.HS_FLAG_SOM_LEFTMOST if told else 0)
        return _database(_STREAM, tuple(expressions), tuple(flags))

    @staticmethod
    def _compile_beginnings(nodes: Sequence[pattern.Node]) -> hs.Database | None:
        begun = [pattern.beginnings(node) for node in nodes]
        sources = [rf"\A(?:{pattern.render(pattern.backwards(node))})".encode() for node in begun if node is not None]
        return _database(hs.HS_MODE_BLOCK, tuple(sources), (0,) * len(sources)) if sources else None

    def run(self) -> "Run":
        """A new stream."""
        return Run(self._candidates, self._begun, self._backwards)


class Run:
    """One stream over an engine. Feed bytes, then `finish`; each gives the candidates that became whole."""

    def __init__(
        self, candidates: hs.Database | None, begun: hs.Database | None, backwards: dict[int, hs.Database]
    ) -> None:
        self._begun = begun
        self._backwards = backwards
        self._collector = _Collector(backwards)
        self._recent = b""
        self._at = 0
        self._longest = 0
        self._stream: hs.Stream | None = None
        if candidates is not None:  # the binding counts no reference to these two, so this object must
            self._database = candidates
            self._stream = candidates.stream(match_event_handler=self._collector)
            self._stream.__enter__()

    def __del__(self) -> None:
        self.finish()  # a stream that is not closed is never freed

    def feed(self, seen: bytes, *, joins: bool = True) -> list[Candidate]:
        """The candidates that became whole with this piece; overlapping ones of a pattern joined if `joins`."""
        if self._stream is None or not seen:
            return []
        self._collector.joins = joins
        self._stream.scan(seen)
        self._at += len(seen)
        found = self._take(self._recent + seen, self._at) if self._collector.hits else []
        self._recent = (self._recent + seen)[-_WINDOW:] if len(seen) < _WINDOW else seen[-_WINDOW:]
        return found

    def finish(self) -> list[Candidate]:
        """The candidates that end with the text."""
        if self._stream is None:
            return []
        stream, self._stream = self._stream, None
        stream.scan(b"\n")  # so that a pattern may ask for what ends a word
        stream.__exit__(None, None, None)
        return self._take(self._recent + b"\n", self._at + 1)

    def waiting(self) -> int:
        """From which byte on a match may still come (of a detector that holds); the end, when there is none."""
        if self._begun is None or not self._recent:
            return self._at
        self._longest = 0
        self._begun.scan(self._recent[::-1], match_event_handler=self._note)
        return self._at - self._longest

    def _note(self, _number: int, _start: int, end: int, _flags: int, _context: object) -> None:
        if end > self._longest:
            self._longest = end

    def _take(self, text: bytes, until: int) -> list[Candidate]:
        """What was collected; `text` are the last bytes of the stream, which end at `until`."""
        base, candidates = until - len(text), []
        for number, start, end in self._collector.take():
            if number in self._backwards:
                start = self._begin(number, text, end - base) + base
            if end - start <= pattern.WIDEST and start < min(end, self._at):
                candidates.append((start, min(end, self._at), number))
        return candidates

    def _begin(self, number: int, text: bytes, end: int) -> int:
        self._longest = 0
        window = text[max(0, end - _WINDOW) : end][::-1]
        self._backwards[number].scan(window, match_event_handler=self._note)
        return end - self._longest


class _Collector:
    """Takes hyperscan's calls. Where `joins`, overlapping matches of a pattern become one: the text they cover is the
    same."""

    def __init__(self, apart: Collection[int]) -> None:
        self.hits: list[Candidate] = []
        self.joins = True
        self._apart = apart
        self._last: dict[int, int] = {}

    def take(self) -> list[Candidate]:
        """What came since the last time: (number, begin, end)."""
        found, self.hits = self.hits, []
        self._last.clear()
        return found

    def __call__(self, number: int, start: int, end: int, _flags: int, _context: object) -> None:
        at = self._last.get(number)
        if at is not None and self.joins:
            _, low, high = self.hits[at]
            if start < high and end - min(low, start) <= pattern.WIDEST:
                self.hits[at] = (number, min(low, start), end)
                return
        if number not in self._apart:
            self._last[number] = len(self.hits)
        self.hits.append((number, start, end))


def _database(mode: int, expressions: tuple[bytes, ...], flags: tuple[int, ...]) -> hs.Database:
    database = hs.Database(mode=mode)
    database.compile(
        expressions=list(expressions), ids=list(range(len(expressions))), elements=len(expressions), flags=list(flags)
    )
    return database


def _anchored(source: str) -> hs.Database:
    return _database(hs.HS_MODE_BLOCK, (rf"\A(?:{source})".encode(),), (0,))


@functools.cache
def _tells_begin(source: bytes) -> bool:
    try:
        _database(_STREAM, (source,), (hs.HS_FLAG_SOM_LEFTMOST,))
    except hs.HyperscanError:
        return False
    return True


@functools.lru_cache(maxsize=32)
def engine_for(holding: tuple[Detector, ...], noting: tuple[Detector, ...]) -> Engine:
    """The engine of these detectors, made once."""
    return Engine(holding, noting)
