"""People through the whole stack, as the edge passes them on: what is forged, what ends, what holds at once."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.stack.conftest import Stack

pytestmark = pytest.mark.stack

PASSWORD = "seven lamps by the river"


@pytest.fixture(scope="module")
def owner(stack: Stack) -> Iterator[httpx.Client]:
    """A browser-like client of somebody who came in by an invitation of the command line."""
    with browser(stack) as client:
        join(stack, client, "olga@example.org", "owner")
        yield client


def browser(stack: Stack) -> httpx.Client:
    url = stack.up["url"]
    headers = {"origin": url, "sec-fetch-site": "same-origin", "content-type": "application/json"}
    return httpx.Client(verify=stack.context, base_url=url, headers=headers, timeout=30)


def join(stack: Stack, client: httpx.Client, email: str, role: str) -> None:
    link = stack.json("user", "invite", email, "--role", role)["url"]
    assert link.startswith(stack.up["url"] + "/join#token=")
    answer = client.post("/api/join", json={"token": link.partition("#token=")[2], "name": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text


def soon(condition: Callable[[], bool], seconds: float = 10) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds


def test_the_cookie_and_where_from(stack: Stack, owner: httpx.Client) -> None:
    with browser(stack) as client:
        sent = {"email": "olga@example.org", "password": PASSWORD}
        forged = {
            "x-freehold-client": "203.0.113.9",
            "x-freehold-host": "evil.example",
            "x-forwarded-for": "203.0.113.9",
        }
        answer = client.post("/api/sign-in", json=sent, headers=forged)
        cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-freehold="))
        for part in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
            assert part.lower() in cookie.lower()
        listed = client.get("/api/sessions").json()["sessions"]
        current = next(s for s in listed if s["current"])
        assert current["place"] in ("127.0.0.0/24", "::/32")
        assert client.request("DELETE", f"/api/sessions/{current['id']}", json={}).status_code == 200
        soon(lambda: client.get("/api/me").status_code == 401)


def test_a_session_is_no_bearer_for_the_page(stack: Stack, owner: httpx.Client) -> None:
    """The same secret in another header is not the same door (BAR-19): the page's API takes the cookie alone."""
    secret = owner.cookies["__Host-freehold"]
    with browser(stack) as client:
        for headers in ({"authorization": f"Bearer {secret}"}, {"x-api-key": secret}, {"api-key": secret}):
            assert client.get("/api/me", headers=headers).status_code == 401
        assert client.get(f"/api/me?token={secret}").status_code == 401


def test_roles_take_hold_while_people_are_signed_in(stack: Stack, owner: httpx.Client) -> None:
    with browser(stack) as client:
        join(stack, client, "paul@example.org", "member")
        assert client.get("/api/people").status_code == 403
        stack.json("user", "role", "paul@example.org", "admin")
        soon(lambda: client.get("/api/people").status_code == 200)
        paul = next(p for p in owner.get("/api/people").json()["people"] if p["email"] == "paul@example.org")
        assert owner.patch(f"/api/people/{paul['id']}", json={"disabled": True}).status_code == 200
        soon(lambda: client.get("/api/me").status_code == 401)
        again = client.post("/api/sign-in", json={"email": "paul@example.org", "password": PASSWORD})
        assert (again.status_code, again.json()["error"]["code"]) == (401, "sign_in_failed")


def test_a_services_key_is_held_to_its_rules(stack: Stack, owner: httpx.Client) -> None:
    service = owner.post("/api/services", json={"name": "robot"}).json()["service"]
    path = f"/api/services/{service['id']}/keys"

    def models(**rules: object) -> int:
        secret = owner.post(path, json={"name": "x", **rules}).json()["secret"]
        with httpx.Client(verify=stack.context, base_url=stack.up["url"]) as client:
            return client.get("/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code

    assert models(scopes=["models"], sources=["127.0.0.0/8", "::1/128"]) == 200
    assert models(sources=["203.0.113.0/24"]) == 401
    assert models(scopes=["embeddings"]) == 403
    assert owner.request("DELETE", f"/api/services/{service['id']}", json={}).status_code == 200
