"""Signing in by a provider: a real one (Authlib), through the real relay (Envoy), and all that goes wrong there."""

import asyncio
import base64
import contextlib
import hashlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest

from freehold.cli.discovery import discover
from freehold.console import outward
from freehold.edge import certificates, process, relay
from freehold.edge.identity import SignIn
from freehold.edge.names import Names
from freehold.identity import declaring, tokens
from freehold.identity import providers as identity
from freehold.identity.declaring import Declaration
from freehold.protocol.errors import Unavailable
from freehold.settings import Edge, Layout
from freehold.storage import credentials, groups, providers, users
from tests.conftest import Home, until
from tests.console.conftest import BUILT, HOST, Answer, Browser, House, opened
from tests.identity.issuer import ADA, CLIENT, SECRET, Issuer, issuing

pytestmark = BUILT

CROSSING, SESSION = "__Host-freehold-crossing", "__Host-freehold"


@pytest.fixture(scope="module")
def issuers() -> Iterator[tuple[Issuer, Issuer]]:
    """Two providers of two parties."""
    with issuing() as one, issuing() as other:
        yield one, other


@pytest.fixture(scope="module")
def way_out(issuers: tuple[Issuer, Issuer]) -> Iterator[Path]:
    """The relay that leads to both, and the socket of it."""
    with leading_to(*issuers) as socket:
        yield socket


