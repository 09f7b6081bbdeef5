"""Where one message ends and the next begins: anything ambiguous is refused, and no second request gets through."""

import pytest

from freehold.edge.routes import METHODS
from tests.edge.door import Door, read

SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
TRANSFER_ENCODINGS = (
    "transfer-encoding: chunked",
    "Transfer-Encoding: Chunked",
    "transfer-encoding : chunked",
    "transfer-encoding:\tchunked",
    "transfer-encoding:chunked",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunkedx",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: x",
    "transfer-encoding: x\r\ntransfer-encoding: chunked",
    'transfer-encoding: "chunked"',
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: ,chunked",
    "transfer-encoding: chunked,",
    "transfer-encoding:\x0bchunked",
    "transfer-encoding: \x00chunked",
    "transfer-encoding: chunked\x00",
    "transfer-encoding\x00: chunked",
    "transfer-encoding:\r\n chunked",
    "x: y\ntransfer-encoding: chunked",
    " transfer-encoding: chunked",
    "transfer_encoding: chunked",
    "transfer-encoding",
    "transfer-encoding: identity",
    "transfer-encoding:",
    "\x00transfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding: chu\x0ank\x0aed",
    "transfer-encoding: cow",
    "tRANSFER-eNCODING: CHUNKED",
    "transfer-encoding: chunked\t",
)
LENGTHS = (
    "+{n}",
    "-{n}",
    "{n}, {n}",
    "{n},{m}",
    "{n}\r\ncontent-length: {m}",
    "0x{n}",
    "{n}x",
    "{n} {m}",
    "",
    " ",
    "{n}.0",
    "1e1",
    "99999999999999999999",
    "18446744073709551616",
    "{n}\x00",
    "\x0b{n}",
    "０",
    "²",
)
CHUNKS = (
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"-1\r\nabc\r\n0\r\n\r\n",
    b"g\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nab\r\n0\r\n\r\n",
    b"\r\n3\r\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcX\r\n0\r\n\r\n",
    b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    b"3\r\r\nabc\r\n0\r\n\r\n",
    b"3_0\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
)


def _post(door: Door, *rows: str, body: bytes) -> int:
    """Send one POST with something behind it, then look who got what."""
    head = "\r\n".join(["POST /v1/first HTTP/1.1", f"host: {door.host}", *rows, "", ""]).encode(
        "utf-8", "surrogateescape"
    )
    reply = door.send(head + body, whole=False) if not body else door.send(head + body)
    assert all(request.target == "/v1/first" for request in door.gateway.requests), rows
    assert door.gateway.garbage == []
    return reply.status


@pytest.mark.parametrize("row", TRANSFER_ENCODINGS)
def test_transfer_encoding_beside_a_length(door: Door, row: str) -> None:
    body = b"0\r\n\r\n" + SMUGGLED
    for rows in (
        (f"content-length: {len(body)}", row),
        (row, f"content-length: {len(body)}"),
        (row, "content-length: 5"),
    ):
        door.gateway.clear()
        assert _post(door, *rows, body=body) in (400, 426, 501), rows
        assert door.seen() == 0


@pytest.mark.parametrize("value", LENGTHS)
def test_a_length_that_is_no_plain_number(door: Door, value: str) -> None:
    row = f"content-length: {value.format(n=len(SMUGGLED), m=3)}"
    assert _post(door, row, body=SMUGGLED) in (400, 413)
    assert door.seen() == 0


@pytest.mark.parametrize("chunks", CHUNKS)
def test_a_malformed_chunk(door: Door, chunks: bytes) -> None:
    assert _post(door, "transfer-encoding: chunked", body=chunks + SMUGGLED) == 400
    assert door.seen() == 0


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/x", b"GET /v1/x HTTP/2.0", b"GET /v1/x HTTP/0.9",
        b"GET /v1/x HTTP/1.1x", b"G\x00T /v1/x HTTP/1.1", b"GET /v1/x HTTP/1.10",
        b"GET /v1/x\x00 HTTP/1.1", b"GET /v1/\xff HTTP/1.1", b" GET /v1/x HTTP/1.1", b"GET /v1/x http/1.1",
        b"GET /v1/x HTTP/1.1\r\nfoo bar: x", b"GET /v1/x HTTP/1.1\r\n: x", b"GET /v1/x HTTP/1.1\r\nfoo",
        b"GET /v1/x HTTP/1.1\r\nfoo : x", b"GET /v1/x HTTP/1.1\r\nf\x01: x", b"GET /v1/x HTTP/1.1\r\nfoo: a\x00b",
        b"GET /v1/x HTTP/1.1\r\nfoo: a\x01b\r\nauthorization: a\x00b",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)  # fmt: skip
def test_a_malformed_head(door: Door, head: bytes) -> None:
    reply = door.send(head + b"\r\nhost: localhost\r\n\r\n" + SMUGGLED)
    assert reply.status in (0, 400, 426)
    assert door.seen() == 0


