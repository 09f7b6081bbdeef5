"""What a client is shown: only declared headers, fixed texts, nothing of what it sent, nothing of the inside."""

import asyncio
import json
import os
import re
import secrets
import socket
import time

import pytest

from freehold.edge.headers import RESPONSE, SECURITY, UNLESS_SAID
from tests.edge.door import Door, Reply
from tests.edge.recorder import Recorded, Script

FRAMING = {"connection", "transfer-encoding", "date"}
"""What Envoy itself says of the message."""

ERRORS: dict[str, tuple[int, str, str, tuple[str, ...], bytes]] = {
    "path": (400, "GET", "/v1/{m}/../x", (), b""),
    "escape": (400, "GET", "/v1/{m}%2fx", (), b""),
    "underscore": (400, "GET", "/v1/x", ("x_{m}: {m}",), b""),
    "framing": (400, "POST", "/v1/{m}", ("content-length: 1", "transfer-encoding: chunked"), b""),
    "upgrade": (403, "GET", "/v1/{m}", ("upgrade: {m}", "connection: upgrade"), b""),
    "form": (404, "GET", "https://{m}/v1/x", (), b""),
    "method": (405, "TRACE", "/{m}", ("x-{m}: {m}", "cookie: {m}={m}"), b""),
    "unknown method": (400, "{m}", "/", (), b""),
    "override": (405, "POST", "/v1/x", ("x-http-method-override: {m}",), b"{m}"),
    "length": (413, "POST", "/v1/{m}", ("content-length: 999999999999",), b""),
    "encoding": (415, "POST", "/v1/{m}", ("content-encoding: {m}",), b"{m}"),
    "host": (421, "GET", "/{m}", ("x-{m}: {m}",), b""),
    "headers": (431, "GET", "/{m}", ("x-{m}: {m}" + "x" * 40000,), b""),
    "broken upstream": (502, "GET", "/v1/broken", ("authorization: Bearer {m}",), b""),
    "closing upstream": (503, "GET", "/v1/closed", ("authorization: Bearer {m}",), b""),
}


