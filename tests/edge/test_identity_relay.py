"""The relay's way to sign-in providers: exactly the declared endpoints, and no box can use it."""

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.edge import certificates, process, relay
from freehold.edge.identity import SignIn
from freehold.edge.names import Names
from freehold.edge.relay import OutsideEngine
from freehold.protocol.errors import Misconfigured
from freehold.settings import Edge, Layout
from tests.edge.door import Reply, complete, parse
from tests.edge.test_relay import Outside, Relay, _serving


class IdentityRelay(Relay):
    """A relay with one provider without TLS and one with a CA of its own."""

    @property
    def providers(self) -> list[SignIn]:
        """What is declared."""
        plain, secure = f"http://127.0.0.1:{self.plain.port}", f"https://localhost:{self.secure.port}"
        ca = certificates.ca_file(self.layout).read_text()
        return [
            SignIn("plain", (("GET", f"{plain}/keys?p=a"), ("POST", f"{plain}/token"), ("GET", f"{plain}/a/userinfo"))),
            SignIn("own", (("GET", f"{secure}/keys"), ("POST", f"{secure}/token")), ca),
        ]

    def outward(self, host: str, target: str, method: str = "GET", *more: str) -> Reply:
        """One request of the console."""
        head = "\r\n".join([f"{method} {target} HTTP/1.1", f"host: {host}", *more, "connection: close", "", ""])
        got = b""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.layout.identity_relay))
            connection.sendall(head.encode())
            with contextlib.suppress(ConnectionError):
                while not complete(got) and (data := connection.recv(65536)):
                    got += data
        return parse(got)


@pytest.fixture(scope="module")
def running() -> Iterator[IdentityRelay]:
    with contextlib.ExitStack() as stack:
        layout = Layout(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fh-relay-"))))
        layout.create()
        shown = certificates.ensure(Edge(), layout, Names())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.chain, shown.key)
        made = IdentityRelay(layout, stack.enter_context(_serving()), stack.enter_context(_serving(context)))
        relay.write(layout, {"alpha": []}, made.providers)
        log = stack.enter_context((layout.logs / "relay.log").open("wb"))
        envoy = subprocess.Popen(process.command(layout.edge / relay.BOOTSTRAP), stderr=log)
        stack.callback(envoy.wait, 10)
        stack.callback(envoy.kill)
        asyncio.run(process.ready(relay.admin_socket(layout)))
        yield made


@pytest.fixture
def outside(running: IdentityRelay) -> IdentityRelay:
    running.plain.asked.clear()
    running.secure.asked.clear()
    return running


def test_declared_endpoints_answer_and_get_what_signs_us_in(outside: IdentityRelay) -> None:
    plain, secure = f"127.0.0.1:{outside.plain.port}", f"localhost:{outside.secure.port}"
    rows = ("authorization: Basic eA==", "cookie: a", "x-leak: b", "user-agent: c")
    assert outside.outward(plain, "/token", "POST", *rows, "content-length: 0").status == 200
    ((line, headers),) = outside.plain.asked
    assert line == "POST /token HTTP/1.1"
    assert headers == {"host": plain, "authorization": "Basic eA==", "content-length": "0"}
    assert outside.outward(plain, "/keys?p=a").status == 200
    assert outside.outward(plain, "/a/userinfo").status == 200
    assert outside.outward(secure, "/keys").status == 200, "its own CA vouches for it"
    assert outside.logged(event="egress", workspace="identity", status=200)