@contextlib.contextmanager
def leading_to(*issuers: Issuer) -> Iterator[Path]:
    """A real relay with these providers declared; its socket for them."""
    with contextlib.ExitStack() as stack:
        layout = Layout(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fh-relay-"))))
        layout.create()
        asked = [SignIn("x", identity.outward(one.url, discover(one.url, one.ca)), one.ca) for one in issuers]
        relay.write(layout, {}, asked)
        log = stack.enter_context((layout.logs / "relay.log").open("wb"))
        envoy = subprocess.Popen(process.command(layout.edge / relay.BOOTSTRAP), stderr=log)
        stack.callback(envoy.wait, 10)
        stack.callback(envoy.kill)
        ready = threading.Thread(target=lambda: asyncio.run(process.ready(relay.admin_socket(layout))))
        ready.start()  # a test's own loop may run here
        ready.join(15)
        yield layout.identity_relay


@dataclass
class Scene:
    """A console with two providers, `staff` and `other`, and an owner."""

    house: House
    home: Home
    staff: Issuer
    other: Issuer

    async def declare(self, name: str, issuer: Issuer, **more: Any) -> providers.Provider:
        """What the operator does."""
        secret = more.pop("client_secret", SECRET)
        wanted = Declaration(name, name.title(), issuer.url, CLIENT, client_secret=secret, ca=issuer.ca, **more)
        metadata = discover(issuer.url, issuer.ca)
        return await declaring.declare(self.home.database, self.home.key, self.home.workspace.id, wanted, metadata)

    async def leave(self, browser: Browser, name: str = "staff", query: str = "") -> str:
        """The button is pressed: where the browser is sent."""
        answer = await browser.call("GET", f"/sign-in/with/{name}{query}")
        assert answer.status == 302, answer.body
        assert "__Host-freehold-crossing" in answer.headers["set-cookie"]
        return answer.headers["location"]

    async def back(self, browser: Browser, location: str, name: str = "") -> Answer:
        """The provider sends the browser back: a navigation from another site, so Strict cookies stay at home."""
        parts = urlsplit(location)
        path = f"/sign-in/back/{name}" if name else parts.path
        hidden = {n: v for n, v in browser.cookies.items() if n != CROSSING}
        browser.cookies = {n: v for n, v in browser.cookies.items() if n == CROSSING}
        answer = await browser.call("GET", f"{path}?{parts.query}", sec_fetch_site="cross-site", origin="null")
        browser.cookies = hidden | browser.cookies
        return answer

    async def sign_in(self, browser: Browser, name: str = "staff", person: str = "") -> Answer:
        """The whole way."""
        issuer = self.staff if name == "staff" else self.other
        return await self.back(browser, issuer.authorize(await self.leave(browser, name), person))

    async def tell(self, token: str, name: str = "staff", **headers: str) -> int:
        """The provider says that somebody signed out."""
        sent = {"content-type": "application/x-www-form-urlencoded", "host": HOST, "x-freehold-host": HOST, **headers}
        body = urlencode({"logout_token": token}).encode()
        return (await self.house.client.post(f"/sign-out/from/{name}", headers=sent, content=body)).status_code


@pytest.fixture
async def scene(home: Home, issuers: tuple[Issuer, Issuer], way_out: Path) -> AsyncIterator[Scene]:
    for issuer in issuers:
        issuer.tell(do="reset")
    there = home.settings.layout.identity_relay
    there.parent.mkdir(mode=0o700)
    there.symlink_to(way_out)
    async with home.database.write() as connection:
        await users.create(connection, home.workspace.id, name="Owner", email="owner@example.org", role="owner")
        await groups.create(connection, home.workspace.id, "Staff", "reviewer")
    async with opened(home) as house:
        made = Scene(house, home, *issuers)
        await made.declare("staff", issuers[0], groups={"staff": "Staff"})
        await made.declare("other", issuers[1])
        yield made


def problem(answer: Answer) -> str:
    """The word with which somebody landed on the sign-in page."""
    assert answer.status == 302, (answer.status, answer.body)
    parts = urlsplit(answer.headers["location"])
    assert (parts.scheme, parts.netloc, parts.path) == ("", "", "/")
    assert SESSION not in (line.partition("=")[0] for line in answer.headers.get_list("set-cookie"))
    return parse_qs(parts.query)["problem"][0]


async def test_somebody_signs_in_and_the_page_has_their_session(scene: Scene) -> None:
    browser = scene.house.browser()
    address = await scene.leave(browser, query="?to=/chat/con_abc")
    asked = {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}
    assert asked.keys() == {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
                            "code_challenge_method"}  # fmt: skip
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["redirect_uri"] == f"https://{HOST}/sign-in/back/staff"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    answer = await scene.back(browser, scene.staff.authorize(address))
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'content="0;url=/chat/con_abc"' in answer.body
    assert b"script" not in answer.body
    lines = {line.partition("=")[0]: line for line in answer.headers.get_list("set-cookie")}
    assert all(word in lines[SESSION] for word in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"))
    assert CROSSING not in browser.cookies
    me = (await browser.get("/api/me")).json()
    assert me["user"] == {"id": me["user"]["id"], "name": ADA["name"], "email": ADA["email"], "role": "reviewer"}
    assert me["held_back"] is False
    factors = (await browser.get("/api/factors")).json()
    assert [(one["name"], one["title"]) for one in factors["providers"]] == [("staff", "Staff")]
    sessions = (await browser.get("/api/sessions")).json()["sessions"]
    assert [session["methods"] for session in sessions] == [["oidc"]]


@pytest.mark.slow
async def test_the_cookie_of_the_crossing_is_lax_and_bound_to_the_host(scene: Scene) -> None:
    answer = await scene.house.browser().get("/sign-in/with/staff")
    (line,) = answer.headers.get_list("set-cookie")
    for word in ("__Host-freehold-crossing=", "Secure", "HttpOnly", "SameSite=lax", "Path=/", "Max-Age=300"):
        assert word in line
    assert "domain" not in line.lower()


@pytest.mark.slow
async def test_the_page_knows_the_providers_of_its_workspace(scene: Scene) -> None:
    other = await scene.house.other_workspace()
    site = (await scene.house.browser().get("/api/site")).json()
    assert site["providers"] == [{"name": "other", "title": "Other"}, {"name": "staff", "title": "Staff"}]
    stranger = scene.house.browser(host="other.example")

    async def heard() -> bool:
        return bool((await stranger.get("/api/site")).json()["workspace"]["name"] == other.name)

    await until(heard, 5)
    assert (await stranger.get("/api/site")).json()["providers"] == []
    assert problem(await stranger.get("/sign-in/with/staff")) == "provider_unknown"


async def test_an_answer_is_for_the_browser_that_asked(scene: Scene) -> None:
    victim, attacker = scene.house.browser(), scene.house.browser()
    location = scene.staff.authorize(await scene.leave(attacker))
    assert problem(await scene.back(victim, location)) == "sign_in_again", "login CSRF: no crossing at all"
    await scene.leave(victim)
    assert problem(await scene.back(victim, location)) == "sign_in_again", "login CSRF: another crossing"
    assert not victim.session
    assert (await scene.back(attacker, location)).status == 200


async def test_an_answer_is_good_once(scene: Scene) -> None:
    browser = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(browser))
    cookie = browser.cookies[CROSSING]
    assert (await scene.back(browser, location)).status == 200
    browser.cookies = {CROSSING: cookie}
    assert problem(await scene.back(browser, location)) == "sign_in_again"
    asked = scene.staff.tell(do="seen").count("POST /token")
    again = await scene.leave(browser)
    code = parse_qs(urlsplit(location).query)["code"][0]
    state = parse_qs(urlsplit(again).query)["state"][0]
    replayed = f"/?{urlencode({'code': code, 'state': state, 'iss': scene.staff.url})}"
    assert problem(await scene.back(browser, replayed, "staff")) == "provider_away", "the provider takes no code twice"
    assert scene.staff.tell(do="seen").count("POST /token") == asked + 1


TWISTED: tuple[dict[str, str | None], ...] = (
    {"state": None}, {"state": ""}, {"state": "x"}, {"iss": None}, {"iss": ""}, {"iss": "https://evil.example"},
    {"code": None}, {"code": ""}, {"error": "access_denied"},
    {"error": "<script>alert(1)</script>", "error_description": "x" * 500},
)  # fmt: skip


async def test_a_twisted_answer_is_none(scene: Scene) -> None:
    browser = scene.house.browser()
    for changed in TWISTED:
        scene.staff.tell(do="set", back=changed)
        location = scene.staff.authorize(await scene.leave(browser))
        assert problem(await scene.back(browser, location)) in ("sign_in_again", "provider_denied"), changed
    assert scene.staff.tell(do="seen").count("POST /token") == 0
    assert not browser.session


@pytest.mark.slow
async def test_a_parameter_twice_is_refused(scene: Scene) -> None:
    browser = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(browser))
    state = parse_qs(urlsplit(location).query)["state"][0]
    assert problem(await scene.back(browser, f"{location}&state={state}")) == "sign_in_again"


