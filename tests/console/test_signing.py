"""Coming in and going out through the console: invitations, codes, passkeys, throttling, and nothing that tells."""

import base64
import time
from typing import Any

import pytest
from sqlalchemy import update

from freehold.identity import invitations, passwords, totp
from freehold.identity.sessions import SignInPolicy
from freehold.storage import credentials, tables, users
from tests.conftest import Home
from tests.console.conftest import BUILT, PASSWORD, Browser, House, eventually, opened
from tests.identity.authenticator import PRESENT, Authenticator, b64

pytestmark = BUILT

NEW = "another fine long password"


@pytest.fixture(scope="session")
def password_hash() -> str:
    return passwords._hasher.hash(PASSWORD)


@pytest.fixture
async def ada(house: House, password_hash: str) -> users.User:
    return await house.account("owner", password_hash=password_hash, email="ada@example.org")


async def signed_in(house: House, ada: users.User) -> Browser:
    browser = house.browser()
    answer = await browser.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})
    assert answer.status == 200, answer.body
    return browser


async def with_app(browser: Browser) -> tuple[bytes, str, list[str]]:
    """Set an authenticator app up: its secret, the code that was used, the recovery codes."""
    secret = base64.b32decode((await browser.post("/api/factors/totp")).json()["secret"])
    code = code_of(secret)
    done = await browser.post("/api/factors/totp/confirm", {"code": code})
    assert done.status == 200, done.body
    return secret, code, done.json()["recovery_codes"]


def code_of(secret: bytes, offset: int = 0) -> str:
    return totp.code(secret, int(time.time() // totp.STEP_SECONDS) + offset)


async def passkey_of(browser: Browser, device: Authenticator, name: str = "laptop") -> Any:
    options = (await browser.post("/api/passkeys/options")).json()["options"]
    return await browser.post("/api/passkeys", {"name": name, "credential": device.make(options)})


async def by_passkey(browser: Browser, device: Authenticator) -> Any:
    options = (await browser.post("/api/sign-in/passkey/options")).json()["options"]
    return await browser.post("/api/sign-in/passkey", {"credential": device.sign(options)})


async def gone(browser: Browser) -> bool:
    return (await browser.get("/api/me")).status == 401


# --- invitations


async def test_an_invitation_makes_one_account_of_its_address(house: House) -> None:
    admin = await house.person("admin")
    made = (await admin.post("/api/invitations", {"email": "Bo@Example.org", "role": "reviewer"})).json()
    assert made["path"].startswith(invitations.LINK)
    token = made["path"].removeprefix(invitations.LINK)
    guest = house.browser()
    assert (await guest.post("/api/join/look", {"token": token})).json() == {
        "email": "bo@example.org",
        "role": "reviewer",
    }
    body = {"token": token, "name": "Bo", "password": PASSWORD}
    assert (await guest.post("/api/join", {**body, "email": "eve@example.org"})).status == 400
    assert (await guest.post("/api/claim", {**body, "email": "eve@example.org"})).code == "claim_invalid"
    assert (await guest.post("/api/join", {**body, "password": "123456123456"})).code == "password_common"
    assert (await guest.post("/api/join", body)).status == 200
    me = (await guest.get("/api/me")).json()
    assert (me["user"]["email"], me["user"]["role"]) == ("bo@example.org", "reviewer")
    assert (await house.browser().post("/api/join", body)).code == "claim_invalid"
    assert (await admin.get("/api/invitations")).json()["invitations"] == []
    assert (await admin.post("/api/invitations", {"email": "bo@example.org"})).code == "email_taken"


async def test_invitations_end_and_look_alike_when_they_have(house: House) -> None:
    admin = await house.person("admin")
    first = (await admin.post("/api/invitations", {"email": "bo@example.org"})).json()
    second = (await admin.post("/api/invitations", {"email": "bo@example.org"})).json()
    assert len((await admin.get("/api/invitations")).json()["invitations"]) == 1
    assert (await admin.call("DELETE", f"/api/invitations/{second['invitation']['id']}")).status == 200
    guest = house.browser()
    answers = set()
    for path in (first["path"], second["path"], invitations.LINK + "fhc_x", invitations.LINK):
        token = path.removeprefix(invitations.LINK)
        answers.add((await guest.post("/api/join/look", {"token": token})).like)
        answers.add((await guest.post("/api/join", {"token": token, "name": "Bo", "password": PASSWORD})).like)
    assert len(answers) == 1
    assert next(iter(answers))[0] == 403


async def test_nobody_invites_above_themselves(house: House) -> None:
    admin = await house.person("admin")
    assert (await admin.post("/api/invitations", {"email": "x@example.org", "role": "owner"})).code == "role_above"
    assert (await admin.post("/api/invitations", {"email": "x@example.org", "role": "service"})).code == "role_invalid"


# --- sessions


async def test_sign_in_makes_a_new_session_and_ends_the_old_one(house: House, ada: users.User) -> None:
    browser = await signed_in(house, ada)
    old = house.browser(cookies=dict(browser.cookies))
    await browser.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})
    assert browser.session != old.session
    await eventually(lambda: gone(old))
    assert not await gone(browser)


