"""A change comes from our own page or not at all (BAR-15): through the real edge, on the route that streams its answer.

A browser's page can choose neither Origin nor Sec-Fetch-Site, but it can choose the content type, leave out a referrer,
or sit on a neighbouring port or name. `tests/console/test_matrix.py` holds the same for every route of the console.
"""

import itertools

import pytest

from tests.edge.door import Reply
from tests.hostile.whole import Whole, say

ORIGINS = (
    None, "own", "https://evil.example", "null", "", "http://localhost", "https://localhost", "https://localhost.evil.example",
    "https://ai.example.org", "HTTPS://OWN", "https://own.evil.example", "file://", "https://127.0.0.1", "own, https://evil.example",
)  # fmt: skip
SITES = (None, "same-origin", "same-site", "cross-site", "none", "", "Same-Origin", "same-origin, cross-site")
TYPES = (
    "application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/event-stream",
    "text/plain; application/json", "application/jsonx",
)  # fmt: skip
QUESTION = b'{"assistant":"m","content":"hi"}'


def _send(whole: Whole, origin: str | None, site: str | None, kind: str, *rows: str) -> Reply:
    said = [f"cookie: __Host-freehold={whole.session}", *rows]
    if origin is not None:
        said.append("origin: " + origin.replace("own", f"https://{whole.host}").replace("OWN", whole.host.upper()))
    if site is not None:
        said.append(f"sec-fetch-site: {site}")
    if kind:
        said.append(f"content-type: {kind}")
    return whole.ask("POST", f"/api/conversations/{whole.conversation}/messages", *said, body=QUESTION)


def _ours(origin: str | None, site: str | None, kind: str) -> bool:
    named = origin in (None, "own") and site in (None, "same-origin") and (origin, site) != (None, None)
    return named and kind == "application/json"


@pytest.mark.slow
def test_no_stream_is_begun_from_another_page(whole: Whole) -> None:
    whole.runner.clear()
    blocked = 0
    for origin, site, kind in itertools.product(ORIGINS, SITES, TYPES):
        if _ours(origin, site, kind):
            continue
        reply = _send(whole, origin, site, kind)
        assert reply.status in (400, 403, 415), (origin, site, kind, reply.raw)
        assert b"event-stream" not in reply.raw
        blocked += 1
    assert blocked > 800
    assert whole.runner.requests == []


def test_our_own_page_begins_one(whole: Whole) -> None:
    whole.runner.clear()
    whole.runner.otherwise = say
    for origin, site in (("own", "same-origin"), ("own", None), (None, "same-origin")):
        reply = _send(whole, origin, site, "application/json")
        assert reply.status == 200
        assert (reply["content-type"] or "").startswith("text/event-stream")
    assert len(whole.runner.requests) == 3


@pytest.mark.parametrize("path", ["/", "/api/me", "/api/conversations", "/v1/models", "/healthz"])
def test_another_page_can_read_nothing(whole: Whole, path: str) -> None:
    """There is no answer for another origin: no header allows it, one forbids it, and no preflight is granted."""
    for origin in ("https://evil.example", "null"):
        rows = (f"cookie: __Host-freehold={whole.session}", f"origin: {origin}", "sec-fetch-site: cross-site")
        reply = whole.ask("GET", path, *rows)
        assert not {name for name in reply.names if name.startswith("access-control-")}
        assert reply["cross-origin-resource-policy"] == "same-origin"
        preflight = whole.ask(
            "OPTIONS",
            path,
            *rows,
            "access-control-request-method: POST",
            "access-control-request-headers: content-type",
        )
        assert preflight.status == 405
        assert not {name for name in preflight.names if name.startswith("access-control-")}


@pytest.mark.parametrize("path", ["/", "/api/me", "/api/conversations", "/v1/chat/completions"])
def test_no_web_socket_opens(whole: Whole, path: str) -> None:
    for origin in (f"https://{whole.host}", "https://evil.example"):
        rows = (
            f"cookie: __Host-freehold={whole.session}", f"origin: {origin}", "connection: upgrade", "upgrade: websocket",
            "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        )  # fmt: skip
        reply = whole.ask("GET", path, *rows)
        assert reply.status in (403, 405)
        assert not {name for name in reply.names if name.startswith("sec-websocket")}


def test_the_session_is_the_cookie_of_one_host_only(whole: Whole) -> None:
    """No other name carries the session, and a sign-in that fails sets nothing."""
    nobody = tuple(row for row in whole.own_page if not row.startswith("cookie"))
    reply = whole.ask("POST", "/api/sign-in", *nobody, body=b'{"email":"ada@example.org","password":"x"}')
    assert reply["set-cookie"] is None
    for cookie in (
        f"__Secure-freehold={whole.session}",
        f"freehold={whole.session}",
        f"__host-freehold={whole.session}",
    ):
        assert whole.ask("GET", "/api/me", f"cookie: {cookie}").status == 401
    assert whole.ask("GET", "/api/me", f"cookie: __Host-freehold={whole.session}").status == 200
