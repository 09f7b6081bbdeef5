"""Provisioning under attack: bad tokens, bodies and questions that are meant to hurt, other workspaces."""

import json
import time
from typing import Any

import pytest
from sqlalchemy import update

from freehold.identity import keys
from freehold.identity.directory import Directory
from freehold.identity.scim import tokens
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_secret
from freehold.storage import groups, tables, users
from tests.console.conftest import BUILT, House, eventually
from tests.console.provider import Provider, provider

pytestmark = BUILT

ENDPOINTS = [
    (method, path)
    for path in (
        "/Users", "/Users/usr_x", "/Groups", "/Groups/grp_x", "/ServiceProviderConfig", "/ResourceTypes", "/Schemas",
        "/ResourceTypes/User", "/Bulk", "/.search", "/Me", "/nothing", "", "/", "/Users/usr_x/more", "/../api/me",
    )
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
]  # fmt: skip


@pytest.fixture
async def idp(house: House) -> Provider:
    return await provider(house)


# --- who is let in


async def test_without_a_good_token_every_path_is_the_same_401(house: House, idp: Provider) -> None:
    home = house.home
    bo = await idp.person("bo@example.org")
    user = await house.account("owner")
    session = (await house.signed_in(user)).session
    gone = await provider(house)
    expired = await provider(house)
    listed = await tokens.listed(home.database, home.workspace.id)
    await tokens.revoke(home.database, home.workspace.id, listed[1].id)
    async with home.database.write() as connection:
        await connection.execute(
            update(tables.credentials).where(tables.credentials.c.id == listed[0].id).values(expires_at=time.time() - 1)
        )
    other = await house.other_workspace()
    foreign = await provider(house, workspace_id=other.id)
    good = idp.token
    bad = {
        "none": None,
        "empty": "",
        "no scheme": good,
        "basic": f"Basic {good}",
        "unknown": f"Bearer {new_secret('fhp')}",
        "mistyped": f"Bearer {good[:-1]}{'0' if good[-1] != '0' else '1'}",
        "cut": f"Bearer {good[:-7]}",
        "an API key": f"Bearer {home.api_key}",
        "a session": f"Bearer {session}",
        "revoked": f"Bearer {gone.token}",
        "expired": f"Bearer {expired.token}",
        "another workspace's": f"Bearer {foreign.token}",
        "long": f"Bearer {'a' * 20_000}",
        "twice": f"Bearer {good} {good}",
    }
    seen = set()
    for name, header in bad.items():
        everywhere = name in ("none", "unknown", "another workspace's")
        for method, path in [*ENDPOINTS, ("GET", f"/Users/{bo}")] if everywhere else ENDPOINTS[:2]:
            sent = {"host": idp.host, "x-freehold-host": idp.host, "content-type": "application/scim+json"}
            if header is not None:
                sent["authorization"] = header
            response = await house.client.request(method, f"{tokens.BASE}{path}", headers=sent, content=b"{")
            assert response.status_code == 401, (name, method, path)
            seen.add((response.content, response.headers["www-authenticate"], response.headers["content-type"]))
    assert len(seen) == 1
    cookie = {"cookie": f"__Host-freehold={session}", "x-freehold-host": idp.host, "host": idp.host}
    assert (await house.client.get(f"{tokens.BASE}/Users", headers=cookie)).status_code == 401
    assert (await house.client.get(f"{tokens.BASE}/Users?access_token={good}", headers=cookie)).status_code == 401
    two = [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}"), ("x-freehold-host", idp.host)]
    assert (await house.client.get(f"{tokens.BASE}/Users", headers=two)).status_code == 401
    assert (await idp.get("/Users")).status == 200


async def test_a_token_is_good_for_nothing_else_and_has_an_end(house: House, idp: Provider) -> None:
    home = house.home
    async with Directory(home.database, home.key).running() as directory:
        with pytest.raises(Refused):
            await directory.authenticate(idp.token, host=idp.host)
    assert (await house.browser(cookies={"__Host-freehold": idp.token}).get("/api/me")).status == 401
    listed = await keys.list_keys(home.database, home.workspace.id)
    token = (await tokens.listed(home.database, home.workspace.id))[0]
    assert token.id not in {one.id for one in listed}
    with pytest.raises(Refused):  # nor does the way of keys end it
        await keys.revoke_key(home.database, home.workspace.id, token.id)
    dump = b"".join(path.read_bytes() for path in home.settings.state.glob("freehold.db*"))
    assert idp.token.encode() not in dump
    assert idp.token[10:].encode() not in dump
    assert token.hint.encode() in dump  # the search would have found it

    assert (await idp.get("/Users")).status == 200
    token = (await tokens.listed(home.database, home.workspace.id))[0]
    assert token.last_used_at is not None
    other = await house.other_workspace()
    with pytest.raises(Refused):
        await tokens.revoke(home.database, other.id, token.id)
    assert (await idp.get("/Users")).status == 200
    await tokens.revoke(home.database, home.workspace.id, token.id)
    assert (await idp.get("/Users")).status == 401  # the next request
    made, _ = await tokens.create(home.database, home.key, home.workspace.id, "idp")
    assert made.expires_at is not None
    assert abs(made.expires_at - time.time() - 365 * 86400) < 60
    for name, days in (("", 1), ("x" * 101, 1), ("x\x00y", 1), ("x", 0), ("x", 4000)):
        with pytest.raises(Refused):
            await tokens.create(home.database, home.key, home.workspace.id, name, days=days)