async def test_sessions_are_listed_and_ended(house: House, ada: users.User) -> None:
    one = await signed_in(house, ada)
    two = house.browser(address="2001:db8:1234::9")
    await two.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})
    listed = (await one.get("/api/sessions")).json()["sessions"]
    assert {(s["place"], s["current"]) for s in listed} == {("192.0.2.0/24", True), ("2001:db8::/32", False)}
    other = next(s["id"] for s in listed if not s["current"])
    assert (await one.call("DELETE", f"/api/sessions/{other}")).status == 200
    await eventually(lambda: gone(two))
    assert (await one.call("DELETE", f"/api/sessions/{other}")).status == 404
    three = await signed_in(house, ada)
    assert (await one.call("DELETE", "/api/sessions")).json() == {"ended": 1}
    await eventually(lambda: gone(three))
    assert not await gone(one)


async def test_a_session_ends_when_it_is_not_used_and_at_its_age(home: Home, password_hash: str) -> None:
    async with opened(home, SignInPolicy(absolute_hours=2, idle_hours=1)) as house:
        ada = await house.account("owner", password_hash=password_hash, email="ada@example.org")
        browser = await signed_in(house, ada)
        session = (await browser.get("/api/sessions")).json()["sessions"][0]
        assert session["expires_at"] - session["created_at"] == pytest.approx(3600)

        async def ends_at(moment: float) -> None:
            async with home.database.write() as connection:
                await credentials.extend(connection, session["id"], moment)

        async def expiry() -> float:
            return float((await browser.get("/api/sessions")).json()["sessions"][0]["expires_at"])

        async def moved() -> bool:
            return await expiry() > time.time() + 3000

        await ends_at(time.time() + 600)
        await eventually(moved)
        async with home.database.write() as connection:  # as if it had been opened nearly two hours ago
            opened_at = time.time() - 2 * 3600 + 900
            await connection.execute(
                update(tables.credentials).where(tables.credentials.c.id == session["id"]).values(created_at=opened_at)
            )
        await ends_at(time.time() + 300)

        async def moved_to_its_age() -> bool:
            return await expiry() == pytest.approx(opened_at + 2 * 3600)

        await eventually(moved_to_its_age)
        await ends_at(time.time() - 1)
        await eventually(lambda: gone(browser))


async def test_a_changed_password_ends_the_other_sessions(house: House, ada: users.User) -> None:
    one, two = await signed_in(house, ada), await signed_in(house, ada)
    before = one.session
    wrong = await one.post("/api/account/password", {"current": NEW, "password": NEW})
    assert (wrong.status, wrong.code) == (403, "password_wrong")
    weak = await one.post("/api/account/password", {"current": PASSWORD, "password": "qwertyuiop12345"})
    assert (weak.status, weak.code) == (400, "password_common")
    assert (await one.post("/api/account/password", {"current": PASSWORD, "password": NEW})).status == 200
    assert one.session != before
    await eventually(lambda: gone(two))
    assert not await gone(one)
    fresh = house.browser()
    assert (await fresh.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})).status == 401
    assert (await fresh.post("/api/sign-in", {"email": ada.email, "password": NEW})).status == 200


# --- the second factor


async def test_a_code_is_asked_for_and_counts_once(house: House, ada: users.User) -> None:
    browser = await signed_in(house, ada)
    before = browser.session
    secret, first, recovery = await with_app(browser)
    assert browser.session != before
    assert (await browser.get("/api/factors")).json()["recovery_codes_left"] == len(recovery) == 10

    fresh = house.browser()
    step = await fresh.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})
    assert step.json() == {"step": "code"}
    assert fresh.session == ""
    used = await fresh.post("/api/sign-in/code", {"code": first})  # the one that set the app up
    assert (used.status, used.code) == (401, "sign_in_failed")
    assert (await fresh.post("/api/sign-in/code", {"code": code_of(secret, 1)})).status == 200
    sessions = (await fresh.get("/api/sessions")).json()["sessions"]
    assert next(s["methods"] for s in sessions if s["current"]) == ["pwd", "otp"]
    assert (await fresh.post("/api/sign-in/code", {"code": recovery[0]})).status == 401  # the step is over

    again = house.browser()
    await again.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})
    assert (await again.post("/api/sign-in/code", {"code": recovery[0].upper()})).status == 200
    third = house.browser()
    await third.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})
    assert (await third.post("/api/sign-in/code", {"code": recovery[0]})).status == 401
    assert (await again.get("/api/factors")).json()["recovery_codes_left"] == 9


