"""Guards that several tests share (compiling takes seconds), and a stream cut where a test says."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from freehold.guard.detector import KINDS
from freehold.guard.passage import Guard
from freehold.guard.policy import Policy, Rule


@pytest.fixture(scope="session")
def strict() -> Guard:
    """Masks every class in answers and prompts, from a confidence of 0.6 on."""
    rules = {kind: Rule("mask", 0.6) for kind in KINDS}
    return Guard(Policy(rules={"answer": rules, "prompt": rules, "call": rules}))


@pytest.fixture(scope="session")
def default() -> Guard:
    """What a workspace has that says nothing."""
    return Guard(Policy())


def pieces(text: str, cuts: Sequence[int]) -> list[str]:
    """The text, cut at these places."""
    return [text[a:b] for a, b in pairwise((0, *cuts, len(text)))]