def test_anything_else_is_refused_and_logged(outside: IdentityRelay) -> None:
    plain, secure = f"127.0.0.1:{outside.plain.port}", f"localhost:{outside.secure.port}"
    targets = ("/", "/keys", "/keys?p=b", "/keys?p=a&x=1", "/token", "/token/", "/token?x=1", "//token", "/Token", "/a",
               "/a/userinfo/x",
               "/a/../token", "/%74oken", "/a/userinfo?x", "/.well-known/openid-configuration")  # fmt: skip
    declared = {("POST", "/token"), ("GET", "/keys?p=a"), ("GET", "/a/userinfo")}
    for method, target in itertools.product(("GET", "POST", "PUT", "DELETE", "OPTIONS"), targets):
        if (method, target) not in declared:
            assert outside.outward(plain, target, method).status == 403, (method, target)
    for host in ("evil.example", "127.0.0.1", "169.254.169.254", f"localhost:{outside.plain.port}", "localhost"):
        assert outside.outward(host, "/token", "POST").status == 403, host
    assert outside.outward(secure, "/a/userinfo").status == 403, "another provider's path"
    assert outside.outward(secure, "/keys?p=a").status == 403
    assert outside.outward("127.0.0.1:1", "/x", "CONNECT").status in (400, 403, 404)
    assert outside.asked == []
    assert outside.logged(event="egress_refused", workspace="identity", host="169.254.169.254")["status"] == 403


def test_a_runner_does_not_reach_a_provider(outside: IdentityRelay) -> None:
    assert outside.ask("alpha", f"127.0.0.1:{outside.plain.port}", "/token", "POST").status == 403
    assert outside.asked == []
    assert outside.layout.identity_relay.parent != relay.relay_socket(outside.layout, "alpha").parent
    assert outside.layout.identity_relay.stat().st_mode & 0o077 == 0


def test_a_server_of_another_ca_is_refused(outside: IdentityRelay, tmp_path: Path) -> None:
    strange = Layout(tmp_path / "strange")
    strange.create()
    shown = certificates.ensure(Edge(), strange, Names())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.chain, shown.key)
    with _serving(context) as other:
        url = f"https://localhost:{other.port}/keys"
        ours = certificates.ca_file(outside.layout).read_text()
        relay.write(outside.layout, {"alpha": []}, [*outside.providers, SignIn("x", (("GET", url),), ours)])
        assert _until_routed(outside, other) == 503
        assert other.asked == []
        theirs = certificates.ca_file(strange).read_text()
        relay.write(outside.layout, {"alpha": []}, [*outside.providers, SignIn("x", (("GET", url),), theirs)])
        deadline = time.monotonic() + 5
        while outside.outward(f"localhost:{other.port}", "/keys").status != 200:
            assert time.monotonic() < deadline
    relay.write(outside.layout, {"alpha": []}, outside.providers)


def _until_routed(outside: IdentityRelay, other: Outside) -> int:
    deadline = time.monotonic() + 5
    while (status := outside.outward(f"localhost:{other.port}", "/keys").status) == 403:
        assert time.monotonic() < deadline
    return status


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/x", "https:///x", "https://u:p@example.com/x", "https://example.com/x#y",
     "https://example.com/../x",
     "https://example.com/%2fx", "https://exa mple.com/", "https://*.example.com/", "", "x",
     "https://example.com/x?a b"],
)  # fmt: skip
def test_an_endpoint_that_cannot_be_declared(tmp_path: Path, url: str) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(Misconfigured, match="endpoint of the provider bad"):
        relay.write(layout, {}, [SignIn("bad", (("GET", url),))])
    assert not layout.edge.exists()


def test_one_server_is_trusted_in_one_way(tmp_path: Path) -> None:
    one = SignIn("one", (("GET", "https://login.example.org/a"),), "PEM one")
    for ca in (None, "PEM other"):
        with pytest.raises(Misconfigured, match="shares a server"):
            relay.write(Layout(tmp_path), {}, [one, SignIn("two", (("GET", "https://login.example.org/b"),), ca)])


def test_no_workspace_is_called_as_the_way_to_providers(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        relay.write(Layout(tmp_path), {"identity": [OutsideEngine("x", "http://127.0.0.1/v1")]})


def test_without_providers_there_is_no_way(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    layout.create()
    relay.write(layout, {"alpha": []})
    assert "identity" not in (layout.edge / relay.LISTENERS).read_text()
    listeners = json.loads((layout.edge / relay.LISTENERS).read_text())["resources"]
    assert [one["name"] for one in listeners] == ["alpha"]
