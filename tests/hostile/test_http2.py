"""Attacks on the translation of HTTP/2, by raw frames through the real edge to an upstream that keeps every byte (BAR-1).

What the upstream sees must be the request that the strict reading of RFC 9113 finds, byte by byte, and be answered; from
a malformed message nothing may come, or, where only a row is odd, the request without that row. What it sees is read
again by the referee of HTTP/1.1, so that nothing of a row can have become a row, a request or a body of its own.
"""

import pytest

from freehold.edge.headers import OWN, REQUEST
from tests.edge.recorder import Recorded
from tests.hostile import grammar, http2
from tests.hostile.grammar import Meant
from tests.hostile.sending import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.soak]

FORGED = (http2.FORGED, b"evil.example", b"/v1/hidden/0")


def _clean(request: Recorded) -> bool:
    """Is it one plain request of HTTP/1.1, with declared headers only and nothing forged?"""
    read, whole = grammar.read(request.raw)
    head = request.raw.partition(b"\r\n\r\n")[0]
    return (
        whole
        and read == [Meant(request.method, request.target, request.body)]
        and request.names <= {"host", *OWN, *REQUEST}
        and request.values("x-freehold-client") == ["127.0.0.1"]
        and request.values("host") == request.values("x-freehold-host") == ["localhost"]
        and not any(forged in head for forged in FORGED)
    )


def _fine(number: int, vector: http2.Vector) -> list[list[Meant]]:
    """What the upstream may see of an attack and the fence behind it."""
    fence, plain = Meant("GET", f"/v1/fence/{number}", b""), vector.meant(number)
    if plain is not None:
        return [[plain], [plain, fence], [fence, plain]]
    first = http2.first(number)
    return [[], [fence], *([[first], [first, fence], [fence, first]] if vector.mild else [])]


def test_whatever_frames_are_sent_the_upstream_sees_what_they_mean_and_nothing_else(frames_outcome: Outcome) -> None:
    attacks = http2.vectors()
    assert len(attacks) >= 500
    assert frames_outcome.survived
    assert not frames_outcome.garbage
    assert not frames_outcome.strays
    wrong: list[str] = []
    passed = refused = 0
    for number, vector in enumerate(attacks):
        got, answered = frames_outcome.seen.get(number, []), frames_outcome.answers[number]
        told = [Meant(one.method, one.target, one.body) for one in got]
        if told not in _fine(number, vector) or not all(map(_clean, got)):
            wrong.append(f"{vector.family} {vector.what}: {[one.raw for one in got]}")
        if answered > len(got) or (answered < len(got) and not vector.breaks):
            wrong.append(f"{vector.family} {vector.what}: {len(got)} seen, {answered} answered")
        through = any("/fence/" not in one.target for one in told)
        passed += through
        refused += not through
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])
    assert passed > 150
    assert refused > 300
