"""A real Chromium for the browser journeys: a fresh profile, no traffic of its own."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("FREEHOLD_SHOTS")

JOURNEY = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
"""The marks of a journey."""


@contextlib.contextmanager
def browsing(profile: Path) -> Iterator[tuple[BrowserContext, Page]]:
    """A browser that has never been anywhere, with its first page."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--no-first-run"],
            ignore_https_errors=True,
            viewport={"width": 1280, "height": 800},
        )  # fmt: skip
        yield context, context.pages[0]
        context.close()


def shot(page: Page, name: str) -> None:
    """A picture of the page, where somebody asked for pictures."""
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")
