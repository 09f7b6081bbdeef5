"""Whose access ends while an exchange is under way loses it within a second, in every dialect, and nobody else does."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from freehold.identity import keys
from freehold.identity.sessions import open_session
from freehold.storage import credentials, groups, users, workspaces
from tests.conftest import until
from tests.console.conftest import BUILT, opened
from tests.gateway.acting import BODIES, CHATS, Exchange, begin, held, limit, message, person, places
from tests.gateway.conftest import Stage

WITHIN = 1.0


@dataclass
class Open:
    """An exchange under way, and what ends its principal's access."""

    name: str
    exchange: Exchange
    end: Callable[[Any], Awaitable[object]]
    task: asyncio.Task[tuple[int, dict[str, str], bytes]] | None = None
    took: float = 0.0


async def several(stage: Stage, path: str, body: dict[str, Any]) -> list[Open]:
    """One exchange for each way to lose access."""
    home = stage.home
    made: list[Open] = []

    async def add(name: str, secret: str, end: Callable[[Any], Awaitable[object]]) -> None:
        made.append(Open(name, await begin(home, path, body, secret), end))

    key, secret = await keys.create_key(home.database, home.key, home.workspace.id, None, "x")
    await add("key revoked", secret, lambda c: credentials.revoke(c, home.workspace.id, key.id))
    ada, secret = await person(home)
    await add("disabled", secret, lambda c: users.change(c, ada.id, disabled_at=1.0))
    bob, secret = await person(home)
    await add("deleted", secret, lambda c: users.remove(c, bob.id))
    cy, secret = await person(home)
    await add("an auditor now", secret, lambda c: users.change(c, cy.id, role="auditor"))
    dan, _ = await person(home)
    secret = await open_session(home.database, home.key, dan, 1)
    await add("signed out", secret, lambda c: credentials.revoke_sessions(c, dan.id))
    return made


async def ended(stage: Stage, opened_ones: list[Open]) -> None:
    """End everybody's access at once; how long each exchange went on is in `took`."""
    loop = asyncio.get_running_loop()

    async def watch(one: Open, began: float) -> tuple[int, dict[str, str], bytes]:
        answer = await one.exchange.answer()
        one.took = loop.time() - began
        return answer

    async with stage.home.database.write() as connection:
        for one in opened_ones:
            await one.end(connection)
    began = loop.time()
    for one in opened_ones:
        one.task = asyncio.create_task(watch(one, began))
    async with asyncio.timeout(10):
        await asyncio.gather(*(one.task for one in opened_ones if one.task))


def told(path: str, body: bytes) -> dict[str, Any]:
    """The error of a stream's last event, in the dialect of the path."""
    block = body.decode().rstrip("\n").rpartition("\n\n")[2] or body.decode()
    data = json.loads(block[block.index("data: ") + 6 :])
    if path == "/v1/responses":
        assert block.startswith("event: response.failed")
        return dict(data["response"]["error"])
    if path == "/v1/messages":
        assert block.startswith("event: error")
    return dict(data["error"])


@pytest.mark.parametrize("path", CHATS)
async def test_an_open_stream_ends_with_an_error_of_its_dialect(stage: Stage, path: str) -> None:
    stage.script = held
    places(stage, 16)
    streams = await several(stage, path, {**CHATS[path], "stream": True})
    stays = await begin(stage.home, path, {**CHATS[path], "stream": True})
    await until(lambda: stage.in_flight == len(streams) + 1)
    await ended(stage, streams)
    await until(lambda: stage.in_flight == 1, WITHIN)
    for stream in streams:
        assert stream.task is not None
        status, _, body = stream.task.result()
        assert (status, told(path, body)["code"]) == (200, "access_ended"), stream.name
        assert b"[DONE]" not in body
        assert stream.took <= WITHIN, (stream.name, stream.took)
    assert not stays.reader.at_eof()
    await stays.leave()


@pytest.mark.parametrize("path", BODIES)
async def test_an_answer_in_one_piece_becomes_a_401(stage: Stage, path: str) -> None:
    stage.script = held
    places(stage, 16)
    asked = await several(stage, path, BODIES[path])
    await until(lambda: stage.in_flight == len(asked))
    await ended(stage, asked)
    await until(lambda: stage.in_flight == 0, WITHIN)
    for one in asked:
        assert one.task is not None
        status, _, body = one.task.result()
        assert (status, json.loads(body)["error"]["code"]) == (401, "access_ended"), one.name
        assert one.took <= WITHIN, (one.name, one.took)


async def test_who_waits_in_line_or_still_sends_is_dismissed_too(stage: Stage) -> None:
    stage.script = held
    home, path = stage.home, "/v1/chat/completions"
    first = [await begin(home, path, CHATS[path]) for _ in range(2)]
    await until(lambda: stage.in_flight == 2)
    waiting = await several(stage, path, CHATS[path])
    key, secret = await keys.create_key(home.database, home.key, home.workspace.id, None, "slow")
    assert await _known(stage, secret)  # from now on it is read from memory, in the turn in which it comes
    sent = message(home, path, CHATS[path], secret)
    sends = Exchange(*await asyncio.open_unix_connection(str(home.settings.layout.gateway_socket)))
    sends.writer.write(sent[:-5])
    await until(lambda: _known(stage, secret))
    await keys.revoke_key(home.database, home.workspace.id, key.id)
    async with asyncio.timeout(WITHIN):
        assert (await sends.reader.readline()).startswith(b"HTTP/1.1 401 ")
    sends.writer.write(sent[-5:])
    assert b"access_ended" in await sends.reader.read()
    await sends.leave()
    await ended(stage, waiting)
    for one in waiting:
        assert one.task is not None
        status, _, body = one.task.result()
        assert (status, json.loads(body)["error"]["code"]) == (401, "access_ended"), one.name
    assert stage.in_flight == 2
    for served in first:
        await served.leave()


