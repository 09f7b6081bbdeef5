"""Two thousand attacks on where a request ends, through the real edge to an upstream that keeps every byte (BAR-1).

The referee (`grammar`) says what each attack may mean. Whatever the upstream sees must be of that, in its order and byte
by byte: none more, none other, and an answer for each. All the rest must end in a refusal.
"""

import pytest

from tests.edge.recorder import Recorded
from tests.hostile import grammar, vectors
from tests.hostile.sending import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.soak]


def _told(requests: list[Recorded]) -> list[grammar.Meant]:
    return [grammar.Meant(request.method, request.target, request.body) for request in requests]


def _within(got: list[grammar.Meant], meant: list[grammar.Meant]) -> bool:
    """Are these some of those, in their order? What the edge answers by itself (a method, a path) it does not pass."""
    rest = iter(meant)
    return all(any(one == other for other in rest) for one in got)


def test_whatever_is_sent_the_upstream_sees_what_it_means_and_nothing_else(plain_outcome: Outcome) -> None:
    attacks = vectors.framing()
    assert len(attacks) >= 1000
    assert plain_outcome.survived
    assert not plain_outcome.garbage
    assert not plain_outcome.strays
    wrong: list[str] = []
    passed = refused = 0
    for number, vector in enumerate(attacks):
        raw = vector.make(number) + vectors.fence(number)
        got = _told(plain_outcome.seen.get(number, []))
        readings = [grammar.read(raw)[0], grammar.read(raw, grammar.LENIENT)[0]]
        if not any(_within(got, meant) for meant in readings):
            wrong.append(f"{vector.family} {vector.what}: {got}")
        if plain_outcome.answers[number] != len(got):
            wrong.append(f"{vector.family} {vector.what}: {len(got)} seen, {plain_outcome.answers[number]} answered")
        passed += bool(got)
        refused += not got
    assert not wrong, "\n".join(wrong[:20])
    assert passed > 50
    assert refused > 1000
