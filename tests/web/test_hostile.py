"""Model output, questions and titles are hostile (BAR-32): in real Chromium nothing of them runs or leaves.

The real console serves the real page; the hostile texts come out of its database. What the browser does is observed
from outside: every request, every complaint of the content security policy, the elements that were made.
"""

import asyncio
import contextlib
import itertools
import re
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import uvicorn
from playwright.async_api import Page, Request, async_playwright

from freehold.console import STATIC
from freehold.console.app import Console
from freehold.identity import accounts
from freehold.serving import listen
from freehold.storage import conversations
from freehold.storage.conversations import Owner
from tests.conftest import Home, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the page is not built: run 'make web'"),
]

RUN = "window.pwned=1"
TAGS = ["img src=x", "svg", "body", "video src=x", "audio src=x", "input autofocus", "details open", "iframe",
        "math", "object data=x", "embed src=x", "marquee", "a href=x", "form", "style",
        "link rel=stylesheet href=x"]  # fmt: skip
HANDLERS = ["onerror", "onload", "onfocus", "ontoggle", "onmouseover"]
WRAPS = ["{}", "text {} text", "> {}", "- {}", "|a|\n|-|\n|{}|"]
ADDRESSES = ["javascript:" + RUN, "JaVaScRiPt:" + RUN, "&#106;avascript:" + RUN, "java&Tab;script:" + RUN,
             "data:text/html,<script>" + RUN + "</script>", "vbscript:" + RUN, "/api/sign-out", "//evil.example/x",
             "https://bank.example@evil.example/", "https://evil.example/?q=SECRET"]  # fmt: skip
FORMS = ["[x]({})", "[x](<{}>)", "![x]({})", "[x][r]\n\n[r]: {}", "![x][r]\n\n[r]: {}", "<{}>", "[![x]({})](y)"]
SINGLE = ["<script>" + RUN + "</script>", "<!-- hidden -->", "```html\n<script>" + RUN + "</script>\n```",
          "{{7*7}}", "file\u202egnp.exe", "\U000e0041\U000e0042", "\u200b" * 50,
          '<base href="https://evil.example">', '<meta http-equiv="refresh" content="0;url=https://evil.example">',
          "<template><script>" + RUN + "</script></template>",
          "<style>@import 'https://evil.example/x.css';*{display:none}</style>"]  # fmt: skip
VECTORS = [
    *(wrap.format(f"<{tag} {on}={RUN}>") for tag, on, wrap in itertools.product(TAGS, HANDLERS, WRAPS)),
    *(form.format(address) for form, address in itertools.product(FORMS, ADDRESSES)),
    *SINGLE,
]
ALLOWED = {"article", "bdi", "blockquote", "br", "button", "code", "del", "div", "em", "figcaption", "figure",
           "h3", "h4", "h5", "h6", "hr", "input", "li", "ol", "p", "path", "pre", "span", "strong", "svg",
           "table", "tbody", "td", "th", "thead", "tr", "ul"}  # fmt: skip


@dataclass
class Watched:
    """A page with all that it asked for and complained about."""

    page: Page
    origin: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
async def address(home: Home) -> AsyncIterator[str]:
    """The console on a loopback port; browsers take `localhost` for a secure place, so that its cookie works."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(listen.config(Console(home.settings)))
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        yield f"http://localhost:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


async def _owner(home: Home) -> tuple[Owner, str]:
    claim = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    user = await accounts.redeem_claim(
        home.database,
        home.key,
        home.workspace.id,
        claim,
        name="Ada",
        email="ada@example.org",
        password="correct horse battery",
    )
    return Owner(home.workspace.id, user.id), await accounts.open_session(home.database, home.key, user, 1)


@contextlib.asynccontextmanager
async def _browser(origin: str, session: str) -> AsyncIterator[Watched]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        context = await browser.new_context()
        await context.add_cookies(
            [
                {
                    "name": "__Host-freehold",
                    "value": session,
                    "url": origin.replace("http:", "https:"),
                    "secure": True,
                    "httpOnly": True,
                    "sameSite": "Strict",
                }
            ]
        )
        watched = Watched(await context.new_page(), origin)

        def asked(request: Request) -> None:
            watched.requests.append(request.url)

        watched.page.on("request", asked)
        watched.page.on("console", lambda message: watched.complaints.append(message.text))
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        yield watched
        await browser.close()


async def test_nothing_hostile_runs_or_leaves(home: Home, address: str) -> None:
    assert len(VECTORS) >= 300
    owner, session = await _owner(home)
    async with home.database.write() as connection:
        conversation = await conversations.create(connection, owner)
        await conversations.set_title(connection, conversation.id, SINGLE[0] + "\u202e" + TAGS[0])
        for start in range(0, len(VECTORS), 40):
            text = "\n\n".join(VECTORS[start : start + 40])
            await conversations.append(connection, conversation.id, "user", text, "complete")
            await conversations.append(connection, conversation.id, "assistant", text, "complete")
        for vector in SINGLE:
            await conversations.append(connection, conversation.id, "user", "?", "complete")
            answer = await conversations.append(connection, conversation.id, "assistant", vector, "failed")
            await conversations.set_message(connection, answer, content=vector, status="failed", error=vector)
    async with _browser(address, session) as watched:
        page = watched.page
        await page.goto(f"{address}/chat/{conversation.id}")
        await page.wait_for_selector("article.assistant")
        await page.wait_for_load_state("networkidle")
        assert await page.evaluate("window.pwned") is None
        assert (
            set(await page.evaluate("[...document.querySelectorAll('article, article *')].map(e => e.localName)"))
            <= ALLOWED
        )
        attributes = set(
            await page.evaluate("[...document.querySelectorAll('article *')].flatMap(e => e.getAttributeNames())")
        )
        assert not {name for name in attributes if re.match(r"on|href$|src|style$|action$|data$", name)}
        text = await page.inner_text("ol >> nth=0")
        assert "hidden" in text
        assert "U+202E" in text
        assert "U+E0041 ×2" in text
        assert {url for url in watched.requests if not url.startswith(address)} == set()
        assert watched.complaints == []

        # The control: had anything tried, it would have been seen.
        await page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://evil.example/x.png'}))")
        await until(lambda: any("evil.example" in complaint for complaint in watched.complaints))


async def test_a_link_leaves_only_after_its_whole_target_was_shown(home: Home, address: str) -> None:
    owner, session = await _owner(home)
    target = "https://elsewhere.example/path?carried=SECRET"
    async with home.database.write() as connection:
        conversation = await conversations.create(connection, owner)
        await conversations.append(connection, conversation.id, "user", "?", "complete")
        await conversations.append(connection, conversation.id, "assistant", f"See [this]({target}).", "complete")
    async with _browser(address, session) as watched:
        page = watched.page
        await page.goto(f"{address}/chat/{conversation.id}")
        assert await page.locator("article a").count() == 0
        link = page.get_by_role("button", name="this (elsewhere.example)")
        await link.click(button="middle")
        await link.click()
        dialog = page.get_by_role("dialog")
        assert target in await dialog.inner_text()
        leave = dialog.get_by_role("link")
        assert await leave.get_attribute("href") == target
        assert set(str(await leave.get_attribute("rel")).split()) >= {"noopener", "noreferrer"}
        await page.keyboard.press("Escape")
        await dialog.wait_for(state="detached")
        assert len(page.context.pages) == 1
        assert {url for url in watched.requests if not url.startswith(address)} == set()