async def test_a_provider_that_does_not_say_who_it_is_cannot_be_mixed_up_either(scene: Scene) -> None:
    for issuer, name in ((scene.staff, "honest"), (scene.other, "greedy")):
        issuer.tell(do="set", document={"authorization_response_iss_parameter_supported": False}, back={"iss": None})
        await scene.declare(name, issuer)
    browser = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(browser, "honest"))
    assert problem(await scene.back(browser, location, "greedy")) == "sign_in_again"
    assert scene.other.tell(do="seen").count("POST /token") == 0, "no code goes to a provider that did not give it"
    location = scene.staff.authorize(await scene.leave(browser, "honest"))
    assert (await scene.back(browser, location)).status == 200


@pytest.mark.slow
async def test_one_providers_answer_is_not_anothers(scene: Scene) -> None:
    """Mix-up: the honest provider's code must not go to the other one, nor be taken for its."""
    browser = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(browser))
    assert problem(await scene.back(browser, location, "other")) == "sign_in_again"
    scene.other.tell(do="set", back={"iss": scene.staff.url})
    location = scene.other.authorize(await scene.leave(browser, "other"))
    assert problem(await scene.back(browser, location)) == "sign_in_again", (
        "the issuer that answers must be the one asked"
    )
    assert scene.other.tell(do="seen").count("POST /token") == 0
    assert (await scene.sign_in(browser, "other")).status == 302, (
        "the same address at another provider is another person"
    )


