"""The console through its Unix socket, as the edge calls it: the claim, sessions, same-origin proof, conversations."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from freehold.console import STATIC
from freehold.console.app import Console
from freehold.identity import accounts
from freehold.protocol.http import UnixClient
from freehold.storage import engines
from tests.conftest import Home, serving, until

pytestmark = pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the page is not built: run 'make web'")

PERSON = {"name": "Ada", "email": "ada@example.org", "password": "correct horse battery"}
SAME_ORIGIN = {"host": "localhost:8443", "origin": "https://localhost:8443", "sec-fetch-site": "same-origin"}


@dataclass
class Page:
    """A browser's view of the console."""

    client: UnixClient
    console: Console
    home: Home
    gateway_answer: bytes = b""
    gateway_saw: list[bytes] = field(default_factory=list)
    gateway_open: int = 0
    gateway_waits: bool = False
    cookie: str = ""

    async def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        sent = {**SAME_ORIGIN, "content-type": "application/json"} if headers is None else headers
        if self.cookie:
            sent = {**sent, "cookie": f"__Host-freehold={self.cookie}"}
        sent = {name: value for name, value in sent.items() if name != "host"}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if method != "GET" and data is None:
            data = b""
        async with self.client.request(method, path, data, sent) as response:
            if cookie := response.headers.get("set-cookie"):
                self.cookie = cookie.partition("=")[2].partition(";")[0].strip('"')
            return response.status, dict(response.headers), await response.read()

    async def claim(self) -> None:
        secret = await accounts.create_claim(self.home.database, self.home.key, self.home.workspace.id, 1)
        status, _, body = await self.call("POST", "/api/claim", {"token": secret, **PERSON})
        assert status == 200, body

    async def new_conversation(self) -> str:
        _, _, body = await self.call("POST", "/api/conversations", {})
        return str(json.loads(body)["conversation"]["id"])


@pytest.fixture
async def page(home: Home) -> AsyncIterator[Page]:
    layout = home.settings.layout
    console = Console(home.settings)
    page = Page(UnixClient(str(layout.console_socket), host="localhost:8443"), console, home)

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        page.gateway_open += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            page.gateway_saw.append(head + await reader.readexactly(length))
            writer.write(page.gateway_answer)
            await writer.drain()
            if page.gateway_waits:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            page.gateway_open -= 1
            writer.close()

    server = await asyncio.start_unix_server(gateway, str(layout.gateway_socket))
    async with serving(console, layout.console_socket):
        yield page
        page.client.close()
    server.close()


def sse(*payloads: str) -> bytes:
    body = "".join(f"data: {payload}\n\n" for payload in payloads).encode()
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body)


def piece(text: str) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})


END = b"0\r\n\r\n"


