"""What is another's is answered as what never was, byte for byte: every object that the gateway keeps, every verb, by
the owner, a peer, an administrator, another tenant and a workspace's own key."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from freehold.gateway.call import Call
from freehold.gateway.routes import PUBLIC, Routes
from freehold.identity import keys, roles
from freehold.identity.sessions import open_session
from freehold.storage import engines, workspaces
from freehold.storage.users import Role
from tests.conftest import Home
from tests.gateway.acting import BODIES, ask, person, seen_routes, staged
from tests.gateway.conftest import Stage

_ID = re.compile(rb"(exg|resp|msg)_[A-Za-z0-9_-]{16}")


@dataclass
class Tenants:
    """Two workspaces with the same things in them, and who asks."""

    stage: Stage
    askers: dict[str, tuple[str, str]]  # name → key, host

    async def ask(self, who: str, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        key, host = self.askers[who]
        status, _, answer = await ask(self.stage.home, path, body, key, method=method, x_freehold_host=host)
        return status, _ID.sub(b"ID", answer)


@pytest.fixture
async def tenants(home: Home) -> AsyncIterator[Tenants]:
    async with home.database.write() as connection:
        other = await workspaces.create(connection, "Other", "other.example")
        for name, default in (("m", True), ("theirs", False)):
            await engines.add(connection, other.id, name=name, kind="llamacpp", model="tiny", default=default)
        await engines.add(connection, home.workspace.id, name="ours", kind="llamacpp", model="tiny")
    _, foreign = await keys.create_key(home.database, home.key, other.id, None, "x")
    people = {role: (await person(home, role))[1] for role in ("owner", "admin", "reviewer")}
    here = "localhost"
    askers = {
        "holder": ((await person(home))[1], here),
        "peer": ((await person(home))[1], here),
        **{role: (secret, here) for role, secret in people.items()},
        "workspace's key": (home.api_key, here),
        "other tenant": (foreign, "other.example"),
        "other tenant's person": ((await person(home, "owner", other.id))[1], "other.example"),
    }
    async with staged(home, [other.id]) as stage:
        yield Tenants(stage, askers)


async def test_a_response_is_its_holders_alone(tenants: Tenants) -> None:
    _, _, made = await ask(
        tenants.stage.home,
        "/v1/responses",
        {"model": "m", "input": "secret-of-the-holder"},
        tenants.askers["holder"][0],
    )
    mine, absent, checked = json.loads(made)["id"], "resp_AAAAAAAAAAAAAAAA", 0
    verbs: list[tuple[str, str, object]] = [
        ("GET", "/v1/responses/{}", None),
        ("GET", "/v1/responses/{}/input_items", None),
        ("DELETE", "/v1/responses/{}", b""),
        ("POST", "/v1/responses", {"model": "m", "input": "x", "previous_response_id": "{}"}),
    ]
    for who in tenants.askers:
        if who == "holder":
            continue
        for method, path, body in verbs:
            answers = []
            for named in (mine, absent):
                sent = json.loads(json.dumps(body).replace("{}", named)) if isinstance(body, dict) else body
                answers.append(await tenants.ask(who, method, path.replace("{}", named), sent))
            assert answers[0] == answers[1], (who, method, path)
            assert answers[0][0] in (400, 404)
            assert b"secret-of-the-holder" not in answers[0][1]
            checked += 1
    assert checked == 7 * 4
    for method, path, body in (*verbs[:2], verbs[3], verbs[2]):  # after all that it is still there, for its holder
        sent = json.loads(json.dumps(body).replace("{}", mine)) if isinstance(body, dict) else body
        assert (await tenants.ask("holder", method, path.replace("{}", mine), sent))[0] == 200


async def test_an_assistant_of_another_workspace_is_no_assistant(tenants: Tenants) -> None:
    for who in tenants.askers:
        theirs = "theirs" if who.startswith("other") else "ours"
        foreign = "ours" if who.startswith("other") else "theirs"
        _, listed = await tenants.ask(who, "GET", "/v1/models")
        assert theirs.encode() in listed
        assert f'"{foreign}"'.encode() not in listed
        assert await tenants.ask(who, "GET", f"/v1/models/{foreign}") == await tenants.ask(
            who, "GET", "/v1/models/nope"
        )
        for path, body in BODIES.items():
            asked = [await tenants.ask(who, "POST", path, {**body, "model": name}) for name in (foreign, "nope")]
            assert asked[0] == asked[1], (who, path)
            assert asked[0][0] == 404
    assert not tenants.stage.seen


async def test_a_credential_of_another_workspace_is_no_credential(tenants: Tenants) -> None:
    """Under the wrong host every route answers a good key as it answers a bad one."""
    for who, (key, host) in tenants.askers.items():
        wrong = "other.example" if host == "localhost" else "localhost"
        answers = set()
        for secret in (key, "fh_bad"):
            status, _, body = await ask(
                tenants.stage.home, "/v1/models", None, secret, method="GET", x_freehold_host=wrong
            )
            answers.add((status, _ID.sub(b"ID", body)))
        assert len(answers) == 1, who
        assert next(iter(answers))[0] == 401


@pytest.mark.parametrize("role", [*roles.GRANTED])
async def test_a_role_that_may_not_chat_reaches_no_route(home: Home, role: Role) -> None:
    """Role × route: an auditor's key and session open the gateway no further than their role does."""
    user, key = await person(home, role)
    secrets = [key] if role == "service" else [key, await open_session(home.database, home.key, user, 1)]
    async with seen_routes(home) as routes:
        cells = 0
        for path, methods in routes.table.items():
            for method in methods:
                for secret in secrets:
                    body = None if method == "GET" else b"{}"
                    status, _, answer = await ask(home, path.replace("{}", "x"), body, secret, method=method)
                    denied = (status, json.loads(answer).get("error", {}).get("code")) == (403, "not_permitted")
                    if b'"type":"error"' in answer:
                        denied = (status, json.loads(answer)["error"]["code"]) == (403, "not_permitted")
                    assert denied != roles.permits(role, "chat"), (role, method, path)
                    cells += 1
        assert cells == len(secrets) * sum(map(len, routes.table.values()))


async def unguarded(home: Home, routes: Routes) -> list[tuple[str, str]]:
    """Every route of the live table that answers otherwise than 401 to one without a credential."""
    table = {path: list(methods) for path, methods in routes.table.items()}
    found = []
    for path, methods in {**table, **{path: ["GET"] for path in ("/healthz", "/docs", "/metrics")}}.items():
        for method in methods:
            body = None if method == "GET" else b"{}"
            status, _, _ = await ask(home, path.replace("{}", "x"), body, "none", method=method)
            if status != 401:
                found.append((method, path))
    return found


async def test_only_the_reviewed_routes_answer_without_a_credential_and_a_new_one_would_be_found(home: Home) -> None:
    async with seen_routes(home) as routes:
        assert await unguarded(home, routes) == sorted(PUBLIC) == [("GET", "/healthz")]

    def plant(routes: Routes) -> None:
        before = routes.serve
        routes.table["/v1/new"] = {"GET": routes.table["/v1/models"]["GET"]}

        async def serve(call: Call) -> None:
            if call.path == "/v1/new":
                call.reply(b"{}")
            else:
                await before(call)

        routes.serve = serve  # type: ignore[method-assign]

    async with seen_routes(home, plant) as routes:
        assert await unguarded(home, routes) == [("GET", "/v1/new"), ("GET", "/healthz")]