@pytest.mark.slow
async def test_somebody_is_one_person_at_each_provider(scene: Scene) -> None:
    one, other = scene.house.browser(), scene.house.browser()
    assert (await scene.sign_in(one)).status == 200
    assert problem(await scene.sign_in(other, "other")) == "provider_email_taken", (
        "same subject, same address, not the same"
    )
    scene.other.tell(do="set", people={"ada": {**ADA, "email": "ada@other.example", "email_verified": True}})
    assert (await scene.sign_in(other, "other")).status == 200
    assert (await one.get("/api/me")).json()["user"]["id"] != (await other.get("/api/me")).json()["user"]["id"]


TWISTS: list[tuple[dict[str, Any], str]] = [
    ({"nonce": "other"}, "sign_in_again"), ({"nonce": None}, "sign_in_again"), ({"aud": "other"}, "sign_in_again"),
    ({"aud": [CLIENT, "other"]}, "sign_in_again"), ({"azp": "other"}, "sign_in_again"),
    ({"iss": "https://x.example"}, "sign_in_again"),
    ({"exp": 1}, "sign_in_again"), ({"iat": 4_000_000_000}, "sign_in_again"), ({"at_hash": "x"}, "sign_in_again"),
    ({"header": {"typ": "at+jwt"}}, "sign_in_again"),
    ({"header": {"jku": "https://evil.example"}}, "sign_in_again"), ({"sub": None}, "sign_in_again"),
    ({"email_verified": False}, "provider_email_unverified"), ({"email": None}, "provider_email_unverified"),
    ({"email": "owner@example.org"}, "provider_email_taken"),
]  # fmt: skip


@pytest.mark.slow
async def test_a_twisted_id_token_lets_nobody_in(scene: Scene) -> None:
    browser = scene.house.browser()
    for twist, code in TWISTS:
        userinfo = {"email": twist["email"]} if "email" in twist else {}
        scene.staff.tell(do="set", twist={**twist, "userinfo": userinfo})
        assert problem(await scene.sign_in(browser)) == code, twist
    assert not browser.session
    scene.staff.tell(do="set", twist={})
    assert (await scene.sign_in(browser)).status == 200


@pytest.mark.slow
async def test_pkce_binds_the_code_to_this_sign_in(scene: Scene) -> None:
    browser, thief = scene.house.browser(), scene.house.browser()
    stolen = parse_qs(urlsplit(scene.staff.authorize(await scene.leave(browser))).query)["code"][0]
    theirs = parse_qs(urlsplit(await scene.leave(thief)).query)
    injected = f"/?{urlencode({'code': stolen, 'state': theirs['state'][0], 'iss': scene.staff.url})}"
    assert problem(await scene.back(thief, injected, "staff")) == "provider_away"
    assert scene.staff.tell(do="seen").count("POST /token") == 1
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert theirs["code_challenge"] != [challenge]


@pytest.mark.slow
async def test_a_thin_id_token_is_filled_from_userinfo_of_the_same_person(scene: Scene) -> None:
    scene.staff.tell(do="set", thin=True)
    browser = scene.house.browser()
    assert (await scene.sign_in(browser)).status == 200
    me = (await browser.get("/api/me")).json()["user"]
    assert (me["email"], me["role"]) == (ADA["email"], "reviewer")
    scene.staff.tell(do="set", twist={"userinfo": {"sub": "eve"}})
    assert problem(await scene.sign_in(scene.house.browser())) == "sign_in_again"


