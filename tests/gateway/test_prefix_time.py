"""How much of a key is right cannot be told by the time: right but for its end, right at its beginning, all wrong."""

import pytest

from freehold.protocol import ids
from freehold.protocol.http import UnixClient
from freehold.protocol.ids import new_secret
from tests.conftest import Home
from tests.gateway.acting import staged
from tests.timing import Probe, told_apart

pytestmark = [pytest.mark.slow, pytest.mark.soak]

SAMPLES, RUNS = 1000, 3


def like(secret: str, shared: int) -> str:
    """A well-formed secret that begins like this one, with so many of its 43 characters, and goes on otherwise."""
    body = secret[3:-6]
    other = new_secret("fh")[3:-6]
    made = f"fh_{body[:shared]}{other[shared:]}"
    return made + ids._check(made)


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
            areas.append(await told_apart(near, far, SAMPLES, 18))
            if 0.45 <= areas[-1] <= 0.55:
                return
        raise AssertionError(f"told apart in every run: {areas}")


async def test_the_measure_can_tell(home: Home) -> None:
    """The positive control: what is refused by its form alone, and what is looked up, are a world apart."""
    async with staged(home) as stage:
        near = asking(stage.client, like(home.api_key, 42))
        assert await told_apart(near, asking(stage.client, "fh_no"), SAMPLES, 18) > 0.9
