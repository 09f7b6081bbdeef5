"""Streams: they flow, they outlive a renewal and a change of routes, they end when the client leaves."""

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from freehold.edge import certificates, config, process
from freehold.edge.listener import OWN
from freehold.edge.names import Names
from freehold.edge.sites import site
from freehold.protocol.http import UnixClient
from freehold.settings import Edge, Layout
from tests.edge.door import NAMES, Door, free_port, opened, read
from tests.edge.http2 import connected, rows
from tests.edge.recorder import Gate


@pytest.fixture
def own_door() -> Iterator[Door]:
    """An edge whose configuration the test changes."""
    with opened(Edge(port=free_port(), domains=("ai.example.org",))) as door:
        yield door


@contextlib.contextmanager
def _stream(door: Door, gate: Gate) -> Iterator[ssl.SSLSocket]:
    door.gateway.scripts["/v1/stream"] = gate
    with door.connect() as connection:
        connection.sendall(f"POST /v1/stream HTTP/1.1\r\nhost: {door.host}\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        yield connection


def _until(connection: ssl.SSLSocket, needle: bytes) -> bytes:
    got = b""
    while needle not in got:
        data = connection.recv(65536)
        assert data, got
        got += data
    return got


def _serial(door: Door) -> str:
    with door.connect() as connection:
        found = connection.getpeercert()
    assert found
    return str(found["serialNumber"])


def _names_shown(door: Door, name: str) -> list[str]:
    """The names of the certificate that is shown for `name`; none when the connection is refused."""
    try:
        with door.connect(name) as connection:
            found = connection.getpeercert() or {}
    except (ssl.SSLError, ConnectionError):
        return []
    return [str(entry[1]) for entry in found.get("subjectAltName", ())]


def _status(door: Door, host: str) -> int:
    return door.ask("GET", "/", host=host).status


def test_each_event_arrives_at_once(door: Door) -> None:
    gate = Gate()
    with _stream(door, gate) as connection:
        for number in range(5):
            begin = time.monotonic()
            gate.let()
            _until(connection, b"data: %d\n\n" % number)
            assert time.monotonic() - begin < 0.5
        gate.finish()
        _until(connection, b"0\r\n\r\n")


def test_a_stream_outlives_a_new_certificate_and_new_routes(own_door: Door) -> None:
    door, gate = own_door, Gate()
    before = _serial(door)
    with _stream(door, gate) as connection:
        gate.let()
        _until(connection, b"data: 0")
        assert door.ask("GET", "/", host="192.0.2.99").status == 421
        moved = Names(NAMES.hosts, (*NAMES.addresses, "192.0.2.99"))
        renewed = certificates.ensure(door.edge, door.layout, moved)
        assert config.write(door.edge, door.layout, moved, renewed) == {
            config.ROUTES,
            config.secret_file(OWN),
        }
        deadline = time.monotonic() + 5
        while _serial(door) == before or door.ask("GET", "/", host="192.0.2.99").status != 200:
            assert time.monotonic() < deadline
        gate.let()
        _until(connection, b"data: 1")
        gate.finish()
        _until(connection, b"0\r\n\r\n")


def test_a_stream_outlives_a_workspace_that_comes_and_goes(own_door: Door) -> None:
    door, gate = own_door, Gate()
    certificate = certificates.ensure(door.edge, door.layout, NAMES)
    with _stream(door, gate) as connection:
        gate.let()
        _until(connection, b"data: 0")
        acme = site(door.edge, door.layout, "ws_acme", "acme.example")
        config.write(door.edge, door.layout, NAMES, certificate, [acme])
        deadline = time.monotonic() + 5
        while _names_shown(door, "acme.example") != ["acme.example"] or _status(door, "acme.example") != 200:
            assert time.monotonic() < deadline
        gate.let()
        _until(connection, b"data: 1")
        config.write(door.edge, door.layout, NAMES, certificate)
        while _names_shown(door, "acme.example") or _status(door, "acme.example") != 421:
            assert time.monotonic() < deadline + 5
        gate.let()
        _until(connection, b"data: 2")
        gate.finish()
        _until(connection, b"0\r\n\r\n")


def test_a_broken_update_changes_nothing(own_door: Door) -> None:
    before = _serial(own_door)
    for name in (config.secret_file(OWN), config.ROUTES):
        config.replace(own_door.layout.edge / name, '{"resources": [{"@type": "nonsense"}]}')
    deadline = time.monotonic() + 5
    while "nonsense" not in (own_door.layout.logs / "envoy.log").read_text():
        assert time.monotonic() < deadline
    assert _serial(own_door) == before
    assert own_door.ask("GET", "/v1/models").status == 200


@pytest.mark.slow
def test_no_request_is_lost_while_certificates_and_routes_change(own_door: Door) -> None:
    door = own_door
    stop = time.monotonic() + 1.5

    def ask(_: int) -> list[int]:
        statuses = []
        while time.monotonic() < stop:
            statuses.append(door.ask("GET", "/v1/models").status)
        return statuses

    with ThreadPoolExecutor(2) as pool:
        asked = pool.map(ask, range(2))
        for turn in range(5):
            names = Names(NAMES.hosts, (*NAMES.addresses, f"192.0.2.{100 + turn}"))
            config.write(door.edge, door.layout, names, certificates.ensure(door.edge, door.layout, names))
        statuses = [status for some in asked for status in some]
    assert len(statuses) > 20
    assert set(statuses) == {200}


@pytest.mark.parametrize("streaming", [True, False])
def test_a_client_that_leaves_is_noticed_at_once(door: Door, streaming: bool) -> None:
    gate = Gate()
    with _stream(door, gate) as connection:
        door.gateway.wait(1)
        if streaming:
            gate.let()
            _until(connection, b"data: 0")
        left = time.monotonic()
    assert gate.ended.wait(2)
    assert gate.gone_after is not None
    assert gate.gone_after - left < 0.1


def test_a_reset_http2_stream_is_noticed_and_its_neighbour_is_not(door: Door) -> None:
    gate, other = Gate(), Gate()
    door.gateway.scripts.update({"/v1/one": gate, "/v1/two": other})
    with connected(door) as client:
        first = client.request(rows(door, "POST", "/v1/one"), b"{}")
        second = client.request(rows(door, "POST", "/v1/two"), b"{}")
        door.gateway.wait(2)
        left = time.monotonic()
        client.h2.reset_stream(first, 8)
        client.flush()
        assert gate.ended.wait(2)
        assert gate.gone_after is not None
        assert gate.gone_after - left < 0.1
        other.let()
        while not client.answers[second].body:
            client.receive()
        other.finish()
        answer = client.answer(second)
    assert (answer.status, answer.body) == (200, b"data: 0\n\n")


def test_a_half_sent_body_leaves_nothing_behind(door: Door) -> None:
    """A body that never ended is never begun upstream, so no later request can meet its rest (BAR-3)."""
    for number in range(20):
        head = f"POST /v1/half{number} HTTP/1.1\r\nhost: {door.host}\r\ncontent-length: 100\r\n\r\n".encode()
        with door.connect() as connection:
            connection.sendall(head + b"GET /v1/smuggled HTTP/1.1\r\n")
        assert door.ask("GET", f"/v1/whole{number}").status == 200
    assert [request.target for request in door.gateway.requests] == [f"/v1/whole{number}" for number in range(20)]
    assert door.gateway.garbage == []


def test_an_upstream_that_is_not_there(own_door: Door) -> None:
    own_door.layout.gateway_socket.unlink()
    reply = own_door.ask("GET", "/v1/models")
    assert reply.status == 503
    assert reply["retry-after"] == "2"
    assert json.loads(reply.body)["error"]["type"] == "server_error"


def test_draining_waits_for_a_stream(own_door: Door) -> None:
    gate = Gate()
    with _stream(own_door, gate) as connection, ThreadPoolExecutor(1) as pool:
        gate.let()
        _until(connection, b"data: 0")
        assert not asyncio.run(process.drain(own_door.layout.envoy_admin_socket, timeout=0.5))
        waiting = pool.submit(asyncio.run, process.drain(own_door.layout.envoy_admin_socket, timeout=5))
        gate.let()
        _until(connection, b"data: 1")
        gate.finish()
        _until(connection, b"0\r\n\r\n")
        assert waiting.result(6)


def test_the_admin_socket_answers_few_questions(own_door: Door) -> None:
    for path in (
        "/",
        "/quitquitquit",
        "/config_dump",
        "/certs",
        "/clusters",
        "/runtime_modify?a=b",
        "/logging",
        "/server_info",
    ):
        assert asyncio.run(_admin(own_door, path)) == 403, path
    assert asyncio.run(_admin(own_door, "/ready")) == 200
    assert own_door.layout.envoy_admin_socket.stat().st_mode & 0o077 == 0


async def _admin(door: Door, path: str) -> int:
    reader, writer = await asyncio.open_unix_connection(str(door.layout.envoy_admin_socket))
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def test_an_edge_without_its_port_is_not_ready(own_door: Door) -> None:
    layout = Layout(own_door.layout.state / "second")
    layout.create()
    config.write(own_door.edge, layout, NAMES, certificates.ensure(own_door.edge, layout, NAMES))
    log = layout.logs / "envoy.log"
    with log.open("wb") as errors:
        envoy = subprocess.Popen(process.command(layout.edge / config.BOOTSTRAP), stderr=errors)

    async def asked(question: Callable[[UnixClient], Awaitable[bool]]) -> bool:
        admin = UnixClient(str(layout.envoy_admin_socket))
        try:
            return await question(admin)
        finally:
            admin.close()

    try:
        deadline = time.monotonic() + 10
        while b"Address already in use" not in log.read_bytes() or not asyncio.run(asked(process.lives)):
            assert time.monotonic() < deadline
        assert not asyncio.run(asked(process.listens))
    finally:
        envoy.kill()
        envoy.wait(10)


@pytest.mark.parametrize("bind", ["::", "0.0.0.0", "::1"])  # noqa: S104
def test_other_addresses_to_listen_on(bind: str) -> None:
    with opened(Edge(port=free_port(), bind=bind)) as door:
        for address in ("127.0.0.1", "::1"):
            if (bind, address) in {("0.0.0.0", "::1"), ("::1", "127.0.0.1")}:  # noqa: S104
                continue
            with socket.create_connection((address, door.edge.port), 5) as plain:
                tls = door.tls().wrap_socket(plain, server_hostname=address)
                host = f"[{address}]" if ":" in address else address
                tls.sendall(f"GET /v1/models HTTP/1.1\r\nhost: {host}:{door.edge.port}\r\n\r\n".encode())
                assert read(tls).status == 200
                tls.close()
        (request, *_) = door.gateway.requests
        assert request.values("x-freehold-client")[0] in ("127.0.0.1", "::1")