# --- from one workspace into another


async def test_what_is_anothers_is_answered_as_what_is_not_there(house: House, idp: Provider) -> None:
    other = await house.other_workspace()
    foreign = await house.account("member", workspace_id=other.id, email="eve@example.org")
    there = await provider(house, workspace_id=other.id, host="other.example")

    async def known() -> bool:
        return (await there.get("/Users")).status == 200

    await eventually(known)
    team, mine = await there.group("Theirs", foreign.id), await idp.group("Mine")
    operation = {"op": "replace", "path": "displayName", "value": "x"}
    for kind, theirs in (("Users", foreign.id), ("Groups", team)):
        missing = f"{theirs[:4]}AAAAAAAAAAAAAAAA"
        bodies: dict[str, Any] = {
            "GET": None, "DELETE": None, "PATCH": {"Operations": [operation]},
            "PUT": {"userName": "x", "displayName": "x"},
        }  # fmt: skip
        for method, body in bodies.items():
            found = await idp.call(method, f"/{kind}/{theirs}", body)
            absent = await idp.call(method, f"/{kind}/{missing}", body)
            assert (found.status, found.body) == (absent.status, absent.body) == (404, absent.body), (kind, method)
    for add in ("add", "replace"):
        answers = [
            await idp.patch(f"/Groups/{mine}", {"op": add, "path": "members", "value": [{"value": user_id}]})
            for user_id in (foreign.id, "usr_AAAAAAAAAAAAAAAA", (await house.account("service")).id)
        ]
        assert {(one.status, one.body) for one in answers} == {(400, answers[0].body)}
    for text in (
        f'id eq "{foreign.id}"',
        'userName eq "eve@example.org"',
        f'groups.value eq "{team}"',
        "id pr or id ne null",
    ):
        assert foreign.id not in (await idp.get("/Users", filter=text)).body.decode()
    assert team not in (await idp.get("/Groups", filter=f'members.value eq "{foreign.id}" or id pr')).body.decode()
    await idp.person("eve@example.org")  # a name is taken in its own workspace only
    async with house.home.database.read() as connection:
        kept = await users.get(connection, foreign.id)
        assert await groups.members(connection, mine) == []
    assert kept == foreign


# --- what is sent