async def test_an_address_and_its_being_verified_come_from_one_source(scene: Scene) -> None:
    """Else whoever can set one of the two has the account of any address."""
    await scene.declare("linking", scene.staff, link_by_email=True)
    victim = "owner@example.org"
    for of_token, of_userinfo in (
        ({"email": victim}, {"email": "ada@example.org", "email_verified": True}),
        ({"email_verified": True}, {"email": victim}),
        ({"email": victim, "email_verified": False}, {"email": victim, "email_verified": True}),
        ({"email_verified": False}, {"email": victim, "email_verified": True}),
        ({"email": victim, "email_verified": True}, {"email": victim, "email_verified": False}),
        ({"email": victim}, {"email": victim, "email_verified": "true"}),
        ({"email": victim}, {}),
    ):
        person = {"sub": "eve", "name": "Eve", **of_userinfo}
        empty = {"email": None, "email_verified": None, "name": None, "groups": None}
        scene.staff.tell(do="set", people={"ada": person}, twist={**empty, **of_token})
        browser = scene.house.browser()
        location = scene.staff.authorize(await scene.leave(browser, "linking"))
        assert problem(await scene.back(browser, location)) == "provider_email_unverified", (of_token, of_userinfo)
    owner = {"sub": "o", "email": victim, "email_verified": True}
    scene.staff.tell(do="set", people={"ada": owner}, twist={"email": victim, "email_verified": None})
    browser = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(browser, "linking"))
    assert (await scene.back(browser, location)).status == 200


@pytest.mark.slow
async def test_groups_are_those_of_the_last_sign_in(scene: Scene) -> None:
    browser = scene.house.browser()
    await scene.sign_in(browser)
    assert (await browser.get("/api/me")).json()["user"]["role"] == "reviewer"
    scene.staff.tell(do="set", people={"ada": {**ADA, "groups": []}})
    again = scene.house.browser()
    await scene.sign_in(again)

    async def lowered() -> bool:
        return bool((await browser.get("/api/me")).json()["user"]["role"] == "member")

    assert await until(lowered, 5) < 1.0, "everywhere, not only where the person signed in again"


@pytest.mark.slow
async def test_a_rotated_key_is_looked_for_when_it_is_met(scene: Scene) -> None:
    for algorithm in ("ES256",):
        scene.staff.tell(do="rotate", algorithm=algorithm)
    browser = scene.house.browser()
    assert (await scene.sign_in(browser)).status == 200
    scene.staff.tell(do="rotate", publish=False)
    asked = scene.staff.tell(do="seen").count("GET /jwks")
    for _ in range(3):
        assert problem(await scene.sign_in(scene.house.browser())) == "sign_in_again", "a key that nobody published"
    assert scene.staff.tell(do="seen").count("GET /jwks") == asked, "at most one look in half a minute"
    scene.staff.tell(do="rotate", algorithm="RS256")


@pytest.mark.slow
async def test_the_gateway_may_ask_for_keys(scene: Scene) -> None:
    key_id = scene.staff.tell(do="rotate", algorithm="Ed25519")
    async with scene.home.database.write() as connection:
        found = await providers.named(connection, scene.home.workspace.id, "staff")
        assert found is not None
        await providers.want_keys(connection, found.id)

    async def there() -> bool:
        async with scene.home.database.read() as connection:
            fresh = await providers.get(connection, found.id)
        metadata = identity.metadata_of(fresh) if fresh is not None else None
        return metadata is not None and key_id in [key["kid"] for key in metadata.keys]

    await until(there, 5)
    scene.staff.tell(do="rotate", algorithm="RS256")


