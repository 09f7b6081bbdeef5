"""Through the whole stack: clients that leave at every endpoint, and a person whose access ends in mid-answer."""

import asyncio
import contextlib
import json
import random
import socket
import time
from typing import Any

import httpx
import msgspec
import pytest

from freehold.protocol.chat import RunnerHealth
from freehold.protocol.http import UnixClient
from freehold.settings import load
from tests.conftest import until
from tests.stack.conftest import Stack
from tests.stack.test_identity import browser, join

pytestmark = pytest.mark.stack

CHAT, EMBED = "smollm2-135m-instruct-q4_1", "all-minilm-l6-v2"
STORY = [{"role": "user", "content": "Write a very long story."}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": CHAT, "messages": STORY},
    "/v1/messages": {"model": CHAT, "messages": STORY, "max_tokens": 2000},
    "/v1/responses": {"model": CHAT, "input": "Write a very long story."},
    "/v1/embeddings": {"model": EMBED, "input": ["word " * 200] * 20},
}


async def begun(stack: Stack, path: str, *, stream: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    body = json.dumps({**BODIES[path], **({"stream": True} if stream else {})}).encode()
    reader, writer = await asyncio.open_connection("localhost", stack.port, ssl=stack.context, family=socket.AF_INET)
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: localhost:%d\r\nauthorization: Bearer %b\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (path.encode(), stack.port, stack.key.encode(), len(body), body)
    )
    return reader, writer


async def test_clients_that_leave_at_any_moment_leave_the_runner_idle(stack: Stack) -> None:
    chance = random.Random(260)  # noqa: S311 - when they leave
    (path,) = load(stack.state).layout.runners.glob("*/runner.sock")
    runner = UnixClient(str(path))

    async def in_flight() -> int:
        async with runner.request("GET", "/health") as response:
            return msgspec.json.decode(await response.read(), type=RunnerHealth).in_flight

    async def idle() -> bool:
        return await in_flight() == 0

    async def leaver(number: int) -> None:
        where = sorted(BODIES)[number % len(BODIES)]
        reader, writer = await begun(stack, where, stream=where != "/v1/embeddings" and chance.random() < 0.6)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.random() * 0.5):
                await reader.read(chance.randrange(1, 8192))
        writer.transport.abort()

    was_busy = False
    for _ in range(10):
        leavers = asyncio.gather(*(leaver(n) for n in range(8)))
        while not leavers.done():
            was_busy |= await in_flight() > 0
        await leavers
    left = time.monotonic()
    await until(idle, 1.0)
    assert was_busy
    assert time.monotonic() - left <= 1.0
    runner.close()
    with httpx.Client(verify=stack.context, base_url=stack.up["url"], timeout=60) as client:
        headers = {"authorization": f"Bearer {stack.key}"}
        for where, body in BODIES.items():
            short = {"max_tokens": 5} if "messages" in body else {"max_output_tokens": 5} if "input" in body else {}
            short = {} if where == "/v1/embeddings" else short
            assert client.post(where, json={**body, **short}, headers=headers).status_code == 200


def test_a_persons_open_answer_ends_within_a_second_of_being_disabled(stack: Stack) -> None:
    with browser(stack) as admin, browser(stack) as client:
        join(stack, admin, "ines@example.org", "owner")
        join(stack, client, "dora@example.org", "member")
        dora = next(p for p in admin.get("/api/people").json()["people"] if p["email"] == "dora@example.org")
        conversation = client.post("/api/conversations", json={}).json()["conversation"]["id"]
        asked = {"assistant": CHAT, "content": "Write a very long story about a river. Do not stop."}
        with client.stream("POST", f"/api/conversations/{conversation}/messages", json=asked) as answer:
            lines = answer.iter_lines()
            assert any("TEXT_MESSAGE_CONTENT" in line for line in lines)
            assert admin.patch(f"/api/people/{dora['id']}", json={"disabled": True}).status_code == 200
            disabled = time.monotonic()
            rest = list(lines)
            took = time.monotonic() - disabled
        assert any("RUN_ERROR" in line and "access_ended" in line for line in rest), rest[-3:]
        assert took <= 1.0, took