NESTED = b'{"a":' * 5000 + b"1" + b"}" * 5000
BODIES: list[tuple[bytes, int]] = [
    (b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b'"x"', 400), (b"\xff\xfe", 400), (NESTED, 400),
    (b"[" * 100_000, 400), (b'{"userName":"x","userName":"y"}', 400), (b'{"userName":NaN}', 400),
    (b'{"userName":"' + b"a" * (3 << 20) + b'"}', 413), (b'{"userName":' + b"9" * 10_000 + b"}", 400),
    (b'{"userName":null}', 400), (b"{}", 400), (b'{"userName":""}', 400), (b'{"userName":"  "}', 400),
    (b'{"userName":["a","b"]}', 400), (b'{"userName":{"a":1}}', 400), (b'{"userName":true}', 400),
    (b'{"userName":"a\\u0000b"}', 400), (b'{"userName":"a\\ud800b"}', 400), (b'{"userName":"a\\u202eb"}', 400),
    (b'{"userName":"' + b"a" * 255 + b'"}', 400), (b'{"userName":"x","displayName":"' + b"a" * 101 + b'"}', 400),
    (b'{"userName":"x","externalId":"' + b"a" * 201 + b'"}', 400), (b'{"userName":"x","emails":"x@y.z"}', 400),
    (b'{"userName":"x","emails":[{"value":"nonsense"}]}', 400), (b'{"userName":"x","emails":[1]}', 400),
    (b'{"userName":"x","emails":[' + b",".join(b'{"value":"a%d@x.y"}' % n for n in range(50)) + b"]}", 400),
    (b'{"userName":"x","emails":[{"value":"a@x.y","primary":true},{"value":"b@x.y","primary":true}]}', 400),
    (b'{"userName":"x","name":"Bo"}', 400), (b'{"userName":"x","name":{"givenName":{}}}', 400),
    (b'{"userName":"x","active":"maybe"}', 400), (b'{"userName":"x","active":2}', 400),
]  # fmt: skip
OPERATIONS: list[tuple[Any, str]] = [
    ([], "invalidSyntax"), ("x", "invalidSyntax"), ([1], "invalidSyntax"), ([{}], "invalidSyntax"),
    ([{"op": "move", "path": "displayName"}], "invalidSyntax"), ([{"op": ["add"], "path": "x"}], "invalidSyntax"),
    ([{"op": "remove"}], "noTarget"), ([{"op": "add", "value": "x"}], "invalidValue"),
    ([{"op": "add"}], "invalidValue"), ([{"op": "replace", "path": "id", "value": "x"}], "mutability"),
    ([{"op": "remove", "path": "ID"}], "mutability"),
    ([{"op": "replace", "path": "meta", "value": {}}], "mutability"),
    ([{"op": "add", "path": "meta.created", "value": "x"}], "mutability"),
    ([{"op": "add", "path": "groups", "value": [{"value": "x"}]}], "mutability"),
    ([{"op": "remove", "path": "active"}], "mutability"), ([{"op": "remove", "path": "userName"}], "invalidValue"),
    ([{"op": "replace", "path": "userName", "value": ""}], "invalidValue"),
    ([{"op": "replace", "path": ["userName"], "value": "x"}], "invalidPath"),
    ([{"op": "add", "path": "a b", "value": "x"}], "invalidPath"),
    ([{"op": "add", "path": "emails[", "value": "x"}], "invalidPath"),
    ([{"op": "add", "path": "emails[]", "value": "x"}], "invalidPath"),
    ([{"op": "add", "path": "emails[type eq \"work\"]value", "value": "x"}], "invalidPath"),
    ([{"op": "add", "path": "emails[type eq \"work\"].value.x", "value": "x"}], "invalidPath"),
    ([{"op": "add", "path": "x.y.z", "value": "x"}], "invalidPath"),
    ([{"op": "add", "path": "x" * 5000, "value": "x"}], "invalidPath"),
    ([{"op": "remove", "path": "emails[" + "(" * 900 + 'type eq "x"' + ")" * 900 + "]"}], "invalidPath"),
    ([{"op": "add", "path": "displayName", "value": "x"}] * 1001, "invalidSyntax"),
    ([{"op": "add", "value": {f"a{n}": 1 for n in range(600)}}] * 2, "invalidSyntax"),
    ([{"op": "replace", "path": "displayName", "value": {"a": "b"}}], "invalidValue"),
    ([{"op": "replace", "path": "active", "value": ["True", "False"]}], "invalidValue"),
]  # fmt: skip
MEMBERS = [
    1,
    [1],
    [{}],
    [{"value": 1}],
    [{"value": ""}],
    [{"value": "x" * 41}],
    [{"value": "a\u0000"}],
    [[]],
    [{"value": None}],
]


async def test_bodies_that_are_refused(house: House, idp: Provider) -> None:
    bo = await idp.person("bo@example.org")
    before = (await idp.get(f"/Users/{bo}")).json()
    for body, status in BODIES:
        for method, path in (("POST", "/Users"), ("PUT", f"/Users/{bo}")):
            began = time.monotonic()
            answer = await idp.call(method, path, body)
            assert answer.status == status, (method, body[:60], answer.body)
            assert time.monotonic() - began < 2
            assert b"aaa" not in answer.body
    for operations, kind in OPERATIONS:
        answer = await idp.call("PATCH", f"/Users/{bo}", {"Operations": operations})
        assert (answer.status, answer.json()["scimType"]) == (400, kind), (str(operations)[:80], answer.body)
    assert (await idp.get(f"/Users/{bo}")).json() == before
    assert (await idp.get("/Users")).json()["totalResults"] == 1
    team = await idp.group("Team")
    for value in MEMBERS:
        for op in ("add", "replace", "remove"):
            answer = await idp.patch(f"/Groups/{team}", {"op": op, "path": "members", "value": value})
            assert answer.status == 400, (op, value)
    for path in (
        'members[display eq "x"]',
        'members[value ne "x"]',
        "members[value eq 1]",
        'members[not (value eq "x")]',
    ):
        assert (await idp.patch(f"/Groups/{team}", {"op": "remove", "path": path})).status == 400
    assert (await idp.patch(f"/Groups/{team}", {"op": "remove", "path": "displayName"})).status == 400
    assert (await idp.call("POST", "/Groups", {"members": []})).status == 400