def shown(body: bytes) -> list[dict[str, Any]]:
    lines = [line for line in body.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_the_claim_signs_in_once_and_site_knows(page: Page) -> None:
    _, _, before = await page.call("GET", "/api/site")
    site = {"workspace": {"name": "Test"}, "providers": []}
    assert json.loads(before) == {**site, "claimed": False, "signed_in": False}
    await page.claim()
    _, _, after = await page.call("GET", "/api/site")
    assert json.loads(after) == {**site, "claimed": True, "signed_in": True}
    _, _, me = await page.call("GET", "/api/me")
    assert json.loads(me)["user"]["email"] == "ada@example.org"


async def test_the_session_cookie_is_strict(page: Page) -> None:
    secret = await accounts.create_claim(page.home.database, page.home.key, page.home.workspace.id, 1)
    _, headers, _ = await page.call("POST", "/api/claim", {"token": secret, **PERSON})
    cookie = headers["set-cookie"].lower()
    for part in ("__host-freehold=", "path=/", "secure", "httponly", "samesite=strict"):
        assert part in cookie
    assert "domain" not in cookie


async def test_sign_out_kills_the_session_everywhere(page: Page) -> None:
    await page.claim()
    stolen = page.cookie
    await page.call("POST", "/api/sign-out", {})

    async def dead() -> bool:
        page.cookie = stolen
        return (await page.call("GET", "/api/me"))[0] == 401

    assert await until(dead, 2) < 1.0


async def test_sign_in_by_password(page: Page) -> None:
    await page.claim()
    page.cookie = ""
    status, _, _ = await page.call(
        "POST", "/api/sign-in", {"email": PERSON["email"], "password": "wrong horse battery"}
    )
    assert status == 401
    status, _, _ = await page.call("POST", "/api/sign-in", {"email": PERSON["email"], "password": PERSON["password"]})
    assert status == 200
    assert (await page.call("GET", "/api/me"))[0] == 200


async def test_unknown_and_known_api_paths_look_alike_without_a_session(page: Page) -> None:
    bodies = set()
    for path in ("/api/me", "/api/nothing", "/api/keys", "/api/admin/users"):
        status, _, body = await page.call("GET", path)
        error = json.loads(body)["error"]
        error.pop("request_id")
        bodies.add((status, json.dumps(error)))
    assert len(bodies) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"origin": "https://evil.example", "content-type": "application/json"},
        {"origin": "https://localhost:8443", "sec-fetch-site": "cross-site", "content-type": "application/json"},
        {"origin": "https://localhost:8443", "sec-fetch-site": "same-site", "content-type": "application/json"},
        {"sec-fetch-site": "none", "content-type": "application/json"},
        {"origin": "null", "content-type": "application/json"},
        {"origin": "http://localhost:8443", "content-type": "application/json"},
        {"origin": "https://localhost:8443", "sec-fetch-site": "same-origin", "content-type": "text/plain"},
        {"origin": "https://localhost:8443", "sec-fetch-site": "same-origin"},
    ],
)
async def test_a_change_from_elsewhere_is_refused(page: Page, headers: dict[str, str]) -> None:
    await page.claim()
    for method, path in (("POST", "/api/conversations"), ("POST", "/api/keys"), ("POST", "/api/sign-out")):
        status, _, _ = await page.call(method, path, {"name": "x"} if "keys" in path else {}, headers)
        assert status in (403, 415)
    assert (await page.call("GET", "/api/me"))[0] == 200


async def test_a_question_is_answered_stored_and_entitled(page: Page) -> None:
    await page.claim()
    page.gateway_answer = sse(piece("Hel"), piece("lo"), "[DONE]") + END
    conversation = await page.new_conversation()
    path = f"/api/conversations/{conversation}"
    _, _, body = await page.call("POST", f"{path}/messages", {"content": "What is a freehold?", "assistant": "m"})
    kinds = [event["type"] for event in shown(body)]
    assert kinds == [
        "RUN_STARTED", "CUSTOM", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]  # fmt: skip
    assert b"authorization: Bearer fhs_" in page.gateway_saw[0]
    _, _, body = await page.call("GET", path)
    stored = json.loads(body)
    assert stored["conversation"]["title"] == "What is a freehold?"
    assert [(m["role"], m["content"], m["status"]) for m in stored["messages"]] == [
        ("user", "What is a freehold?", "complete"),
        ("assistant", "Hello", "complete"),
    ]
    page.gateway_answer = sse(piece("Again"), "[DONE]") + END
    await page.call("POST", f"{path}/messages", {"assistant": "m", "regenerate": True})
    _, _, body = await page.call("GET", path)
    assert [m["content"] for m in json.loads(body)["messages"]] == ["What is a freehold?", "Again"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        sse(piece("Hel")),
        sse(piece("Hel")) + END,
        sse(piece("Hel"), "not json") + END,
        sse(piece("Hel"), '{"error":{"message":"The model\'s engine failed.","code":"engine_failed"}}') + END,
    ],
)
async def test_an_answer_that_breaks_is_shown_and_kept_as_failed(page: Page, answer: bytes) -> None:
    await page.claim()
    page.gateway_answer = answer
    conversation = await page.new_conversation()
    path = f"/api/conversations/{conversation}"
    _, _, sent = await page.call("POST", f"{path}/messages", {"content": "x", "assistant": "m"})
    events = shown(sent)
    assert events[-1]["type"] == "RUN_ERROR"
    _, _, body = await page.call("GET", path)
    last = json.loads(body)["messages"][-1]
    assert last["status"] == "failed"
    assert last["error"] == events[-1]["message"]


