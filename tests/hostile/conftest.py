"""The attacks are sent once for all tests: some look at what came through, another shows it to other servers."""

from collections.abc import Iterator

import pytest

from tests.hostile import http2, sending, vectors
from tests.hostile.whole import Whole, opened_whole


@pytest.fixture(scope="session")
def plain_outcome() -> sending.Outcome:
    """What became of the attacks in HTTP/1.1."""
    return sending.send_framing(vectors.framing())


@pytest.fixture(scope="session")
def frames_outcome() -> sending.Outcome:
    """What became of the attacks in HTTP/2."""
    return sending.send_frames(http2.vectors())


@pytest.fixture(scope="session")
def whole() -> Iterator[Whole]:
    """A whole installation but for the model."""
    with opened_whole() as made:
        yield made