async def _known(stage: Stage, secret: str) -> bool:
    """The gateway has taken requests of this key before now: what was sent before is being read."""
    async with stage.client.request("GET", "/v1/models", None, {"authorization": f"Bearer {secret}"}) as response:
        await response.read()
        return response.status == 200


async def test_what_was_held_is_free_again_and_charged(stage: Stage) -> None:
    stage.script = held
    home, path = stage.home, "/v1/chat/completions"
    await limit(home, "workspace", home.workspace.id, concurrent=3, tokens_per_day=100_000)
    places(stage, 16)
    ada, secret = await person(home)

    async def known() -> bool:
        first = await begin(home, path, {**CHATS[path], "stream": True})
        head = await first.reader.readuntil(b"\r\n\r\n")
        await first.leave()
        return b"x-ratelimit-limit-tokens" in head

    await until(known)
    streams = [await begin(home, path, {**CHATS[path], "stream": True}, secret) for _ in range(3)]
    await until(lambda: stage.in_flight == 3)
    status, _, _ = await (await begin(home, path, CHATS[path])).answer()
    assert status == 429
    async with home.database.write() as connection:
        await users.change(connection, ada.id, disabled_at=1.0)
    for stream in streams:
        await stream.answer()
    again = await begin(home, path, {**CHATS[path], "stream": True})
    head = (await again.reader.readuntil(b"\r\n\r\n")).decode()
    left = int(head.partition("x-ratelimit-remaining-tokens: ")[2].partition("\r")[0])
    assert head.startswith("HTTP/1.1 200")
    assert 100_000 - 4096 - 2000 < left < 100_000 - 4096 - 3 * 10  # three prompts and what was said, no answers
    await again.leave()


async def test_a_change_that_takes_nothing_away_ends_nothing(stage: Stage) -> None:
    stage.script = held
    home, path = stage.home, "/v1/chat/completions"
    ada, secret = await person(home)
    session = await open_session(home.database, home.key, ada, 1)
    streams = [await begin(home, path, {**CHATS[path], "stream": True}, s) for s in (secret, session)]
    other, revoked = await keys.create_key(home.database, home.key, home.workspace.id, None, "x")
    last = await begin(home, path, {**CHATS[path], "stream": True}, revoked)
    places(stage, 3)
    await until(lambda: stage.in_flight == 3)
    async with home.database.write() as connection:
        listed = await credentials.listed(connection, home.workspace.id, "session", user_id=ada.id)
        await credentials.extend(connection, listed[0].id, 4e9)
        team = await groups.create(connection, home.workspace.id, "Team", "reviewer")
        await groups.add(connection, team.id, ada.id)
        await users.change(connection, ada.id, name="Ada", role="admin")
        await workspaces.set_domain(connection, home.workspace.id, "test.example")
        await credentials.revoke(connection, home.workspace.id, other.id)
    async with asyncio.timeout(WITHIN + 1):
        await last.answer()  # it was looked at in the same turn as the others
    await until(lambda: stage.in_flight <= 2)
    assert stage.in_flight == 2
    for stream in streams:
        await stream.leave()


async def test_a_removed_workspace_ends_all_of_its_exchanges(stage: Stage) -> None:
    stage.script = held
    home, path = stage.home, "/v1/chat/completions"
    streams = [await begin(home, path, {**CHATS[path], "stream": True}) for _ in range(2)]
    await until(lambda: stage.in_flight == 2)
    async with home.database.write() as connection:
        await workspaces.remove(connection, home.workspace.id)
    for stream in streams:
        async with asyncio.timeout(WITHIN + 1):
            status, _, body = await stream.answer()
        assert (status, told(path, body)["code"]) == (200, "access_ended")
    await until(lambda: stage.in_flight == 0, WITHIN)


async def test_a_client_that_leaves_in_the_same_moment_is_simply_gone(stage: Stage) -> None:
    stage.script = held
    home, path = stage.home, "/v1/chat/completions"
    places(stage, 64)
    for _ in range(4):
        key, secret = await keys.create_key(home.database, home.key, home.workspace.id, None, "x")
        streams = [await begin(home, path, {**CHATS[path], "stream": True}, secret) for _ in range(8)]
        await until(lambda: stage.in_flight == 8)
        await keys.revoke_key(home.database, home.workspace.id, key.id)
        waits = iter(range(8))

        async def leave(stream: Exchange, turns: int) -> None:
            for _ in range(turns * 4):
                await asyncio.sleep(0)
            await stream.leave()

        await asyncio.gather(*(leave(stream, next(waits)) for stream in streams))
        await until(lambda: stage.in_flight == 0, WITHIN)
    assert await _known(stage, home.api_key)


@BUILT
async def test_the_pages_open_answer_ends_when_its_person_is_disabled(stage: Stage) -> None:
    stage.script = held
    home = stage.home
    async with opened(home) as house:
        admin, ada = await house.person("owner"), await house.account("member")
        browser = await house.signed_in(ada)
        conversation = (await browser.post("/api/conversations")).json()["conversation"]["id"]
        asked = asyncio.create_task(
            browser.post(f"/api/conversations/{conversation}/messages", {"assistant": "m", "content": "hi"})
        )
        await until(lambda: stage.in_flight == 1)
        assert (await admin.call("PATCH", f"/api/people/{ada.id}", {"disabled": True})).status == 200
        async with asyncio.timeout(WITHIN):
            answer = await asked
        assert b"RUN_ERROR" in answer.body
        assert b"access_ended" in answer.body
        await until(lambda: stage.in_flight == 0, WITHIN)
