"""Every kind of limit × every bound, each tripped alone: the right refusal, an honest time to come back, no bystander.

Every cell has a workspace of its own, and everything is in the database before the gateway starts. The store's clock is
the test's, so that minutes and months pass at once.
"""

import asyncio
import functools
import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest

from freehold.admission.limits import Kind, LimitSet
from freehold.admission.shared import SharedStore
from freehold.gateway import app as gateway_app
from freehold.identity import keys
from freehold.storage import credentials, engines, groups, users, workspaces
from tests.admission.conftest import Clock
from tests.conftest import Home, until
from tests.gateway.acting import HI, Exchange, ask, begin, held, limit, person, staged
from tests.gateway.conftest import HEAD, LAST, Stage, chunk, delta

pytestmark = pytest.mark.slow

KINDS: tuple[Kind, ...] = get_args(Kind)
BOUNDS = {
    "requests_per_minute": 3,
    "tokens_per_minute": 1000,
    "tokens_per_day": 1000,
    "tokens_per_month": 1000,
    "concurrent": 2,
    "largest_input": 100,
    "largest_output": 10,
}
PERIODS = {"requests_per_minute": 60, "tokens_per_minute": 60, "tokens_per_day": 86400, "tokens_per_month": 30 * 86400}
ANSWER = 200  # tokens that each exchange asks for, and uses with its prompt


def test_no_bound_is_forgotten() -> None:
    assert set(BOUNDS) == set(LimitSet.__struct_fields__)


@dataclass(frozen=True)
class Who:
    """One who asks: where, with what, from where, for what."""

    host: str
    key: str
    address: str = "192.0.2.1"
    model: str = "m"

    async def ask(self, home: Home, **more: Any) -> tuple[int, dict[str, str], bytes]:
        body = {"model": self.model, "messages": HI, "max_tokens": ANSWER, **more}
        return await ask(home, "/v1/chat/completions", body, self.key, **self.headers)

    async def hold(self, home: Home) -> Exchange:
        body = {"model": self.model, "messages": HI, "max_tokens": ANSWER, "stream": True}
        return await begin(home, "/v1/chat/completions", body, self.key, **self.headers)

    @property
    def headers(self) -> dict[str, Any]:
        return {"x-freehold-host": self.host, "x-freehold-client": self.address}


@dataclass
class Cell:
    """Who is limited, and who only stands beside and is not."""

    workspace_id: str
    victim: Who
    bystander: Who


@dataclass
class Matrix:
    stage: Stage
    clock: Clock
    cells: dict[str, Cell] = field(default_factory=dict)


async def cell(home: Home, kind: Kind, number: int) -> tuple[Cell, str]:
    """A workspace with a victim and a bystander, and the subject of the victim's limit."""
    async with home.database.write() as connection:
        made = await workspaces.create(connection, f"W{number}", f"w{number}.example")
        for name, default in (("m", True), ("m2", False)):
            await engines.add(connection, made.id, name=name, kind="llamacpp", model="tiny", default=default)
        group = await groups.create(connection, made.id, "team", None)
    user, secret = await person(home, workspace_id=made.id)
    _, other = await person(home, workspace_id=made.id)
    _, second = await keys.create_key(home.database, home.key, made.id, user.id, "second")
    async with home.database.write() as connection:
        await groups.add(connection, group.id, user.id)
        first = next(
            k for k in await credentials.listed(connection, made.id, "key", user_id=user.id) if k.name == "own"
        )
    victim = Who(made.domain or "", secret)
    subject, bystander = {
        "workspace": (made.id, Who("localhost", home.api_key)),
        "group": (group.id, replace(victim, key=other)),
        "user": (user.id, replace(victim, key=other)),
        "key": (first.id, replace(victim, key=second)),
        "assistant": ("m", replace(victim, model="m2")),
        "address": (victim.address, replace(victim, address="192.0.2.2")),
    }[kind]
    return Cell(made.id, victim, bystander), subject


@pytest.fixture(params=KINDS)
async def matrix(home: Home, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Matrix]:
    """One kind's row of the matrix, before a gateway whose store has the test's clock."""
    clock, cells = Clock(), {}
    for number, (bound, most) in enumerate(BOUNDS.items()):
        cells[bound], subject = await cell(home, request.param, number)
        await limit(home, request.param, subject, workspace_id=cells[bound].workspace_id, **{bound: most})
    monkeypatch.setattr(gateway_app, "SharedStore", functools.partial(SharedStore, clock=clock))
    async with staged(home, [made.workspace_id for made in cells.values()]) as stage:
        stage.script = used
        yield Matrix(stage, clock, cells)


