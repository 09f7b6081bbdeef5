"""A person in real Chromium: claims the instance, chats, sees the answer grow, stops it, reloads."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.stack.chromium import JOURNEY, browsing, shot
from tests.stack.conftest import Stack

pytestmark = JOURNEY


@pytest.fixture
def page(fresh: Stack, tmp_path: Path) -> Iterator[Page]:
    """A browser that has never been here, on an instance that nobody has claimed."""
    fresh.start()
    with browsing(tmp_path / "profile") as (_, page):
        yield page


def test_claim_chat_stop_reload(page: Page, fresh: Stack) -> None:
    faults: list[str] = []
    foreign: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(fresh.up["url"]) else foreign.append(request.url))

    page.goto(fresh.up["url"])
    expect(page.get_by_role("heading").first).to_be_visible()
    shot(page, "landing")

    page.goto(fresh.up["claim_url"])
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.locator("input[autocomplete=new-password]").fill("an engine of one's own")
    assert "token" not in page.url
    shot(page, "claim")
    page.get_by_role("button", name="Claim this workspace").click()
    composer = page.get_by_placeholder("Ask anything")
    expect(composer).to_be_visible()
    shot(page, "welcome")

    composer.fill("Write a long story about a lighthouse keeper.")
    composer.press("Enter")
    answer = page.get_by_label("Answer", exact=True).last
    expect(answer).to_contain_text(re.compile(r"\w{2,}"), timeout=15_000)
    early = len(answer.inner_text())
    page.wait_for_function(
        "([node, before]) => node.innerText.length > before + 40", arg=[answer.element_handle(), early], timeout=15_000
    )
    shot(page, "streaming")
    stop = page.get_by_role("button", name="Stop the answer")
    stop.click()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    stopped = time.monotonic()
    while any(runner["in_flight"] for runner in fresh.json("status")["runners"]):
        assert time.monotonic() - stopped < 3  # each look starts the command line anew
    kept = answer.inner_text()
    shot(page, "stopped")

    page.reload()
    again = page.get_by_label("Answer", exact=True).last
    expect(again).to_be_visible()
    words = re.findall(r"\w+", kept)[:5]
    assert re.findall(r"\w+", again.inner_text())[:5] == words
    expect(page.get_by_label("You", exact=True).first).to_contain_text("lighthouse keeper")
    shot(page, "reloaded")

    page.goto(f"{fresh.up['url']}/settings")
    expect(page.get_by_role("heading").first).to_be_visible()
    shot(page, "settings")
    assert foreign == []
    assert faults == []
