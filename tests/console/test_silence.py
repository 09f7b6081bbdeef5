"""Time does not tell who has an account: known and unknown, interleaved, told apart no better than by tossing a coin.

Measured where a request names somebody: an address, an invitation, a passkey. (The second step names nobody.)

The password hash is made cheap here, so that what it hides in life (a row that is read or not) would show. Each measure
is the probability that an answer about something known is slower than one about something unknown; a single odd run of
a busy machine is repeated.
"""

import itertools
from collections.abc import Awaitable, Callable

import argon2
import pytest

from freehold.identity import invitations, passkeys, passwords
from freehold.identity.passkeys import Assertion, Signed
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_secret
from tests.console.conftest import BUILT, PASSWORD, House
from tests.console.test_signing import passkey_of
from tests.identity.authenticator import Authenticator
from tests.timing import Probe, told_apart

pytestmark = [BUILT, pytest.mark.slow, pytest.mark.soak]

SAMPLES, RUNS = 600, 5


async def silent(known: Probe, unknown: Probe) -> None:
    areas = []
    for _ in range(RUNS):
        areas.append(await told_apart(known, unknown, SAMPLES, 3))
        if 0.45 <= areas[-1] <= 0.55:
            return
    raise AssertionError(f"told apart in every run: {areas}")


def refusing(call: Callable[[], Awaitable[object]]) -> Probe:
    async def probe() -> None:
        try:
            await call()
        except Refused as error:
            assert error.status in (401, 403)
        else:
            raise AssertionError("this was to be refused")

    return probe


@pytest.fixture
def quick(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of a millisecond, and throttles whose clock runs ahead."""
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=512, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", hasher)
    monkeypatch.setattr(passwords, "_nobody", hasher.hash("nobody"))
    premises = house.console._premises
    assert premises is not None
    for throttle in (premises.doors._accounts, premises.doors._addresses):
        clock = itertools.count(0.0, 1e6)
        throttle._clock = lambda clock=clock: float(next(clock))  # type: ignore[misc]


@pytest.mark.usefixtures("quick")
async def test_of_an_address(house: House) -> None:
    ada = await house.account("owner", password_hash=await passwords.hashed(PASSWORD), email="ada@example.org")
    browser = house.browser()

    def sign_in(email: str) -> Probe:
        async def probe() -> None:
            assert (await browser.post("/api/sign-in", {"email": email, "password": "wrong horse"})).status == 401

        return probe

    await silent(sign_in(str(ada.email)), sign_in("eve@example.org"))


async def test_of_an_invitation(house: House) -> None:
    home = house.home
    made, token = await invitations.invite(
        home.database, home.key, home.workspace.id, email="x@example.org", role="member", actor=None, hours=1
    )
    await invitations.revoke(home.database, home.workspace.id, made.id)
    unknown = new_secret("fhc")

    def look(secret: str) -> Probe:
        return refusing(lambda: invitations.look(home.database, home.key, home.workspace.id, secret))

    await silent(look(token), look(unknown))


async def test_of_a_passkey(house: House) -> None:
    home, ada = house.home, await house.account("owner")
    device, forged = Authenticator(), Authenticator()
    assert (await passkey_of(await house.signed_in(ada), device)).status == 201
    site = passkeys.Site("localhost", "https://localhost:8443", "")
    options, state = passkeys.begin_sign_in(site)

    def sign_in(credential: bytes) -> Probe:
        forged.credential, forged.user_handle = credential, ada.id.encode()
        told = forged.sign(options)
        answer = Assertion(told["id"], Signed(**told["response"]))
        return refusing(lambda: passkeys.sign_in(home.database, site, home.workspace.id, state, answer))

    await silent(sign_in(device.credential), sign_in(b"u" * 32))
