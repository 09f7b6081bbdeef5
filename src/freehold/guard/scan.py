"""The scan of one text that may come in pieces: `feed` gives what may go out, with what was found in it; `finish`
the rest.

What comes out together is the same however the text was cut. Text is held back only from where a match of a class that
changes text is still possible, and never more than 512 characters. Called by `passage`; pure.
"""

from itertools import chain
from typing import Final, NamedTuple, Protocol

from freehold.guard.detector import CONTEXT, Finding
from freehold.guard.engine import Engine
from freehold.guard.lane import LONGEST, Lane
from freehold.guard.reading import Reading, read

HELD: Final = 2 * LONGEST
"""The most characters that are held back."""

_PIECE = 1 << 16


class Part(NamedTuple):
    """A part of the text that is settled: plain, or what was found (its text is then to be replaced).

    `continues`: it belongs to the finding before it, as the end of a long token does, and goes where that went.
    """

    text: str
    finding: Finding | None = None
    continues: bool = False


class Values(Protocol):
    """Registered values looked for in one stream: `exact.Search`. Places are characters of the stream."""

    def feed(self, text: str) -> list[Finding]:
        """What became certain with this piece."""

    def finish(self) -> list[Finding]:
        """What ends with the text."""

    def waiting(self) -> int:
        """From which character on a value may still come."""


class Scanner:
    """One stream. `before`: what stands before the text for whoever judges by context, such as the name of a JSON
    member."""

    def __init__(
        self, engine: Engine, values: Values | None = None, *, values_hold: bool = True, before: str = ""
    ) -> None:
        self._run = engine.run()
        self._holds = engine.holds
        self._values = values
        self._values_hold = values_hold
        self._reading = Reading()
        before = read(before[-CONTEXT:]).decode("latin-1")
        self._text = ""
        self._begin = 0  # where _text begins
        self._out = 0  # what has gone out
        self._holding = Lane(engine.owners, self._slice, before)
        self._noting = Lane(engine.owners, self._slice, before)
        self._tails = {d.name: d for d in chain.from_iterable(engine.owners) if d.tail or d.ends_tail}
        self._tail = ""  # characters that go on with _of
        self._of: Finding | None = None
        self._taken: list[Finding] = []
        self.noticed: list[Finding] = []
        """What was found of classes that do not change the text, so far."""

    @property
    def held(self) -> int:
        """How many characters are held back now."""
        return self._reading.end - self._out

    def feed(self, text: str) -> list[Part]:
        """What may go out after this piece."""
        if len(text) <= _PIECE:
            return self._feed(text)
        return [part for at in range(0, len(text), _PIECE) for part in self._feed(text[at : at + _PIECE])]

    def finish(self) -> list[Part]:
        """The rest."""
        self._take(self._run.finish(), self._values.finish() if self._values is not None else ())
        end = self._reading.end
        return self._settle(end, end)

    def _feed(self, text: str) -> list[Part]:
        if not text:
            return []
        self._text += text
        reading = self._reading
        seen = reading.feed(text)
        found = self._run.feed(seen, joins=reading.plain)
        self._take(found, self._values.feed(text) if self._values is not None else ())
        end, byte = reading.end, self._run.waiting()
        waiting = end if byte == reading.length else max(reading.place(byte), end - LONGEST)
        noted = max(0, end - LONGEST)
        if self._values is not None:
            late = self._values.waiting()
            waiting, noted = (min(waiting, late), noted) if self._values_hold else (waiting, min(noted, late))
        reading.forget(reading.length - 1024)
        return self._settle(waiting, noted)

    def _take(self, candidates: list[tuple[int, int, int]], values: "list[Finding] | tuple[()]") -> None:
        place = self._reading.place
        for start, end, number in candidates:
            lane = self._holding if self._holds[number] else self._noting
            lane.add(place(start), place(end - 1) + 1, number)
        for finding in values:
            (self._holding if self._values_hold else self._noting).add_sure(finding)

    def _settle(self, waiting: int, noted: int) -> list[Part]:
        found = self._holding.settle(waiting)
        self._taken += found
        noticed = self._noting.settle(min(noted, self._holding.border))
        for finding in noticed:
            if not any(other.start < finding.end and finding.start < other.end for other in self._taken):
                self.noticed.append(finding)
        if len(self._taken) > 16:
            self._taken = [finding for finding in self._taken if finding.end > self._noting.border - HELD]
        parts: list[Part] = []
        for finding in found:
            self._pass(parts, finding.start)
            self._replace(parts, finding)
        self._pass(parts, self._holding.border)
        keep = min(self._out, self._noting.border) - CONTEXT - 1
        if keep - self._begin > 1024:
            self._text = self._text[keep - self._begin :]
            self._begin = keep
        return parts

    def _pass(self, parts: list[Part], until: int) -> None:
        """Text up to there goes out, but for what belongs to a finding before it."""
        text = self._text[self._out - self._begin : until - self._begin]
        self._out = max(self._out, until)
        if self._tail and text:
            rest = text.lstrip(self._tail)
            if len(rest) < len(text):
                parts.append(Part(text[: len(text) - len(rest)], self._of, continues=True))
            if rest:
                self._tail, self._of = "", None
            text = rest
        if text:
            parts.append(Part(text))

    def _replace(self, parts: list[Part], finding: Finding) -> None:
        text = self._text[finding.start - self._begin : finding.end - self._begin]
        self._out = finding.end
        detector = self._tails.get(finding.detector)
        if self._of is not None:  # it follows a tail at once, so it is a part of it
            parts.append(Part(text, finding, continues=True))
            if detector is not None and detector.ends_tail and finding.kind == self._of.kind:
                self._tail, self._of = "", None
            return
        if detector is not None and detector.tail:
            self._tail, self._of = "".join(sorted(detector.tail)), finding
        parts.append(Part(text, finding))

    def _slice(self, start: int, end: int) -> str:
        return self._text[max(0, start - self._begin) : end - self._begin]
