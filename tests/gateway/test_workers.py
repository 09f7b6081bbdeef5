"""Several gateway workers, each a real process: one limit over all of them, a revocation that reaches all of them."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from freehold import settings as configuration
from freehold.identity import keys
from freehold.identity.sessions import open_session
from freehold.settings import Settings
from freehold.storage import credentials, users
from freehold.supervisor.children import ENVIRONMENT, die_with_parent, python_command
from tests.conftest import Home, until
from tests.gateway.acting import BODIES, HI, ask, begin, held, limit, person, runner_for, vectors
from tests.gateway.conftest import HEAD, LAST, Stage, chunk, delta

pytestmark = [pytest.mark.slow, pytest.mark.soak]

MONTH_REFILL = 2  # tokens that may come back while a round lasts


@dataclass
class Workers:
    """The processes, by number."""

    stage: Stage
    settings: Settings
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    async def start(self, number: int) -> None:
        """Start a worker and wait until it serves."""
        command = [*python_command("freehold.gateway"), str(number)]
        environment = {**ENVIRONMENT, "TMPDIR": tempfile.gettempdir()}  # where the sockets are when the folder is deep
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, preexec_fn=die_with_parent)
        self.running[number] = worker
        assert worker.stdin is not None
        worker.stdin.write(configuration.dump(self.settings))
        worker.stdin.close()

        async def serves() -> bool:
            try:
                return (await ask(self.stage.home, "/healthz", None, method="GET", worker=number))[0] == 200
            except (FileNotFoundError, ConnectionError):
                return False

        await until(serves, 30)

    def stop(self) -> None:
        """End them all."""
        for worker in self.running.values():
            worker.terminate()
        for worker in self.running.values():
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


@contextlib.asynccontextmanager
async def working(home: Home, count: int, slots: int = 64) -> AsyncIterator[Workers]:
    """So many workers, and one runner for all of them."""
    settings = replace(home.settings, gateway=replace(home.settings.gateway, workers=count))
    async with runner_for(home, slots=slots) as stage:
        workers = Workers(stage, settings)
        try:
            await asyncio.gather(*(workers.start(number) for number in range(count)))
            yield workers
        finally:
            workers.stop()


def answer(share: float) -> Any:
    """A runner that uses this share of what was granted, and all of what was reckoned for the prompt."""

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b'"inputs"' in body:
            writer.write(vectors(body))
            return
        usage = {"prompt": len(body) // 4, "completion": int(json.loads(body)["max_tokens"] * share), "cached": 0}
        writer.write(HEAD + chunk(delta("a"), {"type": "finished", "reason": "stop", "usage": usage}) + LAST)

    return script


async def fresh_key(home: Home) -> str:
    return (await keys.create_key(home.database, home.key, home.workspace.id, None, "round"))[1]


ASKED = {"model": "m", "messages": HI, "max_tokens": 50}  # too few to be cut shorter: admitted whole or not at all


async def test_ten_times_the_limit_at_once_admits_exactly_the_limit(home: Home) -> None:
    """Each round: a key with room for twenty exchanges, two hundred of them over four workers at once."""
    most, rounds, count = 20, 100, 4
    async with working(home, count) as workers:
        workers.stage.script = answer(1.0)
        await ask(home, "/v1/chat/completions", ASKED)
        cost = len(workers.stage.seen[-1]) // 4 + 50
        await limit(home, "key", "*", tokens_per_month=most * cost)
        await known_to_all(home, count)
        for number in range(rounds):
            key = await fresh_key(home)
            asked = [ask(home, "/v1/chat/completions", ASKED, key, worker=n % count) for n in range(most * 10)]
            answers = await asyncio.gather(*asked)
            statuses = [status for status, _, _ in answers]
            assert statuses.count(200) == most, (number, statuses)
            assert statuses.count(429) == most * 9
            assert all(int(headers["retry-after"]) > 1 for status, headers, _ in answers if status == 429)


async def test_at_once_over_all_workers(home: Home) -> None:
    most, rounds, count = 20, 40, 4
    async with working(home, count) as workers:
        stage = workers.stage
        await limit(home, "key", "*", concurrent=most, requests_per_minute=1_000_000)
        await known_to_all(home, count, "x-ratelimit-limit-requests")
        for number in range(rounds):
            stage.script, key = held, await fresh_key(home)
            streams = [
                await begin(home, "/v1/chat/completions", {**ASKED, "stream": True}, key, worker=n % count)
                for n in range(most * 10)
            ]
            heads = await asyncio.gather(*(stream.reader.readline() for stream in streams))
            assert sum(b" 200 " in head for head in heads) == most, number
            assert stage.in_flight == most
            await asyncio.gather(*(stream.leave() for stream in streams))
            await until(lambda: stage.in_flight == 0, 1.0)
            stage.script = answer(1.0)

            async def room(key: str = key) -> bool:
                return (await ask(home, "/v1/chat/completions", ASKED, key, worker=1))[0] == 200

            await until(room, 1.0)


async def test_whatever_is_used_the_tokens_stay_within_the_limit(home: Home) -> None:
    """Answers of any length, of which most is given back: no interleaving lets more through than the limit."""
    count, day = 4, 5000
    chance = random.Random(11)  # noqa: S311 - lengths of answers
    async with working(home, count) as workers:
        await limit(home, "key", "*", tokens_per_month=day)
        await known_to_all(home, count)
        for _ in range(3):
            key, used, refused = await fresh_key(home), 0, 0

            async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await answer(chance.random())(body, reader, writer)

            workers.stage.script = script
            while refused < 400:
                asked = [ask(home, "/v1/chat/completions", ASKED, key, worker=n % count) for n in range(100)]
                for status, _, body in await asyncio.gather(*asked):
                    refused += status == 429
                    used += json.loads(body)["usage"]["total_tokens"] if status == 200 else 0
            assert day - 200 < used <= day + MONTH_REFILL


async def known_to_all(home: Home, count: int, header: str = "x-ratelimit-limit-tokens") -> None:
    """Wait until every worker has heard of the limit. Costs nothing of the keys that the rounds use."""

    async def known() -> bool:
        asked = [ask(home, "/v1/embeddings", {"model": "e", "input": "x"}, worker=n) for n in range(count)]
        return all(header in headers for _, headers, _ in await asyncio.gather(*asked))

    await until(known)


ROUTES = (
    [("POST", path, body) for path, body in BODIES.items()]
    + [
        ("GET", path, None)
        for path in ("/v1/models", "/v1/models/m", "/v1/responses/resp_x", "/v1/responses/resp_x/input_items")
    ]
    + [("DELETE", "/v1/responses/resp_x", b"")]
)


@pytest.mark.parametrize("how", ["key revoked", "session ended", "person disabled"])
async def test_under_load_a_revocation_reaches_every_route_of_every_worker_within_a_second(
    home: Home, how: str
) -> None:
    ada, secret = await person(home)
    if how == "session ended":
        secret = await open_session(home.database, home.key, ada, 1)
    async with working(home, 2) as workers:
        workers.stage.script = answer(0.1)
        loop = asyncio.get_running_loop()
        let_in: dict[tuple[int, str, str], int] = {}
        last, over = 0.0, False

        async def load(worker: int, method: str, path: str, body: Any) -> None:
            """Ask again and again until refused, and then until the end: what was refused stays so."""
            nonlocal last
            refused = False
            while not over or not refused:
                began = loop.time()
                status, _, _ = await ask(home, path, body, secret, method=method, worker=worker)
                if status == 401:
                    refused = True
                else:
                    assert not refused, (method, path, status)
                    let_in[worker, method, path] = let_in.get((worker, method, path), 0) + 1
                    last = max(last, began)

        loads = [asyncio.create_task(load(worker, *route)) for worker in range(2) for route in ROUTES]
        await until(lambda: len(let_in) == 2 * len(ROUTES) and min(let_in.values()) > 3, 20)
        async with home.database.write() as connection:
            if how == "key revoked":
                mine = (await credentials.listed(connection, home.workspace.id, "key", user_id=ada.id))[0]
                await credentials.revoke(connection, home.workspace.id, mine.id)
            elif how == "session ended":
                await credentials.revoke_sessions(connection, ada.id)
            else:
                await users.change(connection, ada.id, disabled_at=1.0)
        gone = loop.time()
        await until(lambda: loop.time() - gone > 1.2, 3)
        over = True
        async with asyncio.timeout(5):
            await asyncio.gather(*loads)
        assert last - gone <= 1.0, last - gone


async def test_a_killed_worker_takes_no_limit_with_it_and_frees_what_it_held(home: Home) -> None:
    """kill -9 in the middle of streams: what was reserved stays charged, the places are free, nothing starts anew."""
    async with working(home, 2) as workers:
        stage = workers.stage
        stage.script = answer(1.0)
        await ask(home, "/v1/chat/completions", ASKED)
        cost = len(stage.seen[-1]) // 4 + 50
        await limit(home, "key", "*", tokens_per_month=cost * 10, concurrent=6)
        await known_to_all(home, 2)
        key = await fresh_key(home)
        stage.script = held
        streams = [
            await begin(home, "/v1/chat/completions", {**ASKED, "stream": True}, key, worker=n % 2) for n in range(6)
        ]
        await until(lambda: stage.in_flight == 6)
        assert (await ask(home, "/v1/chat/completions", ASKED, key, worker=1))[0] == 429
        victim = workers.running[0]
        os.kill(victim.pid, signal.SIGKILL)
        await until(lambda: stage.in_flight == 3, 1.0)
        for stream in streams[::2]:
            assert not (await stream.reader.read()).endswith(b"0\r\n\r\n")  # cut off, not ended
        victim.wait()
        await workers.start(0)
        stage.script = answer(1.0)
        statuses = [(await ask(home, "/v1/chat/completions", ASKED, key, worker=n % 2))[0] for n in range(9)]
        assert statuses == [200] * 4 + [429] * 5, statuses  # ten less the six that had begun, the killed ones too
        for stream in streams:
            await stream.leave()
        await until(lambda: stage.in_flight == 0, 1.0)
        statuses = [(await ask(home, "/v1/chat/completions", ASKED, key, worker=n % 2))[0] for n in range(9)]
        assert statuses.count(200) <= 3, statuses


async def test_all_workers_restarted_forget_nothing(home: Home) -> None:
    async with working(home, 2) as workers:
        workers.stage.script = answer(1.0)
        await ask(home, "/v1/chat/completions", ASKED)
        cost = len(workers.stage.seen[-1]) // 4 + 50
        await limit(home, "key", "*", tokens_per_month=cost * 4)
        await known_to_all(home, 2)
        key = await fresh_key(home)
        for _ in range(2):
            spent = [(await ask(home, "/v1/chat/completions", ASKED, key, worker=n % 2))[0] for n in range(2)]
            assert spent == [200, 200]
            for number, worker in list(workers.running.items()):
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait()
                await workers.start(number)
        assert [(await ask(home, "/v1/chat/completions", ASKED, key, worker=n))[0] for n in range(2)] == [429, 429]
