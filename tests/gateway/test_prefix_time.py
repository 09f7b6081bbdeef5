"""How much of a key is right cannot be told by the time: right but for its end, right at its beginning, all wrong."""

import random
import time
from collections.abc import Awaitable, Callable

import pytest

from freehold.protocol import ids
from freehold.protocol.http import UnixClient
from freehold.protocol.ids import new_secret
from tests.conftest import Home
from tests.gateway.acting import staged

pytestmark = [pytest.mark.slow, pytest.mark.soak]

SAMPLES, RUNS = 1000, 3
Probe = Callable[[], Awaitable[None]]


def like(secret: str, shared: int) -> str:
    """A well-formed secret that begins like this one, with so many of its 43 characters, and goes on otherwise."""
    body = secret[3:-6]
    other = new_secret("fh")[3:-6]
    made = f"fh_{body[:shared]}{other[shared:]}"
    return made + ids._check(made)


async def told_apart(one: Probe, other: Probe) -> float:
    """The area under the curve of the times of both, interleaved: 0.5 is a coin."""
    order = [one, other] * SAMPLES
    random.Random(18).shuffle(order)  # noqa: S311 - an order, not a secret
    timed: list[tuple[float, bool]] = []
    for probe in order:
        began = time.perf_counter()
        await probe()
        timed.append((time.perf_counter() - began, probe is one))
    timed.sort()
    ranks = sum(rank for rank, (_, first) in enumerate(timed, 1) if first)
    return (ranks - SAMPLES * (SAMPLES + 1) / 2) / SAMPLES**2


def asking(client: UnixClient, secret: str) -> Probe:
    async def probe() -> None:
        async with client.request("GET", "/v1/models", None, {"authorization": f"Bearer {secret}"}) as response:
            await response.read()
            assert response.status == 401

    return probe


@pytest.mark.parametrize("shared", [42, 21])
async def test_a_prefix_is_not_told_by_time(home: Home, shared: int) -> None:
    async with staged(home) as stage:
        near, far = asking(stage.client, like(home.api_key, shared)), asking(stage.client, like(home.api_key, 0))
        areas = []
        for _ in range(RUNS):  # an odd run of a busy machine is repeated
            areas.append(await told_apart(near, far))
            if 0.45 <= areas[-1] <= 0.55:
                return
        raise AssertionError(f"told apart in every run: {areas}")


async def test_the_measure_can_tell(home: Home) -> None:
    """The positive control: what is refused by its form alone, and what is looked up, are a world apart."""
    async with staged(home) as stage:
        area = await told_apart(asking(stage.client, like(home.api_key, 42)), asking(stage.client, "fh_no"))
        assert area > 0.9
