"""A real Envoy with our configuration in front of recording upstreams, and a client that sends exactly given bytes."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from freehold.edge import certificates, config, process
from freehold.edge.names import Names
from freehold.edge.sites import site
from freehold.settings import Edge, Layout
from tests.edge.recorder import Recorder

NAMES = Names(("ai.example.org", "box", "localhost"), ("127.0.0.1", "192.0.2.7", "::1"))


def free_port() -> int:
    """A TCP port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Reply:
    """One parsed response; `raw` is everything that came, `closed` whether the server then closed."""

    raw: bytes
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def __getitem__(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} came twice"
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        """The header names."""
        return {name for name, _ in self.headers}


def parse(raw: bytes) -> Reply:
    """The first response in `raw`; status 0 when there is none."""
    head, found, rest = raw.partition(b"\r\n\r\n")
    if not found:
        return Reply(raw)
    line, *rows = head.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (row.partition(":") for row in rows)]
    status = int(line.split(" ")[1])
    if status == 100:
        return parse(rest)
    return Reply(raw, status, headers, rest)


@dataclass
class Entrance:
    """An edge that runs."""

    edge: Edge
    layout: Layout
    envoy: subprocess.Popen[bytes]

    @property
    def host(self) -> str:
        """What a browser sends as Host."""
        return f"localhost:{self.edge.port}"

    def tls(self, alpn: str | None = None) -> ssl.SSLContext:
        """A verifying client context."""
        context = ssl.create_default_context(cafile=str(certificates.ca_file(self.layout)))
        if alpn:
            context.set_alpn_protocols([alpn])
        return context

    def connect(
        self,
        name: str = "localhost",
        *,
        alpn: str | None = None,
        timeout: float = 5.0,
        context: ssl.SSLContext | None = None,
    ) -> ssl.SSLSocket:
        """A verified TLS connection that asks for `name`."""
        plain = socket.create_connection(("127.0.0.1", self.edge.port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return (context or self.tls(alpn)).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def send(self, raw: bytes, *, whole: bool = True) -> Reply:
        """Send bytes on a new connection; read until the response is complete (or, not `whole`, the server closes)."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                connection.sendall(raw)
            return read(connection, whole=whole, head=raw.startswith(b"HEAD"))

    def ask(
        self, method: str, target: str, *rows: str, body: bytes = b"", host: str | None = None, whole: bool = True
    ) -> Reply:
        """A well-formed HTTP/1.1 request with more header rows."""
        length = [f"content-length: {len(body)}"] if body else []
        head = [f"{method} {target} HTTP/1.1", f"host: {host or self.host}", *length, *rows, "connection: close"]
        return self.send("\r\n".join([*head, "", ""]).encode("latin-1") + body, whole=whole)

    def log(self) -> str:
        """The access log as far as it is written."""
        return (self.layout.logs / config.ACCESS_LOG).read_text()


@dataclass
class Door(Entrance):
    """An edge in front of recording upstreams."""

    gateway: Recorder
    console: Recorder

    def seen(self) -> int:
        """How many requests the upstreams got."""
        return len(self.gateway.requests) + len(self.console.requests)


def read(connection: ssl.SSLSocket, *, whole: bool = True, head: bool = False) -> Reply:
    """Read one response by its framing, or everything until the server closes."""
    raw = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
        while not (whole and complete(raw, head)):
            data = connection.recv(65536)
            if not data:
                break
            raw += data
    return parse(raw)


def complete(raw: bytes, head: bool = False) -> bool:
    """Whether a whole response is there, by its framing."""
    reply = parse(raw)
    if not reply.status:
        return False
    if head or reply.status in (204, 304):
        return True
    if (length := reply["content-length"]) is not None:
        return len(reply.body) >= int(length)
    return reply.body.endswith(b"0\r\n\r\n")


@contextlib.contextmanager
def opened(edge: Edge, tenants: Sequence[str] = ()) -> Iterator[Door]:
    """Start upstreams and Envoy; stop both at the end. `tenants`: domains of workspaces with own certificates."""
    state = Path(tempfile.mkdtemp(prefix="fh-edge-"))
    layout = Layout(state)
    layout.create()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        gateway = stack.enter_context(Recorder().listening(layout.gateway_socket))
        console = stack.enter_context(Recorder().listening(layout.console_socket))
        envoy = stack.enter_context(started(edge, layout, tenants))
        yield Door(edge, layout, envoy, gateway, console)


@contextlib.contextmanager
def started(edge: Edge, layout: Layout, tenants: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Envoy, configured and ready; killed at the end."""
    sites = [site(edge, layout, f"ws_{number}", domain) for number, domain in enumerate(tenants)]
    config.write(edge, layout, NAMES, certificates.ensure(edge, layout, NAMES), sites)
    with (layout.logs / "envoy.log").open("wb") as log:
        envoy = subprocess.Popen(process.command(layout.edge / config.BOOTSTRAP), stderr=log, stdin=subprocess.DEVNULL)
    try:
        try:
            asyncio.run(process.ready(layout.envoy_admin_socket))
        except TimeoutError:
            raise AssertionError((layout.logs / "envoy.log").read_text()) from None
        yield envoy
    finally:
        _end(envoy)


def _end(envoy: subprocess.Popen[bytes]) -> None:
    envoy.kill()
    envoy.wait(10)