async def test_a_step_is_good_for_five_tries_and_one_browser(house: House, ada: users.User) -> None:
    secret, _, recovery = await with_app(await signed_in(house, ada))
    browser = house.browser()
    await browser.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})
    wrong = {(await browser.post("/api/sign-in/code", {"code": "000000"})).like for _ in range(5)}
    wrong.add((await browser.post("/api/sign-in/code", {"code": recovery[0]})).like)
    wrong.add((await house.browser().post("/api/sign-in/code", {"code": code_of(secret, 1)})).like)
    assert len(wrong) == 1
    assert next(iter(wrong))[0] == 401


async def test_the_app_is_removed_with_its_codes(house: House, ada: users.User) -> None:
    browser = await signed_in(house, ada)
    await with_app(browser)
    assert (await browser.post("/api/factors/totp")).code == "totp_exists"
    assert len((await browser.post("/api/factors/recovery")).json()["recovery_codes"]) == 10
    assert (await browser.call("DELETE", "/api/factors/totp")).status == 200
    found = (await browser.get("/api/factors")).json()
    assert (found["totp"], found["recovery_codes_left"]) == (False, 0)
    await signed_in(house, ada)


async def test_a_role_can_be_held_to_a_second_factor(home: Home, password_hash: str) -> None:
    async with opened(home, SignInPolicy(second_factor=frozenset({"owner"}))) as house:
        ada = await house.account("owner", password_hash=password_hash, email="ada@example.org")
        browser = await signed_in(house, ada)
        assert (await browser.get("/api/people")).code == "second_factor_needed"
        assert (await browser.get("/api/me")).json()["held_back"] is True
        await with_app(browser)
        assert (await browser.get("/api/people")).status == 200
        member = await house.person("member")
        assert (await member.get("/api/conversations")).status == 200


async def test_factors_change_only_after_a_fresh_proof(
    house: House, ada: users.User, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await signed_in(house, ada)
    monkeypatch.setattr("freehold.identity.sessions.FRESH_SECONDS", 0)
    for method, path in (
        ("POST", "/api/factors/totp"),
        ("DELETE", "/api/factors/totp"),
        ("POST", "/api/passkeys/options"),
        ("DELETE", "/api/passkeys/psk_x"),
    ):
        assert (await browser.call(method, path)).code == "confirm_first"
    monkeypatch.undo()
    before = browser.session
    assert (await browser.post("/api/account/confirm", {"password": "wrong"})).code == "password_wrong"
    assert (await browser.post("/api/account/confirm", {"password": PASSWORD})).status == 200
    assert browser.session != before


# --- passkeys


async def test_a_passkey_signs_in_without_an_address(house: House, ada: users.User) -> None:
    browser, device = await signed_in(house, ada), Authenticator()
    assert (await passkey_of(browser, device)).status == 201
    guest = house.browser()
    assert (await by_passkey(guest, device)).json()["user"]["id"] == ada.id
    sessions = (await guest.get("/api/sessions")).json()["sessions"]
    assert next(s["methods"] for s in sessions if s["current"]) == ["passkey"]
    made = (await guest.get("/api/factors")).json()["passkeys"]
    assert [p["name"] for p in made] == ["laptop"]
    assert (await guest.call("PATCH", f"/api/passkeys/{made[0]['id']}", {"name": "phone"})).status == 200
    assert (await guest.get("/api/factors")).json()["passkeys"][0]["name"] == "phone"
    assert (await guest.call("DELETE", f"/api/passkeys/{made[0]['id']}")).status == 200
    assert (await by_passkey(house.browser(), device)).code == "sign_in_failed"


@pytest.mark.parametrize(
    "cheat",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://localhost:8444"},
        {"origin": "http://localhost:8443"},
        {"rp_id": "evil.example"},
        {"challenge": b64(b"c" * 32)},
        {"flags": PRESENT},
        {"flags": 0},
        {"kind": "webauthn.other"},
    ],
    ids=str,
)
async def test_a_ceremony_that_cheats_is_refused(house: House, ada: users.User, cheat: dict[str, Any]) -> None:
    browser = await signed_in(house, ada)
    assert (await passkey_of(browser, Authenticator(**cheat))).code == "passkey_invalid"
    device = Authenticator()
    assert (await passkey_of(browser, device)).status == 201
    for name, value in cheat.items():
        setattr(device, name, value)
    failed = await by_passkey(house.browser(), device)
    assert (failed.status, failed.code) == (401, "sign_in_failed")


