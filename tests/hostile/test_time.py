"""Time does not tell a stranger what is there (BAR-8): answers for what exists and for what does not, interleaved.

The measure is the probability that an answer about the one is slower than an answer about the other (Mann-Whitney);
a coin has 0.5. Two thousand of each on one connection; an odd run of a busy machine is repeated.
"""

import random
import socket
import time

import pytest

from tests.hostile.whole import Whole
from tests.timing import area

pytestmark = [pytest.mark.slow, pytest.mark.soak]

SAMPLES, RUNS = 2000, 3
PAIRS = {
    "a route of the API": ("GET /v1/models", "GET /v1/nothin"),
    "a route that takes a body": ("POST /v1/chat/completions", "POST /v1/chat/completionz"),
    "a route of one object": ("GET /v1/responses/resp_1", "GET /v1/nothings/resp_1"),
    "a route of the console": ("GET /api/conversations", "GET /api/conversationz"),
    "a page's change": ("PATCH /api/people/usr_1", "PATCH /api/nobody/usr_1"),
}


def _told_apart(whole: Whole, there: str, missing: str) -> float:
    """The area under the curve of `there` against `missing`."""
    order = [there, missing] * SAMPLES
    random.Random(5).shuffle(order)  # noqa: S311 - an order, not a secret
    timed: list[tuple[float, bool]] = []
    with whole.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for line in order:
            raw = f"{line} HTTP/1.1\r\nhost: {whole.host}\r\n\r\n".encode()
            began = time.perf_counter()
            connection.sendall(raw)
            answer = connection.recv(65536)
            while not answer.endswith(b"}}"):
                answer += connection.recv(65536)
            timed.append((time.perf_counter() - began, line == there))
            assert answer.startswith(b"HTTP/1.1 401 ")
    return area(timed)


@pytest.mark.parametrize("name", PAIRS)
def test_what_exists_takes_as_long_as_what_does_not(whole: Whole, name: str) -> None:
    areas: list[float] = []
    for _ in range(RUNS):
        areas.append(_told_apart(whole, *PAIRS[name]))
        if 0.45 <= areas[-1] <= 0.55:
            return
    raise AssertionError(f"told apart in every run: {areas}")
