"""Limits, places and workspaces through a real gateway: who is over which limit, who waits, whose host it is."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from freehold.admission.limits import LimitSet
from freehold.gateway import load
from freehold.identity import keys
from freehold.storage import credentials, engines, limits, workspaces
from tests.conftest import until
from tests.gateway.conftest import CHAT, HEAD, LAST, Stage, chunk, delta


async def limited(stage: Stage, kind: str, subject: str, **bounds: int) -> None:
    """Set limits, and wait until the gateway knows them."""
    async with stage.home.database.write() as connection:
        text = msgspec.json.encode(LimitSet(**bounds)).decode()
        await limits.put(connection, stage.home.workspace.id, kind, subject, text)

    async def known() -> bool:
        _, headers, _ = await stage.post("/v1/embeddings", {"model": "e", "input": "x" * 4})
        return any(name.startswith("x-ratelimit") for name in headers) or "concurrent" in bounds

    await until(known, 3)


async def key_id(stage: Stage) -> str:
    async with stage.home.database.read() as connection:
        return (await credentials.listed(connection, stage.home.workspace.id, "key"))[0].id


def end(prompt: int, completion: int) -> dict[str, Any]:
    return {"type": "finished", "reason": "stop", "usage": {"prompt": prompt, "completion": completion, "cached": 0}}


@pytest.mark.parametrize("kind", ["workspace", "key", "assistant", "address"])
async def test_each_subject_is_limited_by_itself(stage: Stage, kind: str) -> None:
    subject = {"workspace": stage.home.workspace.id, "key": await key_id(stage), "assistant": "m", "address": "*"}[kind]
    async with stage.home.database.write() as connection:
        bounds = msgspec.json.encode(LimitSet(requests_per_minute=3)).decode()
        await limits.put(connection, stage.home.workspace.id, kind, subject, bounds)
    await until(lambda: _told(stage), 3)
    statuses = [(await stage.chat())[0] for _ in range(4)]
    assert statuses.count(429) >= 1
    status, headers, body = await stage.chat()
    assert (status, json.loads(body)["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(headers["retry-after"]) <= 20
    if kind in ("assistant", "key"):
        _, other = await keys.create_key(stage.home.database, stage.home.key, stage.home.workspace.id, None, "other")
        if kind == "key":
            assert (await stage.post("/v1/chat/completions", CHAT, key=other))[0] == 200


async def _told(stage: Stage) -> bool:
    """Whether the gateway tells limits; spends one of the requests."""
    _, headers, _ = await stage.chat()
    return "x-ratelimit-remaining-requests" in headers


async def test_the_headers_are_as_openai_clients_read_them(stage: Stage) -> None:
    await limited(stage, "workspace", stage.home.workspace.id, requests_per_minute=60, tokens_per_day=100_000)
    _, headers, _ = await stage.chat()
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert int(headers["x-ratelimit-remaining-requests"]) < 60
    assert headers["x-ratelimit-limit-tokens"] == "100000"
    assert headers["x-ratelimit-reset-requests"].endswith("s")


async def test_tokens_are_settled_with_what_was_used(stage: Stage) -> None:
    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("Hello"), end(10, 90)) + LAST)

    stage.script = script
    await limited(stage, "workspace", stage.home.workspace.id, tokens_per_day=10_000)
    _, before, _ = await stage.chat(max_tokens=500)
    _, after, _ = await stage.chat(max_tokens=500)
    used = int(before["x-ratelimit-remaining-tokens"]) - int(after["x-ratelimit-remaining-tokens"])
    assert 95 <= used <= 105


async def test_an_answer_is_cut_to_what_the_limit_can_pay_for(stage: Stage) -> None:
    await limited(stage, "workspace", stage.home.workspace.id, tokens_per_minute=600)
    assert (await stage.chat())[0] == 200
    sent = json.loads(stage.seen[-1].partition(b"\r\n\r\n")[2])
    assert 64 <= sent["max_tokens"] < 600
    await limited(stage, "workspace", stage.home.workspace.id, largest_output=7, requests_per_minute=1000)

    async def cut() -> bool:
        await stage.chat()
        return bool(json.loads(stage.seen[-1].partition(b"\r\n\r\n")[2])["max_tokens"] == 7)

    await until(cut, 3)


async def test_a_prompt_that_is_too_large_is_refused(stage: Stage) -> None:
    await limited(stage, "key", "*", largest_input=50, requests_per_minute=1000)
    status, _, body = await stage.chat(messages=[{"role": "user", "content": "word " * 500}])
    assert (status, json.loads(body)["error"]["code"]) == (400, "input_too_large")


async def test_at_once_and_settled_when_the_client_leaves(stage: Stage) -> None:
    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("a")))
        await reader.read()

    await limited(stage, "key", await key_id(stage), concurrent=1)
    stage.script = script
    await until(lambda: _refused_beside_another(stage), 5)


async def _refused_beside_another(stage: Stage) -> bool:
    before = stage.in_flight
    first = asyncio.create_task(stage.chat(stream=True))
    await until(lambda: stage.in_flight > before)
    second = asyncio.create_task(stage.chat())
    done, _ = await asyncio.wait({second}, timeout=0.3)
    refused = bool(done) and second.result()[0] == 429
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await until(lambda: stage.in_flight == 0)
    return refused


async def test_after_disconnects_at_any_moment_everything_is_settled(stage: Stage) -> None:
    """A thousand clients that leave at once: no place and no slot stays taken."""
    gate = asyncio.Event()

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("a")))
        await asyncio.wait(
            {asyncio.create_task(reader.read()), asyncio.create_task(gate.wait())}, return_when="FIRST_COMPLETED"
        )

    await limited(stage, "key", await key_id(stage), concurrent=300)
    stage.script = script
    path = str(stage.home.settings.layout.gateway_socket)
    body = json.dumps({**CHAT, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stage.home.api_key}\r\n"
    for turn in range(1000):
        reader, writer = await asyncio.open_unix_connection(path)
        message = head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
        writer.write(message[: len(message) - turn % 3])
        if turn % 2:
            await asyncio.sleep(0)
        if turn % 7 == 0 and turn % 3 == 0:
            await asyncio.wait_for(reader.read(64), 5)
        writer.close()
    await until(lambda: stage.in_flight == 0, 1.0)
    gate.set()
    assert (await stage.chat())[0] in (200, 502)

    def idle() -> bool:
        return all(p.in_flight == p.depth == 0 for p in load.read(stage.home.settings.layout.run))

    await until(idle, 3)


async def test_the_lines_before_the_runners_are_published(stage: Stage) -> None:
    gate = asyncio.Event()

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(HEAD + chunk(delta("a"), end(1, 1)) + LAST)

    stage.script = script
    tasks = [asyncio.create_task(stage.chat()) for _ in range(5)]

    def busy() -> bool:
        return any((p.in_flight, p.depth, p.slots) == (2, 3, 2) for p in load.read(stage.home.settings.layout.run))

    await until(busy, 5)
    gate.set()
    assert [status for status, _, _ in await asyncio.gather(*tasks)] == [200] * 5


async def test_who_waits_is_shown_the_line_only_where_it_is_asked_for(stage: Stage) -> None:
    gate = asyncio.Event()

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(HEAD + chunk(delta("a"), end(1, 1)) + LAST)

    stage.script = script
    first = [asyncio.create_task(stage.chat()) for _ in range(2)]
    await until(lambda: stage.in_flight == 2)
    headers = {"authorization": f"Bearer {stage.home.api_key}", "x-freehold-wait": "show"}
    body = json.dumps({**CHAT, "stream": True}).encode()
    async with stage.client.request("POST", "/v1/chat/completions", body, headers) as response:
        chunks = aiter(response.body())
        assert json.loads((await anext(chunks)).removeprefix(b": waiting "))["position"] == 0
        gate.set()
        rest = b"".join([part async for part in chunks])
    assert b"[DONE]" in rest
    await asyncio.gather(*first)


async def test_a_workspace_is_its_host_and_its_credential(stage: Stage) -> None:
    home = stage.home
    async with home.database.write() as connection:
        acme = await workspaces.create(connection, "Acme", "acme.example")
        await engines.add(connection, acme.id, name="m", kind="llamacpp", model="tiny", default=True)
    _, foreign = await keys.create_key(home.database, home.key, acme.id, None, "acme")

    async def models(key: str, host: str) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {key}", "x-freehold-host": host}
        async with stage.client.request("GET", "/v1/models", None, headers) as response:
            body = json.loads(await response.read())
            body.get("error", {}).pop("request_id", None)
            return response.status, json.dumps(body)

    async def known() -> bool:
        return (await models(foreign, "acme.example"))[0] == 200

    await until(known, 3)
    assert (await models(foreign, "ACME.example:8443"))[0] == 200
    assert (await models(home.api_key, "localhost:8443"))[0] == 200
    wrong = {
        await models(foreign, "localhost"),
        await models(home.api_key, "acme.example"),
        await models("fh_x", "localhost"),
    }
    assert len(wrong) == 1
    assert next(iter(wrong))[0] == 401


async def test_a_key_is_for_what_it_is_for(stage: Stage) -> None:
    home = stage.home
    _, scoped = await keys.create_key(home.database, home.key, home.workspace.id, None, "a", scopes=("embeddings",))
    _, narrow = await keys.create_key(home.database, home.key, home.workspace.id, None, "b", assistants=("e",))
    _, near = await keys.create_key(home.database, home.key, home.workspace.id, None, "c", sources=("192.0.2.0/24",))
    status, _, body = await stage.post("/v1/chat/completions", CHAT, key=scoped)
    assert (status, json.loads(body)["error"]["code"]) == (403, "scope_missing")
    status, _, body = await stage.post("/v1/chat/completions", CHAT, key=narrow)
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    for address, expected in (("192.0.2.7", 200), ("198.51.100.1", 401), ("", 401)):
        headers = {"authorization": f"Bearer {near}", "x-freehold-client": address}
        async with stage.client.request("GET", "/v1/models", None, headers) as response:
            await response.read()
            assert response.status == expected


async def test_one_credential_whatever_header_carries_it(stage: Stage) -> None:
    key = stage.home.api_key
    for headers, expected in (
        ({"authorization": f"Bearer {key}"}, 200),
        ({"authorization": f"bearer {key}"}, 200),
        ({"x-api-key": key}, 200),
        ({"api-key": key}, 200),
        ({"authorization": f"Basic {key}"}, 401),
        ({"authorization": key}, 401),
        ({"x-api-key": key + "x"}, 401),
        ({"authorization": f"Bearer {key}", "x-api-key": key}, 400),
        ({"cookie": f"__Host-freehold={key}"}, 401),
    ):
        async with stage.client.request("GET", "/v1/models", None, headers) as response:
            await response.read()
            assert response.status == expected, headers
