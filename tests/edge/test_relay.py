"""The egress relay: declared engines only, each workspace its own, keys added here, refusals logged."""

import asyncio
import contextlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from freehold.edge import certificates, process, relay
from freehold.edge.names import Names
from freehold.edge.relay import OutsideEngine
from freehold.protocol.errors import Misconfigured
from freehold.settings import Edge, Layout
from tests.edge.door import Reply, complete, parse


@dataclass
class Outside:
    """A server outside: what it was asked, and its address."""

    port: int
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def _serving(context: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[Outside]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.asked.append((self.requestline, {name.lower(): value for name, value in self.headers.items()}))
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(length)
            if self.path.endswith("/stream"):
                return self._stream()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        do_POST = do_PUT = do_DELETE = do_GET

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in (b"one", b"two"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                seen.go_on.wait(5)
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    seen = Outside(server.server_address[1])
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@dataclass
class Relay:
    """A relay that runs, with two engines outside: one plain, one with TLS of a CA that it trusts."""

    layout: Layout
    plain: Outside
    secure: Outside

    def declare(self, workspaces: dict[str, list[OutsideEngine]]) -> None:
        """Change what is declared."""
        relay.write(self.layout, workspaces)

    def ask(self, workspace: str, host: str, target: str = "/v1/models", method: str = "GET", *more: str) -> Reply:
        """One request of a runner."""
        head = "\r\n".join([f"{method} {target} HTTP/1.1", f"host: {host}", *more, "connection: close", "", ""])
        return self.send(workspace, head.encode())

    def send(self, workspace: str, raw: bytes) -> Reply:
        """Bytes of a runner."""
        got = b""
        with self.connect(workspace) as connection:
            connection.sendall(raw)
            with contextlib.suppress(ConnectionError):
                while not complete(got) and (data := connection.recv(65536)):
                    got += data
        return parse(got)

    @contextlib.contextmanager
    def connect(self, workspace: str) -> Iterator[socket.socket]:
        """A runner's connection."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(relay.relay_socket(self.layout, workspace)))
            yield connection

    def lines(self) -> list[str]:
        """The whole lines of the log; the last one may just be being written."""
        return (self.layout.logs / relay.ACCESS_LOG).read_text().split("\n")[:-1]

    def logged(self, **wanted: object) -> dict[str, Any]:
        """The first log entry with these values, as soon as it is there."""
        deadline = time.monotonic() + 5
        while True:
            lines = self.lines()
            for line in lines:
                entry: dict[str, Any] = json.loads(line)
                if wanted.items() <= entry.items():
                    return entry
            assert time.monotonic() < deadline, lines

    @property
    def engines(self) -> dict[str, list[OutsideEngine]]:
        """What is declared at first."""
        key = self.layout.keys / "cloud.key"
        return {
            "alpha": [
                OutsideEngine("plain", f"http://127.0.0.1:{self.plain.port}/v1"),
                OutsideEngine("cloud", f"https://localhost:{self.secure.port}/openai/v1/", key),
            ],
            "beta": [],
        }

    @property
    def asked(self) -> list[tuple[str, dict[str, str]]]:
        """What reached anybody outside."""
        return self.plain.asked + self.secure.asked


@pytest.fixture(scope="module")
def running() -> Iterator[Relay]:
    """One relay for this file."""
    with contextlib.ExitStack() as stack:
        layout = Layout(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fh-relay-"))))
        layout.create()
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        shown = certificates.ensure(Edge(), layout, Names())
        patch.setenv("SSL_CERT_FILE", str(certificates.ca_file(layout)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.chain, shown.key)
        (layout.keys / "cloud.key").write_text("sk-cloud\n")
        made = Relay(layout, stack.enter_context(_serving()), stack.enter_context(_serving(context)))
        made.declare(made.engines)
        log = stack.enter_context((layout.logs / "relay.log").open("wb"))
        envoy = subprocess.Popen(process.command(layout.edge / relay.BOOTSTRAP), stderr=log)
        stack.callback(envoy.wait, 10)
        stack.callback(envoy.kill)
        asyncio.run(process.ready(relay.admin_socket(layout)))
        yield made


@pytest.fixture
def outside(running: Relay) -> Relay:
    """The relay with nothing asked yet."""
    running.plain.asked.clear()
    running.secure.asked.clear()
    return running


def test_a_declared_engine_answers(outside: Relay) -> None:
    host = f"127.0.0.1:{outside.plain.port}"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n"
    reply = outside.send("alpha", f"{head}content-length: 2\r\ncontent-type: application/json\r\n\r\n{{}}".encode())
    assert (reply.status, reply.body) == (200, b"{}")
    ((line, headers),) = outside.plain.asked
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert headers == {"host": host, "content-length": "2", "content-type": "application/json"}
    assert outside.logged(event="egress", workspace="alpha", status=200)["sent"] == 2


def test_the_key_is_added_here_and_the_connection_is_verified(outside: Relay) -> None:
    host = f"localhost:{outside.secure.port}"
    assert outside.ask("alpha", host, "/openai/v1/models", "GET", "authorization: Bearer runner").status == 200
    ((line, headers),) = outside.secure.asked
    assert line == "GET /openai/v1/models HTTP/1.1"
    assert headers == {"host": host, "authorization": "Bearer sk-cloud"}


def test_no_key_goes_to_an_engine_without_one(outside: Relay) -> None:
    host = f"127.0.0.1:{outside.plain.port}"
    rows = ("authorization: Bearer stolen", "cookie: a", "x-leak: b", "user-agent: c", "referer: d")
    assert outside.ask("alpha", host, "/v1/models", "GET", *rows).status == 200
    assert outside.plain.asked[0][1] == {"host": host}


def test_anything_else_is_refused_and_logged(outside: Relay) -> None:
    plain, secure = f"127.0.0.1:{outside.plain.port}", f"localhost:{outside.secure.port}"
    attempts = [
        ("alpha", "evil.example", "/v1/models", "GET"),
        ("alpha", "127.0.0.1", "/v1/models", "GET"),
        ("alpha", f"localhost:{outside.plain.port}", "/v1/models", "GET"),
        ("alpha", "169.254.169.254", "/latest/meta-data", "GET"),
        ("alpha", plain, "/", "GET"),
        ("alpha", plain, "/v1", "GET"),
        ("alpha", plain, "/v10/models", "GET"),
        ("alpha", plain, "/api/pull", "POST"),
        ("alpha", plain, "/v1/../api/pull", "POST"),
        ("alpha", plain, "/v1/./x", "GET"),
        ("alpha", plain, "/v1//x", "GET"),
        ("alpha", plain, "/v1/%2e%2e/api/pull", "POST"),
        ("alpha", plain, "/v1/a\\..\\..\\api", "GET"),
        ("alpha", plain, "/v1/models", "PUT"),
        ("alpha", plain, "/v1/models", "DELETE"),
        ("alpha", plain, "/v1/models", "OPTIONS"),
        ("alpha", secure, "/v1/models", "GET"),
        ("alpha", secure, "/openai/v1/../../x", "GET"),
        ("beta", plain, "/v1/models", "GET"),
        ("beta", secure, "/openai/v1/models", "GET"),
    ]
    for attempt in attempts:
        workspace, host, target, method = attempt
        reply = outside.ask(workspace, host, target, method)
        assert reply.status == 403, attempt
        assert json.loads(reply.body)["error"]["code"] == "forbidden"
    for workspace, host, _, _ in attempts:
        assert outside.logged(event="egress_refused", workspace=workspace, host=host)["status"] == 403
    assert outside.asked == []


@pytest.mark.parametrize(
    "raw",
    [
        b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n",
        b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
        b"GET /v1/a%2f..%2fb HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: evil.example\r\nx_y: 1\r\nconnection: close\r\n\r\n",
    ],
)
def test_what_has_no_route_is_refused_and_logged_too(outside: Relay, raw: bytes) -> None:
    assert outside.send("alpha", raw).status in (400, 403, 404)
    assert outside.logged(event="egress_refused", workspace="alpha")["host"]
    assert outside.asked == []


def test_a_logged_host_is_bounded_and_cannot_break_the_line(outside: Relay) -> None:
    name = "a" * 5000 + ".example"
    assert outside.ask("beta", name).status == 403
    assert outside.logged(event="egress_refused", workspace="beta", host=name[:100])
    quoted = 'x","event":"egress'
    outside.ask("beta", quoted)
    assert all(len(json.dumps(json.loads(line))) < 500 for line in outside.lines())


def test_an_answer_streams(outside: Relay) -> None:
    outside.plain.go_on.clear()
    with outside.connect("alpha") as connection:
        connection.sendall(f"POST /v1/stream HTTP/1.1\r\nhost: 127.0.0.1:{outside.plain.port}\r\n\r\n".encode())
        got = b""
        while b"one" not in got:
            got += connection.recv(65536)
        assert b"two" not in got
        outside.plain.go_on.set()
        while b"0\r\n\r\n" not in got:
            got += connection.recv(65536)
    assert b"two" in got


def test_a_certificate_of_another_name_or_ca_is_refused(outside: Relay, tmp_path: Path) -> None:
    strange = Layout(tmp_path / "strange")
    strange.create()
    shown = certificates.ensure(Edge(), strange, Names())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.chain, shown.key)
    with _serving(context) as other:
        outside.declare({**outside.engines, "gamma": [OutsideEngine("other", f"https://127.0.0.1:{other.port}/v1")]})
        _await_socket(outside, "gamma")
        assert outside.ask("gamma", f"127.0.0.1:{other.port}").status == 503
        assert other.asked == []
    ours = certificates.ensure(Edge(), outside.layout, Names())
    wrong = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wrong.load_cert_chain(ours.chain, ours.key)
    with _serving(wrong, "127.0.0.2") as named:
        # the certificate is for 127.0.0.1, ::1 and localhost, not for this address of the loopback
        outside.declare({**outside.engines, "delta": [OutsideEngine("other", f"https://127.0.0.2:{named.port}/v1")]})
        _await_socket(outside, "delta")
        assert outside.ask("delta", f"127.0.0.2:{named.port}").status == 503
        assert named.asked == []
    outside.declare(outside.engines)


def _await_socket(outside: Relay, workspace: str) -> None:
    deadline = time.monotonic() + 5
    while True:
        with contextlib.suppress(OSError), outside.connect(workspace):
            return
        assert time.monotonic() < deadline


def test_an_engine_is_added_and_removed_while_another_streams(outside: Relay) -> None:
    outside.plain.go_on.clear()
    with outside.connect("alpha") as connection:
        connection.sendall(f"POST /v1/stream HTTP/1.1\r\nhost: 127.0.0.1:{outside.plain.port}\r\n\r\n".encode())
        got = b""
        while b"one" not in got:
            got += connection.recv(65536)
        outside.declare(
            {**outside.engines, "epsilon": [OutsideEngine("new", f"http://127.0.0.1:{outside.plain.port}/v1")]}
        )
        _await_socket(outside, "epsilon")
        deadline = time.monotonic() + 5
        while outside.ask("epsilon", f"127.0.0.1:{outside.plain.port}").status != 200:
            assert time.monotonic() < deadline
        outside.plain.go_on.set()
        while b"0\r\n\r\n" not in got:
            got += connection.recv(65536)
    outside.declare(outside.engines)


def test_a_changed_key_is_used(outside: Relay) -> None:
    (outside.layout.keys / "cloud.key").write_text("sk-renewed")
    outside.declare(outside.engines)
    deadline = time.monotonic() + 5
    while True:
        outside.ask("alpha", f"localhost:{outside.secure.port}", "/openai/v1/models")
        if outside.secure.asked[-1][1]["authorization"] == "Bearer sk-renewed":
            break
        assert time.monotonic() < deadline


def test_no_key_is_left_of_an_engine_that_is_gone(outside: Relay) -> None:
    outside.declare({"alpha": [], "beta": []})
    assert not [path for path in outside.layout.edge.iterdir() if "sk-" in path.read_text()]
    outside.declare(outside.engines)
    assert all(path.stat().st_mode & 0o077 == 0 for path in outside.layout.edge.iterdir())
    assert os.stat(relay.relay_socket(outside.layout, "alpha")).st_mode & 0o007 == 0  # the boxes' group may


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/v1", "https:///v1", "https://user:pass@example.com/v1", "https://example.com/v1?x=1",
        "https://example.com/v1#x", "https://example.com/../v1", "https://example.com/a%2fb", "https://exa mple.com/v1",
        "https://example.com:99999/v1", "https://*.example.com/v1", "https://[::1/v1", "file:///etc/passwd", "", "x",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_declared(tmp_path: Path, url: str) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(Misconfigured, match="URL of the engine bad"):
        relay.write(layout, {"ws": [OutsideEngine("bad", url)]})
    assert not layout.edge.exists()


def test_a_long_wrong_host_is_judged_quickly(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(Misconfigured):
        relay.write(Layout(tmp_path), {"ws": [OutsideEngine("bad", f"https://{'a' * 250}!/v1")]})
    assert time.monotonic() - begin < 0.5


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    engines = [OutsideEngine("one", "x"), OutsideEngine("two", "y")]
    with pytest.raises(Misconfigured) as caught:
        relay.write(Layout(tmp_path), {"ws": engines, "../up": [OutsideEngine("three", "https://example.com")]})
    assert len(caught.value.problems) == 3


def test_two_engines_at_one_place(tmp_path: Path) -> None:
    engines = [OutsideEngine("one", "http://127.0.0.1/v1"), OutsideEngine("two", "http://127.0.0.1:80/v1/")]
    with pytest.raises(Misconfigured, match="share"):
        relay.write(Layout(tmp_path), {"ws": engines})


def test_a_missing_key(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="API key of the engine cloud"):
        relay.write(Layout(tmp_path), {"ws": [OutsideEngine("cloud", "http://127.0.0.1/v1", tmp_path / "none")]})