@pytest.mark.slow
async def test_what_was_learned_is_looked_at_again_after_six_hours(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.home.database.write() as connection:
        found = await providers.named(connection, scene.home.workspace.id, "staff")
        assert found is not None
        assert found.metadata is not None
        old = time.time() - 6 * 3600 - 1
        await providers.learned(connection, found.id, found.metadata, fetched_at=old, changed=False)
    monkeypatch.setattr(outward, "_LOOK_SECONDS", 0.02)
    relay_socket = scene.home.settings.layout.identity_relay
    async with outward.Keepsakes(scene.home.database, outward.Outward(relay_socket)).running():

        async def fresh() -> bool:
            async with scene.home.database.read() as connection:
                now = await providers.get(connection, found.id)
            return now is not None and (now.fetched_at or 0) > time.time() - 60

        await until(fresh, 5)
    seen = [issuer.tell(do="seen").count("GET /jwks") for issuer in (scene.staff, scene.other)]
    assert seen == [2, 1], "each was asked when it was declared; what is fresh is left"


@pytest.mark.slow
async def test_a_provider_that_names_another_server_is_not_followed(scene: Scene) -> None:
    async with scene.home.database.read() as connection:
        found = await providers.named(connection, scene.home.workspace.id, "staff")
    assert found is not None
    before = identity.metadata_of(found)
    assert before is not None
    scene.staff.tell(do="set", document={"token_endpoint": f"{scene.other.url}/token"})
    keepsakes = outward.Keepsakes(scene.home.database, outward.Outward(scene.home.settings.layout.identity_relay))
    fresh = identity.metadata_of(await keepsakes.look(found))
    assert fresh == msgspec.structs.replace(before, undeclared=(scene.other.url,), keys=fresh.keys if fresh else ())
    assert (await scene.sign_in(scene.house.browser())).status == 200, "what was declared goes on"


@pytest.mark.slow
async def test_the_relay_leads_nowhere_else(scene: Scene) -> None:
    out = outward.Outward(scene.home.settings.layout.identity_relay)
    for address in (f"{scene.staff.url}/-/", f"{scene.staff.url}/authorize", f"{scene.staff.url}/jwks?x=1",
                    f"{scene.staff.url}/jwks/", "http://127.0.0.1:1/jwks", "https://example.org/"):  # fmt: skip
        with pytest.raises(Unavailable):
            await out.get(address)
    with pytest.raises(Unavailable):
        await out.post(f"{scene.staff.url}/-/", {"do": "reset"})
    assert json.loads(await out.get(f"{scene.staff.url}/jwks"))["keys"]


@pytest.mark.slow
async def test_a_provider_that_is_away_is_said_so(scene: Scene) -> None:
    browser = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(browser))
    scene.staff.tell(do="set", away=True)
    assert problem(await scene.back(browser, location)) == "provider_away"


@pytest.mark.slow
async def test_who_gives_up_there_is_told_so(scene: Scene) -> None:
    assert problem(await scene.sign_in(scene.house.browser(), person="nobody")) == "provider_denied"


@pytest.mark.slow
async def test_only_pages_of_ours_are_gone_to(scene: Scene) -> None:
    for wanted in ("//evil.example", "https://evil.example", "/\\evil.example", "/api/me", "javascript:alert(1)",
                   "/chat/../x",
                   '/chat/"><script>', "/sign-in/with/staff", "/chat//x", "chat"):  # fmt: skip
        browser = scene.house.browser()
        address = await scene.leave(browser, query=f"?{urlencode({'to': wanted})}")
        answer = await scene.back(browser, scene.staff.authorize(address))
        assert b'content="0;url=/"' in answer.body, wanted


@pytest.mark.slow
async def test_a_session_that_was_there_ends_with_the_new_one(scene: Scene) -> None:
    browser = await scene.house.signed_in(await scene.house.account())
    before = browser.session
    await scene.sign_in(browser)
    assert browser.session != before
    old = scene.house.browser(cookies={SESSION: before})

    async def ended() -> bool:
        return (await old.get("/api/me")).status == 401

    await until(ended, 5)


@pytest.mark.parametrize("method", ["client_secret_post", "none"])
@pytest.mark.slow
async def test_other_ways_to_say_who_we_are(scene: Scene, method: str) -> None:
    scene.staff.tell(do="set", auth_method=method)
    await scene.declare("third", scene.staff, client_secret=None if method == "none" else SECRET)
    browser = scene.house.browser()
    assert (await scene.back(browser, scene.staff.authorize(await scene.leave(browser, "third")))).status == 200


