"""People in real Chromium: invited, joined, a passkey made and used, an authenticator app set up and asked for."""

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from freehold.identity import totp
from tests.stack.chromium import JOURNEY, browsing, shot
from tests.stack.conftest import Stack

pytestmark = JOURNEY

ADA, BO = "an engine of one's own", "seven lamps by the river"
SLOW = 20_000


@pytest.fixture
def page(fresh: Stack, tmp_path: Path) -> Iterator[Page]:
    """A browser with a built-in authenticator, on an instance that nobody has claimed."""
    fresh.start()
    with browsing(tmp_path / "profile") as (context, page):
        page.set_default_timeout(SLOW)
        session = context.new_cdp_session(page)
        session.send("WebAuthn.enable")
        session.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                }
            },
        )
        yield page


def sign_out(page: Page, url: str) -> None:
    page.goto(f"{url}/settings")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=SLOW)


def in_chat(page: Page) -> None:
    expect(page.get_by_placeholder("Ask anything")).to_be_visible(timeout=SLOW)


def test_invite_join_passkey_and_code(page: Page, fresh: Stack) -> None:
    faults: list[str] = []
    foreign: list[str] = []
    url = fresh.up["url"]
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(url) else foreign.append(request.url))

    page.goto(fresh.up["claim_url"])
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.locator("input[autocomplete=new-password]").fill(ADA)
    page.get_by_role("button", name="Claim this workspace").click()
    in_chat(page)

    page.goto(f"{url}/people")
    page.get_by_label("E-mail of whom to invite").fill("bo@example.org")
    page.get_by_label("Their role").select_option("reviewer")
    page.get_by_role("button", name="Invite").click()
    link = page.get_by_test_id("link").inner_text()
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("invited as reviewer")).to_be_visible(timeout=SLOW)
    shot(page, "people")
    sign_out(page, url)

    page.goto(link)
    expect(page.get_by_label("E-mail")).to_have_value("bo@example.org", timeout=SLOW)
    assert "token" not in page.url
    page.get_by_label("Your name").fill("Bo")
    page.locator("input[autocomplete=new-password]").fill(BO)
    shot(page, "join")
    page.get_by_role("button", name="Join").click()
    in_chat(page)

    page.goto(f"{url}/account")
    page.get_by_label("Name of the new passkey").fill("this laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("button", name="Remove the passkey this laptop")).to_be_visible(timeout=SLOW)
    sign_out(page, url)
    page.get_by_role("button", name="Sign in with a passkey").click()
    in_chat(page)

    page.goto(f"{url}/account")
    page.get_by_role("button", name="Set up an app").click()
    secret = base64.b32decode(page.get_by_test_id("secret").inner_text())
    expect(page.get_by_role("img", name="QR code for your authenticator app")).to_be_visible()
    shot(page, "totp")
    page.get_by_label("Code", exact=True).fill(totp.code(secret, int(time.time() // totp.STEP_SECONDS)))
    page.get_by_role("button", name="Turn on").click()
    codes = page.get_by_role("list", name="Recovery codes").get_by_role("listitem")
    expect(codes).to_have_count(10, timeout=SLOW)
    recovery = codes.first.inner_text()
    assert re.fullmatch(r"[a-z2-7]{4}(-[a-z2-7]{4}){3}", recovery)
    page.get_by_role("button", name="I have stored them").click()
    shot(page, "account")
    sign_out(page, url)

    for code in (totp.code(secret, int(time.time() // totp.STEP_SECONDS) + 1), recovery):
        page.get_by_label("E-mail").fill("bo@example.org")
        page.locator("input[autocomplete=current-password]").fill(BO)
        page.get_by_role("button", name="Sign in", exact=True).click()
        field = page.get_by_label("Code of your authenticator app")
        expect(field).to_be_focused(timeout=SLOW)
        field.fill(code)
        field.press("Enter")
        in_chat(page)
        sign_out(page, url)
    assert foreign == []
    assert faults == []