async def test_challenges_and_copies_are_good_once(house: House, ada: users.User) -> None:
    browser, device = await signed_in(house, ada), Authenticator(counter=5)
    await passkey_of(browser, device)
    assert (await passkey_of(browser, device)).code == "passkey_invalid"  # known already
    device.counter = 6
    guest = house.browser()
    options = (await guest.post("/api/sign-in/passkey/options")).json()["options"]
    signed = device.sign(options)
    thief = house.browser(cookies=dict(guest.cookies))
    assert (await guest.post("/api/sign-in/passkey", {"credential": signed})).status == 200
    assert (await thief.post("/api/sign-in/passkey", {"credential": signed})).status == 401
    assert (await by_passkey(house.browser(), device)).status == 401  # the counter stood still: a copy
    device.counter = 7
    assert (await by_passkey(house.browser(), device)).status == 200
    device.counter, device.user_handle = 8, b"usr_somebody_else"
    assert (await by_passkey(house.browser(), device)).status == 401


async def test_a_passkey_opens_its_own_workspace_and_an_enabled_account_only(house: House, ada: users.User) -> None:
    device = Authenticator()
    await passkey_of(await signed_in(house, ada), device)
    await house.other_workspace("other.example")

    async def known() -> bool:
        site = (await house.browser(host="other.example").get("/api/site")).json()
        return str(site["workspace"]["name"]) == "Other"

    await eventually(known)
    device.origin = "https://other.example"
    there = await by_passkey(house.browser(host="other.example"), device)
    stranger = await by_passkey(house.browser(host="other.example"), Authenticator(origin=device.origin))
    assert there.like == stranger.like
    device.origin = "https://localhost:8443"
    async with house.home.database.write() as connection:
        await users.change(connection, ada.id, disabled_at=1.0)
    assert (await by_passkey(house.browser(), device)).like == stranger.like


# --- nothing tells


async def test_sign_in_answers_alike_whoever_it_is(house: House, ada: users.User, password_hash: str) -> None:
    gone_away = await house.account("member", password_hash=password_hash)
    async with house.home.database.write() as connection:
        await users.change(connection, gone_away.id, disabled_at=1.0)
    passkey_only = await house.account("member")
    answers = set()
    for email in (ada.email, gone_away.email, passkey_only.email, "nobody@example.org", "", "x" * 5000):
        browser = house.browser()
        answers.add((await browser.post("/api/sign-in", {"email": email, "password": "wrong horse battery"})).like)
        answers.add((await browser.post("/api/sign-in", {"email": email, "password": "x" * 5000})).like)
    disabled = await house.browser().post("/api/sign-in", {"email": gone_away.email, "password": PASSWORD})
    assert {*answers, disabled.like} == {disabled.like}
    assert disabled.status == 401


async def test_tries_are_throttled_per_account_and_per_address(house: House, ada: users.User) -> None:
    premises = house.console._premises
    assert premises is not None
    for throttle in (premises.doors._accounts, premises.doors._addresses):
        throttle._clock = lambda: 0.0  # time stands still
    counted = []
    for email in (ada.email, "nobody@example.org"):
        statuses = []
        for n in range(12):
            browser = house.browser(address=f"198.51.100.{n}")
            statuses.append((await browser.post("/api/sign-in", {"email": email, "password": "x"})).status)
        counted.append(statuses)
    assert counted == [[401] * 10 + [429] * 2] * 2
    busy = house.browser(address="203.0.113.5")
    answers = [await busy.post("/api/sign-in/passkey/options") for _ in range(101)]
    assert [answer.status for answer in answers] == [200] * 100 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    for path, body in (
        ("/api/sign-in", {"email": "x@example.org", "password": "x"}),
        ("/api/sign-in/code", {"code": "000000"}),
        ("/api/join/look", {"token": "x"}),
        ("/api/join", {"token": "x", "name": "x", "password": NEW}),
        ("/api/claim", {"token": "x", "name": "x", "email": "x@example.org", "password": NEW}),
    ):
        assert (await busy.post(path, body)).code == "too_many_tries"
    assert (await house.browser().post("/api/sign-in", {"email": "x@example.org", "password": "x"})).status == 401