@pytest.mark.slow
async def test_a_wrong_client_secret_is_the_operators_to_know(scene: Scene) -> None:
    await scene.declare("third", scene.staff, client_secret="wrong")
    browser = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(browser, "third"))
    assert problem(await scene.back(browser, location)) == "provider_away"


@pytest.mark.slow
async def test_a_provider_over_https_with_a_ca_of_its_own(scene: Scene, tmp_path: Path) -> None:
    own = Layout(tmp_path / "own")
    own.create()
    shown = certificates.ensure(Edge(), own, Names())
    with issuing(certificate=shown.chain, key=shown.key, ca=certificates.ca_file(own)) as secure:
        await scene.declare("secure", secure)
        with leading_to(secure) as socket:
            there = scene.home.settings.layout.identity_relay
            there.unlink()
            there.symlink_to(socket)
            browser = scene.house.browser()
            location = secure.authorize(await scene.leave(browser, "secure"))
            assert (await scene.back(browser, location)).status == 200
            assert await scene.tell(secure.logout_token(sub=ADA["sub"]), "secure") == 200


# --- out
async def alive(browser: Browser) -> bool:
    return (await browser.get("/api/me")).status == 200


async def session_of(scene: Scene, browser: Browser) -> credentials.Credential:
    listed = (await browser.get("/api/sessions")).json()["sessions"]
    current = next(session["id"] for session in listed if session["current"])
    async with scene.home.database.read() as connection:
        found = await credentials.get(connection, scene.home.workspace.id, current)
    assert found is not None
    return found


async def test_the_provider_signs_out_exactly_one_session_within_a_second(scene: Scene) -> None:
    one, two = scene.house.browser(), scene.house.browser()
    await scene.sign_in(one)
    await scene.sign_in(two)
    sid = (await session_of(scene, one)).external_session
    assert await scene.tell(scene.staff.logout_token(sid=sid)) == 200
    took = await until(lambda: _not(alive(one)), 5)
    assert took < 1.0
    assert await alive(two)


async def _not(held: Any) -> bool:
    return not await held


@pytest.mark.slow
async def test_the_provider_signs_somebody_out_everywhere_but_only_what_it_opened(scene: Scene) -> None:
    one, two = scene.house.browser(), scene.house.browser()
    await scene.sign_in(one)
    await scene.sign_in(two)
    scene.staff.tell(do="set", people={"bo": {**ADA, "sub": "bo-2", "email": "bo@example.org"}})
    bo = scene.house.browser()
    await scene.sign_in(bo, person="bo")
    async with scene.home.database.read() as connection:
        ada = await users.by_email(connection, scene.home.workspace.id, ADA["email"])
    assert ada is not None
    by_password = await scene.house.signed_in(ada)
    assert await scene.tell(scene.staff.logout_token(sub="nobody")) == 200
    assert await scene.tell(scene.other.logout_token(sub=ADA["sub"]), "other") == 200
    assert await alive(one)
    assert await scene.tell(scene.staff.logout_token(sub=ADA["sub"])) == 200
    for browser in (one, two):
        await until(lambda browser=browser: _not(alive(browser)), 5)  # type: ignore[misc]
    assert await alive(bo)
    assert await alive(by_password)


