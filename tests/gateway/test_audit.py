"""What the audit log says of exchanges: the intent is there before anything happens, the outcome however it ends."""

import asyncio
import fcntl
import time

import msgspec
import pytest

from freehold.admission.limits import LimitSet
from freehold.audit.events import Action, By, Entry, Kind, Outcome, Reason, decode
from freehold.audit.folder import LOCK, Snapshot, locked
from freehold.audit.log import signer
from freehold.settings import Layout
from freehold.storage import limits
from tests.conftest import until
from tests.gateway.acting import CHATS
from tests.gateway.conftest import FINISHED, HEAD, LAST, Stage, chunk, delta

KINDS = {"/v1/chat/completions": Kind.CHAT, "/v1/messages": Kind.MESSAGES, "/v1/responses": Kind.RESPONSES}


def told(layout: Layout) -> list[Entry]:
    """The whole log, as it can be read from its files now."""
    return [decode(entry) for _, entry in Snapshot(layout.audit, signer(layout).verifier).entries()]


async def of(stage: Stage, action: Action, count: int = 1) -> list[Entry]:
    """The entries of an action, once there are so many."""
    found: list[Entry] = []

    def there() -> bool:
        found[:] = [entry for entry in told(stage.home.settings.layout) if entry.action is action]
        return len(found) >= count

    await until(there)
    assert len(found) == count
    return found


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("path", CHATS)
async def test_an_exchange_is_its_intent_and_its_outcome(stage: Stage, path: str, streaming: bool) -> None:
    assert (await stage.post(path, {**CHATS[path], "stream": streaming}))[0] == 200
    (intent,), (outcome,) = await of(stage, Action.EXCHANGE_INTENT), await of(stage, Action.EXCHANGE_OUTCOME)
    assert intent.sequence < outcome.sequence
    assert (intent.exchange, intent.workspace) == (outcome.exchange, outcome.workspace)
    assert (intent.kind, intent.by, intent.workspace) == (KINDS[path], By.API, stage.home.workspace.id)
    assert intent.engine is not None
    assert intent.credential is not None
    assert (outcome.outcome, outcome.reason, outcome.input_tokens, outcome.output_tokens) == (Outcome.DONE, None, 3, 2)


async def test_the_intent_is_durable_before_a_runner_is_asked(stage: Stage) -> None:
    seen: list[Action] = []

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(entry.action for entry in told(stage.home.settings.layout))
        writer.write(HEAD + chunk(delta("a"), FINISHED) + LAST)

    stage.script = script
    assert (await stage.chat())[0] == 200
    assert seen[-1] is Action.EXCHANGE_INTENT
    assert Action.EXCHANGE_OUTCOME not in seen


async def test_how_it_ends_is_told_however_it_ends(stage: Stage) -> None:
    async def hangs(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("a")))
        await reader.read()

    async def breaks(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("a"), {"type": "failed", "code": "engine_failed"}) + LAST)

    stage.script = breaks
    assert (await stage.chat())[0] == 502
    stage.script = hangs
    leaving = asyncio.create_task(stage.chat(stream=True))
    await until(lambda: stage.in_flight == 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await of(stage, Action.EXCHANGE_OUTCOME, 2)
    home = stage.home
    async with home.database.write() as connection:
        bounds = msgspec.json.encode(LimitSet(largest_input=1)).decode()
        await limits.put(connection, home.workspace.id, "key", "*", bounds)
    statuses = [502]

    async def limited() -> bool:
        stage.script = breaks
        statuses.append((await stage.chat())[0])
        return statuses[-1] == 400

    await until(limited)
    outcomes = await of(stage, Action.EXCHANGE_OUTCOME, 1 + len(statuses))
    ways = [(entry.outcome, entry.reason) for entry in outcomes]
    assert ways[:2] == [(Outcome.FAILED, Reason.ENGINE), (Outcome.CANCELLED, Reason.LEFT)]
    assert ways[-1] == (Outcome.REFUSED, Reason.LIMIT)
    assert len(await of(stage, Action.EXCHANGE_INTENT, len(ways))) == len(ways)


async def test_what_cannot_be_told_is_not_done(stage: Stage) -> None:
    folder = stage.home.settings.layout.audit
    assert (await stage.chat())[0] == 200
    seen = len(stage.seen)
    with locked(folder, fcntl.LOCK_EX, 1.0):  # another process hangs with the log in its hand
        began = time.monotonic()
        status, headers, body = await stage.chat()
        assert time.monotonic() - began < 1.0
    assert (status, len(stage.seen)) == (503, seen)
    assert b"audit_unavailable" in body
    assert int(headers["retry-after"]) >= 1
    assert (folder / LOCK).exists()

    async def recovered() -> bool:
        return (await stage.chat())[0] == 200

    await until(recovered, 5)


async def test_a_flood_of_wrong_keys_is_counted_and_not_listed(stage: Stage) -> None:
    tries = 60
    wrong = [
        await stage.post("/v1/chat/completions", CHATS["/v1/chat/completions"], key="fh_wrong") for _ in range(tries)
    ]
    assert {status for status, _, _ in wrong} == {401}
    assert (await stage.chat())[0] == 200
    await of(stage, Action.EXCHANGE_OUTCOME)
    refused = [entry for entry in told(stage.home.settings.layout) if entry.action is Action.CREDENTIAL_REFUSED]
    assert 1 <= len(refused) < tries
    assert all(entry.outcome is Outcome.REFUSED and entry.workspace for entry in refused)
