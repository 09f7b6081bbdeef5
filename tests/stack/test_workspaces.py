"""A second workspace comes and goes while Freehold runs: its own name, certificate, runner, people, keys and limits."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack.conftest import Stack

pytestmark = pytest.mark.stack

DOMAIN = "acme.example"
CHAT = "smollm2-135m-instruct-q4_1"


async def ask(
    stack: Stack, method: str, path: str, body: Any = None, *, domain: str, sni: str | None = None, **headers: str
) -> tuple[int, Any]:
    """A request to a name that no resolver knows, over TLS that is verified."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", stack.port, ssl=stack.context, server_hostname=sni or domain
    )
    data = json.dumps(body).encode() if body is not None else b""
    rows = [f"{method} {path} HTTP/1.1", f"host: {domain}:{stack.port}", "connection: close"]
    rows += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if data:
        rows += [f"content-length: {len(data)}", "content-type: application/json"]
    writer.write("\r\n".join([*rows, "", ""]).encode() + data)
    answer = await asyncio.wait_for(reader.read(), 120)
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        rest = rest.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    return int(head.split()[1]), json.loads(rest) if rest.startswith(b"{") else rest


@pytest.fixture(scope="module")
def acme(stack: Stack) -> Iterator[dict[str, Any]]:
    """The workspace, made while the instance runs, and reachable."""
    pids = stack.pids()
    made = stack.json("workspace", "create", "acme", "--domain", DOMAIN)
    key = stack.json("key", "create", "acme", "--workspace", "acme")["key"]
    deadline = time.monotonic() + 60
    while not _answers(stack, key):
        assert time.monotonic() < deadline, stack.freehold("logs").stdout[-2000:]
    still = stack.pids()
    assert {name: pid for name, pid in still.items() if name in pids} == pids
    yield {**made, "key": key}
    stack.json("workspace", "remove", "acme")
    while _answers(stack, key):
        assert time.monotonic() < deadline + 60


def _answers(stack: Stack, key: str) -> bool:
    try:
        body = {"model": CHAT, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        status, _ = asyncio.run(
            ask(stack, "POST", "/v1/chat/completions", body, domain=DOMAIN, authorization=f"Bearer {key}")
        )
    except (ssl.SSLError, ConnectionError):
        return False
    return status == 200


async def test_it_has_its_own_runner(stack: Stack, acme: dict[str, Any]) -> None:
    runners = [row["name"] for row in stack.json("status")["processes"] if row["name"].startswith("runner")]
    assert len(runners) == 2


async def test_a_credential_is_for_its_own_workspace(stack: Stack, acme: dict[str, Any]) -> None:
    own = f"Bearer {acme['key']}"
    assert (await ask(stack, "GET", "/v1/models", domain=DOMAIN, authorization=own))[0] == 200
    assert (await ask(stack, "GET", "/v1/models", domain="localhost", authorization=own))[0] == 401
    assert (await ask(stack, "GET", "/v1/models", domain=DOMAIN, authorization=f"Bearer {stack.key}"))[0] == 401
    assert (await ask(stack, "GET", "/v1/models", domain="localhost", authorization=f"Bearer {stack.key}"))[0] == 200


async def test_the_page_knows_whose_it_is(stack: Stack, acme: dict[str, Any]) -> None:
    _, here = await ask(stack, "GET", "/api/site", domain=DOMAIN)
    _, there = await ask(stack, "GET", "/api/site", domain="localhost")
    assert here["workspace"]["name"] == "acme"
    assert here["claimed"] is False
    assert there["workspace"]["name"] != "acme"


async def test_its_claim_is_good_under_its_own_name_only(stack: Stack, acme: dict[str, Any]) -> None:
    token = acme["claim_url"].rpartition("token=")[2]
    person = {"token": token, "name": "Wile", "email": "wile@acme.example", "password": "correct horse battery"}
    wrong = f"https://localhost:{stack.port}"
    status, told = await ask(stack, "POST", "/api/claim", person, domain="localhost", origin=wrong)
    assert (status, told["error"]["code"]) == (403, "claim_invalid")
    right = f"https://{DOMAIN}:{stack.port}"
    status, _ = await ask(stack, "POST", "/api/claim", person, domain=DOMAIN, origin=right)
    assert status == 200


async def test_its_limits_are_its_own(stack: Stack, acme: dict[str, Any]) -> None:
    stack.json("limit", "set", "key", "*", "--requests-per-minute", "5", "--workspace", "acme")
    own = f"Bearer {acme['key']}"
    body = {"model": CHAT, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}

    async def chat(domain: str, credential: str) -> int:
        return (await ask(stack, "POST", "/v1/chat/completions", body, domain=domain, authorization=credential))[0]

    deadline = time.monotonic() + 30
    while await chat(DOMAIN, own) != 429:
        assert time.monotonic() < deadline
    assert await chat("localhost", f"Bearer {stack.key}") == 200
    stack.json("limit", "remove", "key", "*", "--workspace", "acme")


def test_what_cannot_be(stack: Stack, acme: dict[str, Any]) -> None:
    for arguments, code in (
        (("create", "acme", "--domain", "other.example"), 1),
        (("create", "other", "--domain", DOMAIN), 1),
        (("create", "other", "--domain", "no domain"), 78),
        (("create", "other", "--domain", "localhost"), 78),
        (("remove", "nobody", "--yes"), 1),
    ):
        done = stack.freehold("workspace", *arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    assert len(stack.json("workspace", "list")) == 2