async def test_a_logout_token_is_taken_once_and_only_from_its_provider(scene: Scene) -> None:
    browser = scene.house.browser()
    await scene.sign_in(browser)
    sid = (await session_of(scene, browser)).external_session
    now = int(time.time())
    event = "http://schemas.openid.net/event/backchannel-logout"
    bad = [
        "", "x", "a.b.c", scene.other.logout_token(sid=sid), scene.other.logout_token(sid=sid, iss=scene.staff.url),
        scene.staff.logout_token(sid=sid, aud="other"), scene.staff.logout_token(sid=sid, events={}),
        scene.staff.logout_token(sid=sid, nonce="x"), scene.staff.logout_token(sid=sid, jti=None),
        scene.staff.logout_token(), scene.staff.logout_token(sid=sid, exp=now - 100),
        scene.staff.sign({"iss": scene.staff.url, "aud": CLIENT, "sid": sid, "iat": now, "jti": "1"}),
        scene.staff.sign({"iss": scene.staff.url, "aud": CLIENT, "sid": sid, "iat": now, "jti": "1", "exp": now + 9,
                          "events": {event: {}}}, typ="at+jwt"),
    ]  # fmt: skip
    for token in bad:
        assert await scene.tell(token) == 401
    good = scene.staff.logout_token(sub="nobody")
    assert await scene.tell(good, "other") == 401
    assert await scene.tell(good, "nothing") == 401
    assert await scene.tell(good, **{"content-type": "application/json"}) == 401
    assert await scene.tell("x" * 20_000) == 413
    assert await alive(browser)
    assert await scene.tell(good) == 200
    assert await scene.tell(good) == 401


@pytest.mark.slow
async def test_a_session_that_was_given_no_name_ends_with_its_person(scene: Scene) -> None:
    named, nameless = scene.house.browser(), scene.house.browser()
    await scene.sign_in(named)
    scene.staff.tell(do="set", twist={"sid": None})
    await scene.sign_in(nameless)
    assert await scene.tell(scene.staff.logout_token(sid="unknown")) == 200
    assert await scene.tell(scene.staff.logout_token(sid="unknown", sub="nobody")) == 200
    assert await alive(nameless)
    assert await scene.tell(scene.staff.logout_token(sid="unknown", sub=ADA["sub"])) == 200
    await until(lambda: _not(alive(nameless)), 5)
    assert await alive(named)


@pytest.mark.slow
async def test_signing_out_here_offers_to_sign_out_there(scene: Scene) -> None:
    browser = scene.house.browser()
    await scene.sign_in(browser)
    told = (await browser.post("/api/sign-out")).json()
    parts = urlsplit(told["provider"]["address"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{scene.staff.url}/logout"
    question = parse_qs(parts.query)
    (hint,) = question.pop("id_token_hint")
    assert tokens.Token.read(hint).claims["sub"] == ADA["sub"]
    assert question == {"client_id": [CLIENT], "post_logout_redirect_uri": [f"https://{HOST}/"]}
    dump = b"".join(path.read_bytes() for path in scene.home.settings.state.glob("freehold.db*"))
    assert hint.encode() not in dump
    local = await scene.house.person()
    assert (await local.post("/api/sign-out")).json() == {}


@pytest.mark.slow
async def test_a_disabled_provider_lets_nobody_in_and_its_sessions_end(scene: Scene) -> None:
    browser, late = scene.house.browser(), scene.house.browser()
    await scene.sign_in(browser)
    location = scene.staff.authorize(await scene.leave(late))
    async with scene.home.database.write() as connection:
        found = await providers.named(connection, scene.home.workspace.id, "staff")
        assert found is not None
        await providers.disable(connection, found.id)
    assert problem(await scene.back(late, location)) == "provider_unknown"
    await until(lambda: _not(alive(browser)), 5)
    assert [one["name"] for one in (await late.get("/api/site")).json()["providers"]] == ["other"]
    assert await scene.tell(scene.staff.logout_token(sub="x")) == 401


@pytest.mark.slow
async def test_a_flood_of_sign_ins_is_counted(scene: Scene) -> None:
    browser = scene.house.browser(address="203.0.113.50")
    codes = [(await browser.get("/sign-in/with/staff")).headers["location"] for _ in range(110)]
    assert any(code == "/?problem=too_many_tries" for code in codes)
    other = scene.house.browser(address="203.0.113.51")
    assert (await scene.sign_in(other)).status == 200