async def test_leaving_stops_the_gateway_and_keeps_what_came(page: Page) -> None:
    await page.claim()
    page.gateway_answer, page.gateway_waits = sse(piece("Hel"), piece("lo")), True
    conversation = await page.new_conversation()
    headers = {**SAME_ORIGIN, "content-type": "application/json", "cookie": f"__Host-freehold={page.cookie}"}
    headers.pop("host")
    body = json.dumps({"content": "x", "assistant": "m"}).encode()
    async with page.client.request("POST", f"/api/conversations/{conversation}/messages", body, headers) as response:
        async for chunk in response.body():
            if b"lo" in chunk:
                break
    left = asyncio.get_running_loop().time()
    await until(lambda: page.gateway_open == 0)
    assert asyncio.get_running_loop().time() - left < 0.1

    async def kept() -> bool:
        _, _, found = await page.call("GET", f"/api/conversations/{conversation}")
        last = json.loads(found)["messages"][-1]
        return (last["status"], last["content"]) == ("stopped", "Hello")

    await until(kept)


async def test_conversations_are_their_owners(page: Page) -> None:
    await page.claim()
    conversation = await page.new_conversation()
    answers = []
    for path in (f"/api/conversations/{conversation[:-1]}x", "/api/conversations/nothing"):
        for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("DELETE", {})):
            status, _, sent = await page.call(method, path, body)
            error = json.loads(sent)["error"]
            error.pop("request_id")
            answers.append((status, json.dumps(error)))
    assert set(answers) == {(404, answers[0][1])}
    assert (await page.call("PATCH", f"/api/conversations/{conversation}", {"title": "Mine"}))[0] == 200
    assert (await page.call("DELETE", f"/api/conversations/{conversation}", {}))[0] == 200
    assert (await page.call("GET", f"/api/conversations/{conversation}"))[0] == 404


async def test_the_page_is_told_what_is_sealed(page: Page) -> None:
    await page.claim()
    async with page.home.database.write() as connection:
        await engines.add(
            connection, page.home.workspace.id, name="far", kind="openai", model="x", url="https://llm.example/v1"
        )
    _, _, body = await page.call("GET", "/api/assistants")
    assert {a["name"]: a["place"] for a in json.loads(body)["assistants"]} == {"m": "sealed", "far": "outside"}


async def test_keys_are_made_shown_once_and_revoked(page: Page) -> None:
    await page.claim()
    status, _, body = await page.call("POST", "/api/keys", {"name": "laptop"})
    made = json.loads(body)
    assert (status, made["secret"][:3]) == (201, "fh_")
    _, _, listed = await page.call("GET", "/api/keys")
    assert [key["name"] for key in json.loads(listed)["keys"]] == ["laptop"]
    assert made["secret"].encode() not in listed
    assert (await page.call("DELETE", f"/api/keys/{made['key']['id']}", {}))[0] == 200
    assert (await page.call("DELETE", f"/api/keys/{made['key']['id']}", {}))[0] == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"token":1}', b'{"token":"x","name":"","email":"","password":"","extra":1}']
)
async def test_bad_bodies_get_a_clear_400(page: Page, body: bytes) -> None:
    status, _, sent = await page.call("POST", "/api/claim", body)
    assert status == 400
    assert b"extra" not in sent


async def test_the_page_and_its_policy(page: Page) -> None:
    for path in ("/", "/claim", "/chat", "/chat/cnv_1", "/settings"):
        status, headers, body = await page.call("GET", path)
        assert (status, headers["content-type"].partition(";")[0]) == (200, "text/html")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert b"<script" not in body.replace(b'<script type="module"', b"")
    for name in (part.split(b'"')[0].decode() for part in body.split(b'src="')[1:] + body.split(b'href="')[1:]):
        status, headers, _ = await page.call("GET", name)
        assert (status, "immutable" in headers["cache-control"]) == (200, True)
    assert (await page.call("GET", "/assets/../../settings.py"))[0] == 404
    assert (await page.call("GET", "/nothing"))[0] == 404