@pytest.mark.parametrize(
    ("line", "row", "expected"),
    [
        ("POST  /v1/first HTTP/1.1", "accept: a", "a"),
        ("POST /v1/first  HTTP/1.1", "accept: a", "a"),
        ("POST\t/v1/first\tHTTP/1.1", "accept: a", "a"),
        ("POST /v1/first HTTP/1.1", "accept: a\r\n transfer-encoding: chunked", "a transfer-encoding: chunked"),
        ("POST /v1/first HTTP/1.1", "accept: a\rtransfer-encoding: chunked", "atransfer-encoding: chunked"),
    ],
)
def test_what_envoy_reads_leniently_is_written_anew(door: Door, line: str, row: str, expected: str) -> None:
    """Spaces in the request line, folded lines and bare CRs mean one thing to Envoy, and nobody else sees them."""
    head = "\r\n".join([line, f"host: {door.host}", f"content-length: {len(SMUGGLED)}", row, "", ""]).encode()
    assert door.send(head + SMUGGLED).status == 200
    (request,) = door.gateway.requests
    assert request.raw.startswith(b"POST /v1/first HTTP/1.1\r\n")
    assert request.values("accept") == [expected]
    assert request.body == SMUGGLED
    assert b"\r" not in request.raw.replace(b"\r\n", b"")


@pytest.mark.parametrize("chunks", [b"3 3\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n"])
def test_a_chunk_size_with_a_tail_is_written_anew(door: Door, chunks: bytes) -> None:
    assert _post(door, "transfer-encoding: chunked", body=chunks) == 200
    (request,) = door.gateway.requests
    assert (request.body, request.values("content-length")) == (b"abc", ["3"])


def test_after_a_refusal_the_connection_ends(door: Door) -> None:
    bad = b"POST /v1/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    with door.connect() as connection:
        connection.sendall(bad + SMUGGLED)
        everything = read(connection, whole=False)
    assert everything.raw.count(b"HTTP/1.1 ") == 1
    assert door.seen() == 0


def test_a_get_with_a_body_is_one_request(door: Door) -> None:
    assert door.ask("GET", "/v1/first", body=SMUGGLED).status == 200
    (request,) = door.gateway.requests
    assert (request.target, request.body) == ("/v1/first", SMUGGLED)


def test_a_refused_request_with_a_body_does_not_become_two(door: Door) -> None:
    """What is refused before its body came must not leave the body to be read as a request."""
    for target, rows in (("/v1//x", ()), ("/v1/x", ("content-encoding: gzip",)), ("/v1/x", ("x-http-method: PUT",))):
        length = f"content-length: {len(SMUGGLED)}"
        head = "\r\n".join([f"POST {target} HTTP/1.1", f"host: {door.host}", length, *rows, "", ""]).encode()
        with door.connect() as connection:
            connection.sendall(head)
            first = read(connection)
            assert first.status in (400, 405, 415)
            try:
                connection.sendall(SMUGGLED + SMUGGLED)
            except OSError:
                continue
            assert read(connection, whole=False).status == 0
        assert door.seen() == 0


def test_pipelined_requests_stay_in_order(door: Door) -> None:
    head = b"GET /v1/%d HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with door.connect() as connection:
        connection.sendall(b"".join(head % number for number in range(5)))
        door.gateway.wait(5)
    assert [request.target for request in door.gateway.requests] == [f"/v1/{number}" for number in range(5)]


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "PATCH", "DELETE", "HEAD", "POST", "GET"])
@pytest.mark.parametrize("path", ["/v1/x", "/healthz", "/x"])
def test_only_declared_methods(door: Door, method: str, path: str) -> None:
    area = "gateway" if path == "/v1/x" else "health" if path == "/healthz" else "console"
    reply = door.ask(method, path)
    if method in METHODS[area]:
        assert reply.status == 200
        return
    assert reply.status == 405
    assert reply["allow"] == ", ".join(METHODS[area])
    assert door.seen() == 0


@pytest.mark.parametrize("method", ["TRACK", "PROPFIND", "DEBUG", "get", "Post", "G", "X" * 200, "GET\x01"])
def test_methods_that_the_parser_does_not_know(door: Door, method: str) -> None:
    """Envoy's HTTP/1 parser ends these before there is a route: 400, and the same nothing in the answer."""
    reply = door.ask(method, "/v1/x")
    assert reply.status in (400, 405)
    assert method.encode() not in reply.body
    assert door.seen() == 0


@pytest.mark.parametrize("target", ["localhost:443", "localhost", "evil.example:443", "127.0.0.1:22", "/v1/x"])
def test_connect_is_refused(door: Door, target: str) -> None:
    reply = door.send(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
    assert reply.status in (400, 405)
    assert b"evil" not in reply.raw
    assert door.seen() == 0


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"])
def test_method_overrides_are_refused(door: Door, name: str) -> None:
    assert door.ask("POST", "/v1/x", f"{name}: DELETE").status == 405
    assert door.seen() == 0


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "TLS/1.0", "foo"])
def test_upgrades_are_not_offered(door: Door, upgrade: str) -> None:
    reply = door.ask("GET", "/v1/x", f"upgrade: {upgrade}", "connection: upgrade")
    assert reply.status in (200, 403)
    assert all("upgrade" not in request.names for request in door.gateway.requests)
