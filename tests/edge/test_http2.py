"""HTTP/2: the same decisions as for HTTP/1.1, nothing smuggled through its translation, floods end the connection."""

import contextlib
import struct
from concurrent.futures import ThreadPoolExecutor

import h2.settings
import pytest

from freehold.edge.headers import OWN
from tests.edge.door import Door
from tests.edge.http2 import Client, Row, connected, rows


def _ask(door: Door, request: list[Row], body: bytes | None = None) -> int:
    with connected(door) as client:
        return client.answer(client.request(request, body)).status


def test_a_request(door: Door) -> None:
    with connected(door) as client:
        answer = client.answer(client.request(rows(door, "POST", "/v1/x", ("accept", "a")), b"{}"))
    assert (answer.status, answer.body) == (200, b'{"ok":true}')
    (request,) = door.gateway.requests
    assert (request.body, request.values("content-length"), request.values("accept")) == (b"{}", ["2"], ["a"])
    assert request.names == {"host", "accept", "content-length", *OWN}


def test_the_announced_bounds(door: Door) -> None:
    with connected(door) as client:
        client.answer(client.request(rows(door)))
        said = client.h2.remote_settings
        assert said.max_concurrent_streams == 100
        assert said.initial_window_size == 64 << 10
        assert client.h2.outbound_flow_control_window == 1 << 20
        assert not said.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL, 0)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({":path": "/v1//x"}, 400), ({":path": "/v1/%2e%2e/x"}, 400), ({":path": "/v1/a\\b"}, 400),
        ({":path": "x"}, 404),
        ({":path": "*"}, 404), ({":authority": "evil.example"}, 421), ({":authority": "localhost:1"}, 421),
        ({":method": "TRACE"}, 405), ({":method": "TRACK"}, 405), ({":method": "get"}, 405), ({":method": "FOO"}, 405),
        ({":method": "OPTIONS"}, 405),
    ],
)  # fmt: skip
def test_the_same_refusals(door: Door, changed: dict[str, str], status: int) -> None:
    request = [(name, changed.get(name, value)) for name, value in rows(door)]
    assert _ask(door, request) in (status, 400, 0)
    assert door.seen() == 0


UNTRANSLATABLE: tuple[Row, ...] = (
    ("transfer-encoding", "chunked"), ("connection", "close"), ("upgrade", "websocket"), ("Accept", "a"),
    ("keep-alive", "1"), ("proxy-connection", "close"), ("te", "chunked"), ("accept", "a\r\nx-freehold-client: 1"),
    ("accept", "a\nb"), ("accept", "a\x00b"), ("acc ept", "a"), ("accept\r\nfoo", "a"), ("accept:", "a"), ("", "a"),
    (":foo", "a"), (":path", "/v1/other"), (":authority", "evil.example"), ("content-length", "5"),
    ("content-length", "x"), ("x_forwarded_for", "1"), ("host", "evil.example"), ("accept\x00", "a"),
)  # fmt: skip


@pytest.mark.slow
def test_what_must_not_be_translated(door: Door) -> None:
    def send(number: int) -> int:
        with connected(door) as client:
            request = [*rows(door, "POST", f"/v1/{number}"), UNTRANSLATABLE[number]]
            return client.answer(client.request(request, b"abc")).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(send, range(len(UNTRANSLATABLE))))
    seen = {request.target: request for request in door.gateway.requests}
    for number, status in enumerate(statuses):
        row, request = UNTRANSLATABLE[number], seen.pop(f"/v1/{number}", None)
        assert (request is not None) == (status == 200), (row, status)
        if request is not None:  # the row was dropped, and nothing of it came through
            assert request.names == {"host", "content-length", *OWN}, row
            assert request.values("host") == [door.host]
            assert request.values("content-length") == ["3"]
    assert seen == {}


def test_plain_and_extended_connect(door: Door) -> None:
    plain = [(":method", "CONNECT"), (":authority", "evil.example:443")]
    assert _ask(door, plain) in (0, 405)
    extended = [*rows(door, "CONNECT", "/v1/x"), (":protocol", "websocket")]
    assert _ask(door, extended) in (0, 400, 403, 405)
    assert door.seen() == 0


def _ends(client: Client) -> bool:
    """Whether the server ends the connection (or said so) within the socket's patience."""
    with contextlib.suppress(TimeoutError):
        while not client.gone:
            client.receive()
    return client.gone


def test_rapid_reset_ends_the_connection(door: Door) -> None:
    with connected(door) as client:
        client.socket.settimeout(3)
        for _ in range(400):
            if client.gone:
                break
            stream = client.request(rows(door, "POST", "/v1/x"), end=False)
            client.h2.reset_stream(stream, 8)
            client.flush()
        assert _ends(client)
    assert len(door.gateway.requests) <= 100


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


FLOODS = {
    "ping": _frame(6, 0, 0, b"12345678"),
    "settings": _frame(4, 0, 0, b""),
    "empty data": _frame(0, 0, 1, b""),
    "priority": _frame(2, 0, 1, struct.pack(">IB", 0, 1)),
    "continuation": _frame(9, 0, 1, b""),
    "window update": _frame(8, 0, 0, struct.pack(">I", 1)),
    "reset of nothing": _frame(3, 0, 1, struct.pack(">I", 8)),
}


def test_a_flood_of_frames_ends_its_connection_and_hurts_nobody_else(door: Door) -> None:
    def flood(name: str) -> bool:
        with connected(door) as client:
            client.socket.settimeout(5)
            if name == "continuation":
                client.socket.sendall(_frame(1, 0, 1, b""))
            else:
                client.request(rows(door, "POST", "/v1/x"), end=False)
            with contextlib.suppress(OSError):
                for _ in range(40):
                    client.socket.sendall(FLOODS[name] * 1000)
            return _ends(client)

    with ThreadPoolExecutor(len(FLOODS)) as pool:
        ended = dict(zip(FLOODS, pool.map(flood, FLOODS), strict=True))
    assert all(ended.values()), ended
    assert door.ask("GET", "/v1/models").status == 200
    assert door.envoy.poll() is None


def test_a_header_bomb_is_refused(door: Door) -> None:
    with connected(door) as client:
        stream = client.request([*rows(door), *(("accept", "x" * 4000) for _ in range(60))])
        answer = client.answer(stream)
    assert answer.status in (0, 431)
    assert door.seen() == 0