async def test_other_content_types_methods_and_echoes(idp: Provider) -> None:
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "", "application/jsonx"):
        answer = await idp.call("POST", "/Users", {"userName": "x"}, content_type=kind)
        assert answer.status == 415, kind
    for method, path, status in (
        ("DELETE", "/Users", 405), ("PUT", "/Groups", 405), ("POST", "/Users/usr_x", 405), ("POST", "/Schemas", 405),
        ("POST", "/Bulk", 501), ("POST", "/.search", 501), ("GET", "/Users/usr_x/more", 404), ("GET", "/Me", 404),
        ("GET", "/Users/", 404), ("GET", "//Users", 404), ("GET", "/users", 404), ("GET", "", 404),
    ):  # fmt: skip
        answer = await idp.call(method, path, {})
        assert (answer.status, answer.json()["status"]) == (status, str(status)), (method, path)
    marker = "m4rk3r"
    answers = [
        await idp.get("/Users", filter=f'{marker} eq "{marker}"'),
        await idp.get(f"/Users/{marker}"),
        await idp.get(f"/{marker}"),
        await idp.call("POST", "/Users", {"userName": [marker], marker: marker}),
        await idp.call("POST", "/Groups", {"displayName": "x", "members": [{"value": marker}]}),
        await idp.call("POST", "/Users", json.dumps({"userName": marker})[:-1].encode()),
        await idp.call("GET", "/Users", None, authorization=f"Bearer {marker}"),
    ]
    await idp.person(marker)
    answers.append(await idp.call("POST", "/Users", {"userName": marker}))
    for answer in answers:
        assert answer.status >= 400
        assert marker.encode() not in answer.body
        assert not any(marker in value for value in answer.headers.values())


QUESTIONS = [
    {"filter": "x"}, {"filter": 'userName eq "x'}, {"filter": 'userName eq'}, {"filter": 'userName xx "x"'},
    {"filter": "userName eq x"}, {"filter": 'nothing eq "x"'}, {"filter": 'password eq "x"'},
    {"filter": 'password_hash sw "x"'}, {"filter": 'role eq "owner"'},
    {"filter": 'userName eq "x"; DROP TABLE users'}, {"filter": 'userName gt "x"'}, {"filter": "userName eq 1"},
    {"filter": "active eq 1"}, {"filter": 'active co "t"'}, {"filter": 'groups co "g"'},
    {"filter": 'userName eq "x" and'}, {"filter": '(userName eq "x"'}, {"filter": 'userName eq "x")'},
    {"filter": 'emails[type eq "work"'}, {"filter": 'emails[emails[type eq "work"]]'}, {"filter": "[]"},
    {"filter": 'userName eq "a\\u0000"'}, {"filter": 'userName eq "\\ud800"'}, {"filter": 'userName eq "\\x"'},
    {"filter": "not userName pr"}, {"filter": "(" * 500 + "userName pr" + ")" * 500},
    {"filter": " or ".join(["userName pr"] * 31)}, {"filter": "not (" * 50 + "active pr" + ")" * 50},
    {"filter": 'userName eq "' + "x" * 3000 + '"'}, {"filter": '"' * 1999}, {"filter": "\\" * 1999},
    {"filter": 'userName eq "x" "y"'}, {"startIndex": "x"}, {"count": "1e9"}, {"count": "9" * 5000},
    {"count": "\u0661"}, {"startIndex": "1; --"}, {"attributes": ",".join("abcdefgh" for _ in range(60))},
]  # fmt: skip


async def test_questions_that_are_refused(idp: Provider) -> None:
    await idp.person("x")
    for question in QUESTIONS:
        for path in ("/Users", "/Groups"):
            began = time.monotonic()
            answer = await idp.get(path, **question)
            assert answer.status == 400, (path, question, answer.body[:200])
            assert time.monotonic() - began < 1
            assert b"DROP" not in answer.body
    assert (await idp.call("GET", '/Users?filter=userName%20eq%20"x"&filter=userName%20pr')).status == 400
    assert (await idp.get("/Users")).json()["totalResults"] == 1


async def test_when_the_storage_is_gone_the_answer_is_503_not_yes(house: House, idp: Provider) -> None:
    async with house.home.database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE credentials RENAME TO hidden")
    answer = await idp.get("/Users")
    async with house.home.database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE hidden RENAME TO credentials")
    assert (answer.status, answer.json()["status"]) == (503, "503")
    assert "retry-after" in answer.headers
    assert (await idp.get("/Users")).status == 200
