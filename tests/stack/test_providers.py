"""A person signs in by a provider in real Chromium, through the whole stack; the provider signs them out; a program of
theirs uses the API with the provider's access token."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from freehold.settings import Layout
from tests.identity.issuer import ADA, AUDIENCE, CLIENT, SECRET, Issuer, issuing
from tests.stack.chromium import JOURNEY, browsing, shot
from tests.stack.conftest import Stack
from tests.stack.test_identity import browser, join

pytestmark = JOURNEY

SLOW = 20_000


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as made:
        made.tell(do="set", person="ask")
        yield made


@pytest.fixture
def page(fresh: Stack, tmp_path: Path) -> Iterator[Page]:
    """A browser that was never here."""
    fresh.start()
    with browsing(tmp_path / "profile") as (_, page):
        page.set_default_timeout(SLOW)
        yield page


def soon(condition: Callable[[], bool], seconds: float = 20) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
    return time.monotonic() - began


def declare(stack: Stack, issuer: Issuer) -> None:
    """What the operator types."""
    secret = stack.state.parent / "secret"
    secret.write_text(SECRET + "\n")
    stack.json("group", "create", "Staff", "--role", "reviewer")
    options = (
        "--issuer",
        issuer.url,
        "--client-id",
        CLIENT,
        "--client-secret-file",
        str(secret),
        "--audience",
        AUDIENCE,
    )
    made = stack.json("provider", "add", "staff", *options, "--title", "House login", "--group", "staff=Staff")
    assert made["redirect_uri"] == f"{stack.up['url']}/sign-in/back/staff"
    assert made["reached"] == [
        f"GET {issuer.url}/.well-known/openid-configuration", f"GET {issuer.url}/jwks", f"POST {issuer.url}/token",
        f"GET {issuer.url}/userinfo",
    ]  # fmt: skip
    soon(lambda: Layout(stack.state).identity_relay.exists())


def test_in_by_a_provider_and_out_by_it(page: Page, fresh: Stack, issuer: Issuer) -> None:
    url, faults = fresh.up["url"], []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    with browser(fresh) as owner:
        join(fresh, owner, "olga@example.org", "owner")
    declare(fresh, issuer)

    page.goto(f"{url}/account")
    shot(page, "sign-in-providers")
    page.get_by_role("link", name="Sign in with House login").click()
    expect(page.get_by_role("heading", name="The provider")).to_be_visible(timeout=SLOW)
    assert page.url.startswith(issuer.url)
    page.get_by_role("link", name="Go on as ada").click()
    expect(page.get_by_role("heading", name="Sign-in providers")).to_be_visible(timeout=SLOW)
    assert page.url == f"{url}/account", "the page that was asked for, and no code in its address"
    expect(page.get_by_text("House login")).to_be_visible()
    shot(page, "account-provider")
    page.goto(f"{url}/chat")
    expect(page.get_by_placeholder("Ask anything")).to_be_visible(timeout=SLOW)

    with httpx.Client(verify=fresh.context, base_url=url) as api:

        def models(token: str) -> int:
            return api.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code

        token = issuer.access_token()
        soon(lambda: models(token) == 200)
        assert models(issuer.access_token(aud="other")) == 401
        assert models(issuer.access_token(sub="stranger")) == 401
        issuer.tell(do="rotate", algorithm="ES256")
        fresh_token = issuer.access_token()
        assert soon(lambda: models(fresh_token) == 200) < 10, (
            "the console fetched the new key because the gateway asked"
        )

        session = next(c["value"] for c in page.context.cookies(url) if c["name"] == "__Host-freehold")
        cookie = {"cookie": f"__Host-freehold={session}"}
        assert api.get("/api/me", headers=cookie).json()["user"]["role"] == "reviewer"
        told = issuer.logout_token(sub=ADA["sub"])
        assert issuer.tell(do="tell", to=f"{url}/sign-out/from/staff", token=told, ca=fresh.ca) == 200
        took = soon(lambda: api.get("/api/me", headers=cookie).status_code == 401)
        assert took < 1.0
        page.goto(f"{url}/chat")
        expect(page.get_by_role("link", name="Sign in with House login")).to_be_visible(timeout=SLOW)

        page.get_by_role("link", name="Sign in with House login").click()
        page.get_by_role("link", name="Go on as ada").click()
        expect(page.get_by_placeholder("Ask anything")).to_be_visible(timeout=SLOW)
        page.goto(f"{url}/settings")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("link", name="Sign out of House login too").click()
        expect(page.get_by_role("heading", name="Signed out of the provider")).to_be_visible(timeout=SLOW)

        issuer.tell(do="set", person="nobody")
        page.goto(url)
        page.get_by_role("link", name="Sign in with House login").click()
        expect(page.get_by_text("The sign-in provider did not let you in.")).to_be_visible(timeout=SLOW)
        assert page.url == f"{url}/"
        shot(page, "sign-in-refused")

        fresh.json("provider", "disable", "staff")
        soon(lambda: models(fresh_token) == 401)
    assert faults == []
    logs = b"".join(path.read_bytes() for path in (fresh.state / "logs").iterdir())
    for secret in (SECRET, ADA["email"], token, fresh_token.split(".")[2], "code_verifier"):
        assert secret.encode() not in logs
    assert fresh.freehold("doctor", "--seal").returncode == 0