async def used(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A runner that uses all that it was granted."""
    most = json.loads(body).get("max_tokens", ANSWER)
    end = {"type": "finished", "reason": "length", "usage": {"prompt": 2, "completion": most, "cached": 0}}
    writer.write(HEAD + chunk(delta("a"), end) + LAST)


async def test_each_bound_alone(matrix: Matrix) -> None:
    home, stage = matrix.stage.home, matrix.stage
    for bound, period in PERIODS.items():
        await over_a_rate(matrix, bound, period)
    await over_what_may_be_at_once(matrix)
    at = matrix.cells["largest_input"]
    long = [{"role": "user", "content": "word " * 200}]
    status, _, body = await at.victim.ask(home, messages=long)
    assert (status, json.loads(body)["error"]["code"]) == (400, "input_too_large")
    assert (await at.victim.ask(home))[0] == (await at.bystander.ask(home, messages=long))[0] == 200
    at = matrix.cells["largest_output"]
    for who, most in ((at.victim, BOUNDS["largest_output"]), (at.bystander, ANSWER)):
        assert (await who.ask(home))[0] == 200
        assert json.loads(stage.seen[-1])["max_tokens"] == most


async def over_a_rate(matrix: Matrix, bound: str, period: int) -> None:
    home, clock, at = matrix.stage.home, matrix.clock, matrix.cells[bound]
    of_tokens = bound != "requests_per_minute"
    spent = 0
    for _ in range(20):
        status, headers, body = await at.victim.ask(home)
        if status != 200:
            break
        spent += json.loads(body)["usage"]["total_tokens"] if of_tokens else 1
    code = "tokens_limit_exceeded" if of_tokens else "rate_limit_exceeded"
    assert (status, json.loads(body)["error"]["code"]) == (429, code), bound
    assert BOUNDS[bound] * 0.8 <= spent <= BOUNDS[bound], bound
    assert (await at.bystander.ask(home))[0] == 200, bound
    wait = int(headers["retry-after"])
    cost = ANSWER + 40 if of_tokens else 1
    assert 1 <= wait <= math.ceil(cost * period / BOUNDS[bound]), (bound, wait)
    clock.now += wait / 2  # no more than twice as long as need be: at half the time the whole is not to be had …
    status, _, body = await at.victim.ask(home)
    if of_tokens and status == 200:  # … but a shorter answer may be
        assert json.loads(body)["usage"]["completion_tokens"] < ANSWER, bound
        status, headers, _ = await at.victim.ask(home)
        wait = 2 * int(headers["retry-after"])
    assert status == 429, bound
    clock.now += wait / 2
    status, _, body = await at.victim.ask(home)
    assert status == 200, bound
    assert json.loads(body)["usage"]["completion_tokens"] == ANSWER, bound


async def over_what_may_be_at_once(matrix: Matrix) -> None:
    home, stage, at = matrix.stage.home, matrix.stage, matrix.cells["concurrent"]
    stage.script = held
    before = stage.in_flight
    open_ones = [await at.victim.hold(home) for _ in range(BOUNDS["concurrent"])]
    await until(lambda: stage.in_flight == before + 2)
    status, headers, body = await at.victim.ask(home)
    assert (status, json.loads(body)["error"]["code"]) == (429, "concurrency_limit_exceeded")
    assert 1 <= int(headers["retry-after"]) <= 60
    beside = await at.bystander.hold(home)
    await until(lambda: stage.in_flight == before + 3)
    await open_ones.pop().leave()
    await until(lambda: stage.in_flight == before + 2)
    stage.script = used
    assert (await at.victim.ask(home))[0] == 200
    for one in (*open_ones, beside):
        await one.leave()


@pytest.mark.parametrize("kind", ["group", "user", "key", "assistant", "address"])
async def test_a_limit_for_each_counts_each_by_itself(home: Home, kind: Kind) -> None:
    made, _ = await cell(home, kind, 1)
    await limit(home, kind, "*", workspace_id=made.workspace_id, requests_per_minute=3)
    if kind == "group":  # the bystander is in a group of their own
        async with home.database.write() as connection:
            second = await groups.create(connection, made.workspace_id, "second", None)
            for user in await users.listed(connection, made.workspace_id):
                await groups.add(connection, second.id, user.id)
            first = next(g for g in await groups.listed(connection, made.workspace_id) if g.name == "team")
            for user_id in await groups.members(connection, first.id):
                await groups.take_out(connection, second.id, user_id)
    async with staged(home, [made.workspace_id]) as stage:
        stage.script = used
        for who in (made.victim, made.bystander):
            assert [(await who.ask(home))[0] for _ in range(4)] == [200] * 3 + [429], who