def _answering(raw: bytes) -> Script:
    async def answer(_: Recorded, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.close()

    return answer


def _provoke(door: Door, name: str, marker: str) -> Reply:
    door.gateway.scripts["/v1/broken"] = _answering(b"HTTP/9 what /run/gateway.sock\r\n\r\n")
    door.gateway.scripts["/v1/closed"] = _answering(b"")
    _, method, target, more, body = ERRORS[name]
    fill = [row.replace("{m}", marker) for row in more]
    host = f"{marker}.example" if name == "host" else door.host
    full = body.replace(b"{m}", marker.encode())
    length = [f"content-length: {len(full)}"] if full else []
    head = [f"{method} {target} HTTP/1.1".replace("{m}", marker), f"host: {host}", *length, *fill, "", ""]
    return door.send("\r\n".join(head).encode() + full)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_says_nothing_of_the_request(door: Door, name: str) -> None:
    marker = secrets.token_hex(16)
    reply = _provoke(door, name, marker)
    assert reply.status == ERRORS[name][0], reply.raw
    assert marker.encode() not in reply.raw
    error = json.loads(reply.body)["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert reply["content-type"] == "application/json"
    again = _provoke(door, name, secrets.token_hex(16))
    assert _without_id(again) == _without_id(reply)


def _without_id(reply: Reply) -> bytes:
    ids = rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    return re.sub(rb"date: [^\r]*\r\n", b"", re.sub(ids, b"ID", reply.raw))


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_has_every_header_and_no_other(door: Door, name: str) -> None:
    reply = _provoke(door, name, "x")
    assert reply.names <= {*RESPONSE, *FRAMING}
    for header, value in {**SECURITY, **UNLESS_SAID}.items():
        assert reply[header] == value, header
    assert reply["strict-transport-security"] is None


INSIDE = (
    "server: uvicorn",
    "via: 1.1 x",
    "x-powered-by: python",
    "x-envoy-upstream-service-time: 3",
    "x-runner: /run/runners/ws/runner.sock",
    "x-debug: 10.0.0.1:5432",
    "date: Mon, 01 Jan 2001 00:00:00 GMT",
    "access-control-allow-origin: *",
    "x-frame-options: ALLOWALL",
    "set-cookie: a=1",
    "set-cookie: b=2",
    "content-security-policy: default-src 'self'",
    "cache-control: max-age=60",
    'etag: "1"',
    "location: /login",
    "x-request-id: exg_1",
    "retry-after: 9",
)


@pytest.mark.parametrize("status", [200, 201, 303, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504])
def test_an_answer_shows_declared_headers_only(door: Door, status: int) -> None:
    head = "\r\n".join([f"HTTP/1.1 {status} Fine", "content-length: 2", *INSIDE, "", ""])
    door.console.scripts["/page"] = _answering(head.encode() + b"ok")
    reply = door.ask("GET", "/page")
    assert (reply.status, reply.body) == (status, b"ok")
    assert reply.names <= {*RESPONSE, *FRAMING}
    for hidden in (b"uvicorn", b"python", b"runner", b"10.0.0.1", b"envoy", b"1.1 x", b"ALLOWALL", b"2001"):
        assert hidden not in reply.raw
    assert [value for name, value in reply.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert reply["content-security-policy"] == "default-src 'self'"
    assert reply["cache-control"] == "max-age=60"
    assert (reply["location"], reply["etag"], reply["x-request-id"], reply["retry-after"]) == (
        "/login",
        '"1"',
        "exg_1",
        "9",
    )
    assert {name: reply[name] for name in SECURITY} == SECURITY


def test_strict_transport_is_said_for_real_domains_only(door: Door) -> None:
    for host in ("ai.example.org", f"ai.example.org:{door.edge.port}"):
        assert door.ask("GET", "/", host=host)["strict-transport-security"]
        assert door.ask("TRACE", "/", host=host)["strict-transport-security"]
    for host in ("localhost", "box", "127.0.0.1", "[::1]"):
        assert door.ask("GET", "/", host=host)["strict-transport-security"] is None


def test_an_answer_without_an_id_gets_one(door: Door) -> None:
    door.console.scripts["/page"] = _answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    reply = door.ask("GET", "/page")
    assert [reply["x-request-id"]] == door.console.requests[0].values("x-request-id")


def test_nothing_of_the_inside_is_named(door: Door) -> None:
    inventory = [
        str(door.layout.state),
        "gateway",
        "console",
        "envoy",
        "edge",
        str(door.envoy.pid),
        socket.gethostname(),
    ]
    for name in ERRORS:
        raw = _provoke(door, name, "x").raw.decode().lower()
        ids = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", raw)
        for secret in inventory:
            found = re.search(rf"(?<![a-z0-9]){re.escape(secret.lower())}(?![a-z0-9])", ids)
            assert found is None or (secret == "gateway" and "502 bad gateway" in raw), (name, secret, raw)


def test_the_log_has_fixed_fields_and_nothing_of_a_client(door: Door) -> None:
    marker = secrets.token_hex(16)
    for name in ERRORS:
        _provoke(door, name, marker)
    exchange = f"exg_{secrets.token_hex(8)}"
    last = f"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-request-id: {exchange}\r\n\r\n"
    door.gateway.scripts[f"/v1/{marker}"] = _answering(last.encode())
    door.ask("POST", f"/v1/{marker}?{marker}", f"authorization: {marker}", f"cookie: {marker}", body=marker.encode())
    known = {"time", "event", "route", "status", "flags", "protocol", "received", "sent", "milliseconds", "request",
             "exchange", "method"}  # fmt: skip
    lines = _log_until(door, exchange)
    for line in lines:
        assert set(json.loads(line)) <= known
        assert marker not in line
    assert {json.loads(line)["status"] for line in lines} >= {200, 400, 403, 404, 405, 413, 415, 421, 431}
    assert os.stat(door.layout.logs / "edge-access.jsonl").st_mode & 0o077 == 0


def _log_until(door: Door, needle: str) -> list[str]:
    deadline = time.monotonic() + 5
    while needle not in (text := door.log().rpartition("\n")[0]):  # the last line may just be being written
        assert time.monotonic() < deadline, text[-2000:]
    return text.split("\n")


@pytest.mark.parametrize(("method", "path"), [("TRACE", "/v1/x"), ("GET", "/v1//x"), ("GET", "/v1/a%2fb")])
def test_a_refusal_of_what_calls_itself_grpc_is_empty(door: Door, method: str, path: str) -> None:
    """Envoy answers gRPC with status 200 and the refusal in headers of gRPC's own; those are not on our list."""
    reply = door.ask(method, path, "content-type: application/grpc")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.names <= {*RESPONSE, *FRAMING}
    assert door.seen() == 0
