"""One Envoy for all tests of the edge's behaviour; tests with settings of their own open another."""

from collections.abc import Iterator

import pytest

from freehold.settings import Edge
from tests.edge.door import Door, free_port, opened


@pytest.fixture(scope="session")
def shared_door() -> Iterator[Door]:
    """The edge with the default limits and one real domain."""
    with opened(Edge(port=free_port(), domains=("ai.example.org",))) as door:
        yield door


@pytest.fixture
def door(shared_door: Door) -> Door:
    """The shared edge with forgetful upstreams."""
    shared_door.gateway.clear()
    shared_door.console.clear()
    return shared_door
