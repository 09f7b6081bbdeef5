"""What ASVS V6 and V7 ask of passwords and sessions, through the live console: blocklist, length, rotation, the end."""

import base64

import pytest

from freehold.identity import passwords
from freehold.identity.directory import Directory
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_secret
from freehold.storage import users
from tests.console.conftest import BUILT, PASSWORD, Browser, House, eventually
from tests.console.test_signing import gone, with_app

pytestmark = [BUILT, pytest.mark.slow]

LONG = "über allen gipfeln ist ruh " * 37  # 999 characters, spaces and more than ASCII among them


def test_three_thousand_common_passwords_and_what_is_made_of_them_are_refused() -> None:
    common = sorted(passwords._common())
    assert len(common) >= 3000
    refused = 0
    for word in common:
        padded = [word + "123456789012", f"{word.title()}!!2024!!2025", word * 4] if word.isalpha() else []
        for made in (word, *padded):
            if len(made) < passwords.MIN_PASSWORD:
                continue
            with pytest.raises(Refused):
                passwords.check(made)
            refused += 1
    assert refused >= 3000
    passwords.check("seven lamps by the river")  # and the check does let others through


@pytest.mark.parametrize("length", [64, 128, 999, 1024])
async def test_long_passwords_are_taken_whole(house: House, length: int) -> None:
    password = (LONG + "x" * 100)[:length]
    ada = await house.account("member", password_hash=await passwords.hashed(password), email="ada@example.org")
    browser = house.browser()
    assert (await browser.post("/api/sign-in", {"email": ada.email, "password": password[:-1]})).status == 401
    assert (await browser.post("/api/sign-in", {"email": ada.email, "password": password})).status == 200
    changed = await browser.post("/api/account/password", {"current": password, "password": password[::-1]})
    assert changed.status == 200
    assert (await house.browser().post("/api/sign-in", {"email": ada.email, "password": password[::-1]})).status == 200


async def test_one_longer_than_any_is_refused_and_not_cut(house: House) -> None:
    browser = await house.person("member")
    assert (await browser.post("/api/account/password", {"password": LONG + "x" * 26})).code == "password_weak"


def test_a_session_is_256_random_bits() -> None:
    bodies = [base64.urlsafe_b64decode(new_secret("fhs")[4:-6] + "=") for _ in range(1000)]
    assert {len(body) for body in bodies} == {32}
    assert len(set(bodies)) == 1000
    ones = sum(bin(int.from_bytes(body, "big")).count("1") for body in bodies)
    assert abs(ones - 128_000) < 5 * 253  # five standard deviations of a thousand times 256 coins


@pytest.fixture
async def ada(house: House) -> users.User:
    return await house.account("owner", password_hash=await passwords.hashed(PASSWORD), email="ada@example.org")


async def signed_in(house: House, ada: users.User, browser: Browser | None = None) -> Browser:
    browser = browser or house.browser()
    assert (await browser.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})).status == 200
    return browser


async def test_a_session_that_was_planted_is_not_taken_over(house: House, ada: users.User) -> None:
    """Fixation: whatever cookie a browser brings to the sign-in, what it gets is fresh, and the old is no way in."""
    thief = await house.person("member")
    for planted in (new_secret("fhs"), "x" * 50, thief.session):
        browser = await signed_in(house, ada, house.browser(cookies={"__Host-freehold": planted}))
        assert browser.session != planted
        other = house.browser(cookies={"__Host-freehold": planted})
        assert (await other.get("/api/me")).status == 401 or (await other.get("/api/me")).json()["user"]["id"] != ada.id


async def test_every_elevation_makes_a_new_session_and_ends_the_old_one(house: House, ada: users.User) -> None:
    browser = await signed_in(house, ada)
    seen = [browser.session]
    for path, body in (
        ("/api/account/confirm", {"password": PASSWORD}),
        ("/api/account/password", {"current": PASSWORD, "password": "another fine long password"}),
    ):
        assert (await browser.post(path, body)).status == 200
        seen.append(browser.session)
    await with_app(browser)
    seen.append(browser.session)
    assert len(set(seen)) == 4
    for old in seen[:-1]:
        await eventually(lambda old=old: gone(house.browser(cookies={"__Host-freehold": old})))  # type: ignore[misc]
    assert not await gone(browser)


async def test_after_signing_out_the_secret_is_dead_at_every_door(house: House, ada: users.User) -> None:
    browser = await signed_in(house, ada)
    secret = browser.session
    async with Directory(house.home.database, house.home.key).running() as gateway:
        assert (await gateway.authenticate(secret)).user_id == ada.id
        answer = await browser.post("/api/sign-out")
        assert answer.status == 200
        assert browser.session == ""

        async def dead() -> bool:
            try:
                await gateway.authenticate(secret)
            except Refused:
                return True
            return False

        await eventually(dead)
    await eventually(lambda: gone(house.browser(cookies={"__Host-freehold": secret})))
