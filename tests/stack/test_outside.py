"""An outside engine: reached only through the relay, only where it was declared, with its key kept out of the box."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.conftest import until
from tests.stack.conftest import Stack, alive

pytestmark = pytest.mark.stack


class _Server(BaseHTTPRequestHandler):
    """An OpenAI-compatible server of somebody else: answers in a stream, remembers what it was sent."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        chunks = [
            {"choices": [{"index": 0, "delta": {"content": "far "}}]},
            {"choices": [{"index": 0, "delta": {"content": "away"}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        ]
        stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(stream)))
        self.end_headers()
        self.wfile.write(stream.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def outside() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    _Server.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", _Server.seen
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_outside_engine_comes_and_goes_while_it_runs(
    fresh: Stack, outside: tuple[str, list[tuple[str, dict[str, str], bytes]]]
) -> None:
    url, seen = outside
    fresh.start()
    fresh.key = fresh.json("key", "create", "t")["key"]
    secret = fresh.state.parent / "secret"
    secret.write_text("sk-outside\n")
    fresh.json("engine", "add", "far", "--url", url, "--model", "their-name", "--key-file", str(secret))

    def ask() -> httpx.Response:
        body = {"model": "far", "messages": [{"role": "user", "content": "Where are you?"}]}
        headers = {"authorization": f"Bearer {fresh.key}"}
        address = f"{fresh.up['url']}/v1/chat/completions"
        return httpx.post(address, json=body, headers=headers, verify=fresh.context, timeout=30)

    async def answers() -> bool:
        return (await asyncio.to_thread(ask)).status_code == 200

    await until(answers, 20)
    answer = ask().json()
    assert answer["choices"][0]["message"]["content"] == "far away"
    assert answer["usage"]["total_tokens"] == 7
    path, headers, body = seen[-1]
    assert (path, json.loads(body)["model"]) == ("/v1/chat/completions", "their-name")
    assert headers["authorization"] == "Bearer sk-outside"
    assert fresh.key.encode() not in json.dumps(headers).encode() + body
    assert fresh.freehold("doctor", "--seal").returncode == 0

    runner = next(row["pid"] for row in fresh.json("status")["processes"] if row["name"].startswith("runner"))
    assert alive(runner)
    fresh.json("engine", "remove", "far")

    async def gone() -> bool:
        return (await asyncio.to_thread(ask)).status_code == 404

    await until(gone, 20)
    logs = b"".join(path.read_bytes() for path in (fresh.state / "logs").iterdir())
    assert b"Where are you" not in logs
    assert b"sk-outside" not in logs


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://u:p@host/v1", "http://host/v1?x=1", "nonsense", "http:///v1"])
def test_an_address_that_is_none(stack: Stack, url: str) -> None:
    done = stack.freehold("engine", "add", "bad", "--url", url, "--model", "m", "--json")
    assert done.returncode == 78
    assert "base address" in done.stdout
