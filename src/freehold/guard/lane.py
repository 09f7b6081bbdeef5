"""From candidates to findings, in an order that does not depend on how the stream was cut.

Candidates that overlap form a cluster. A cluster is settled when no match that begins before its end can still come;
what is found in it is decided then, from the whole cluster and CONTEXT characters before it. A cluster that grows
beyond LONGEST (only hostile text has such) is settled by zones that begin where the cluster began, so their borders
too are told by the text alone. Each zone but the last is read again in its last OVERLAP characters. Called by `scan`.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

import msgspec

from freehold.guard.detector import CONTEXT, Detector, Finding
from freehold.guard.reading import places, read

LONGEST = 256
"""The longest cluster (characters), and the longest candidate that counts."""
OVERLAP = 64

Candidate = tuple[int, int, int]
"""(begin, end, number): a pattern's number, or -1 - index of a finding that is already sure. In characters."""


class Lane:
    """Candidates of one stream. `slice_of` gives a part of the stream's text; it must still hold what is asked for."""

    def __init__(
        self, owners: Sequence[tuple[Detector, ...]], slice_of: Callable[[int, int], str], before: str
    ) -> None:
        self._owners = owners
        self._slice_of = slice_of
        self._before = before
        self._open: list[Candidate] = []
        self._sure: list[Finding] = []
        self.border = 0
        """Everything before it is settled."""

    def add(self, start: int, end: int, number: int) -> None:
        """A candidate of a pattern."""
        if end - start <= LONGEST and end > self.border:
            insort(self._open, (max(start, self.border), end, number))

    def add_sure(self, finding: Finding) -> None:
        """A finding that needs no further look."""
        if finding.end > self.border:
            self._sure.append(finding)
            self.add(finding.start, finding.end, -len(self._sure))

    def settle(self, waiting: int) -> list[Finding]:
        """What is found up to where it can be told, which is then `border`. No match can come from before `waiting`."""
        found: list[Finding] = []
        while self._open and self._open[0][0] < waiting:
            start, end, count = self._cluster()
            zone = start + LONGEST
            if end > zone:
                if waiting < zone:
                    break
                found += self._settle_zone(start, zone)
            elif end > waiting:
                break
            else:
                found += self._judge(self._open[:count], end)
                del self._open[:count]
                self.border = end
        first = self._open[0][0] if self._open else waiting
        self.border = max(self.border, min(first, waiting))
        if not self._open:
            self._sure.clear()
        return found

    def _cluster(self) -> tuple[int, int, int]:
        """Begin, end and number of candidates of the first cluster, or of more than a zone of it."""
        start, end, _ = self._open[0]
        count = 0
        for begin, until, _ in self._open:
            if begin >= end or end > start + LONGEST:
                break
            end = max(end, until)
            count += 1
        return start, end, count

    def _settle_zone(self, start: int, zone: int) -> list[Finding]:
        near = self._open[: bisect_left(self._open, (zone,))]
        inside = [(begin, min(end, zone), number) for begin, end, number in near]
        border = zone - OVERLAP
        judged = self._judge(inside, zone)
        border = next((finding.end for finding in judged if finding.start < border < finding.end), border)
        self.border = border
        self._open[: len(near)] = sorted(
            (max(begin, border), end, number) for begin, end, number in near if end > border
        )
        return [finding for finding in judged if finding.end <= border]

    def _judge(self, candidates: Sequence[Candidate], until: int) -> list[Finding]:
        if not candidates:
            return []
        origin = max(0, candidates[0][0] - CONTEXT)
        original = self._slice_of(origin, until + 1)
        text, at = read(original).decode("latin-1"), places(original)
        if origin < CONTEXT:
            text = self._before + text
        shift = len(self._before) if origin < CONTEXT else 0
        worded = text.upper() != text.lower()  # hostile text is full of numbers without a word between
        found: list[Finding] = []
        for start, end, number in _joined(candidates):
            if number < 0:
                found.append(msgspec.structs.replace(self._sure[-1 - number], start=start, end=end))  # cut by a zone
                continue
            low, high = _inner(at, start - origin, end - origin)
            for detector in self._owners[number]:
                if detector.near and not worded:
                    continue
                for first, last in detector.spans(text, low + shift, high + shift):
                    first, last = _outer(at, first - shift, last - shift)
                    span = (first + origin, last + origin)
                    found.append(Finding(*span, detector.kind, detector.name, detector.confidence))
        return resolved(found)


def _joined(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Overlapping candidates of the same pattern made one."""
    if len(candidates) == 1:
        return candidates
    last: dict[int, int] = {}
    joined: list[Candidate] = []
    for start, end, number in candidates:
        at = last.get(number)
        if at is not None and start < joined[at][1]:
            joined[at] = (joined[at][0], max(joined[at][1], end), number)
            continue
        last[number] = len(joined)
        joined.append((start, end, number))
    return joined


def _inner(at: list[int] | None, start: int, end: int) -> tuple[int, int]:
    """Places in the original as places in the text as read."""
    if at is None:
        return start, end
    return sum(place < start for place in at), sum(place < end for place in at)


def _outer(at: list[int] | None, start: int, end: int) -> tuple[int, int]:
    """Places in the text as read as places in the original."""
    return (start, end) if at is None else (at[start], at[end - 1] + 1)


def resolved(found: list[Finding]) -> list[Finding]:
    """Of findings that overlap, the surest, then the longest, then the first; in order."""
    if len(found) < 2:
        return found
    kept: list[Finding] = []
    for finding in sorted(set(found), key=lambda f: (-f.confidence, f.start - f.end, f.start, f.detector)):
        if all(finding.end <= other.start or other.end <= finding.start for other in kept):
            kept.append(finding)
    return sorted(kept)
