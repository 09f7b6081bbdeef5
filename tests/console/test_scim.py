"""Provisioning as identity providers do it: their PATCH dialects, their questions, and what becomes of an account."""

import time
from typing import Any

import pytest

from freehold.gateway import app as gateway_app
from freehold.identity import groups, keys, people
from freehold.identity.directory import Directory
from freehold.protocol.errors import Refused
from freehold.protocol.http import UnixClient
from freehold.storage import groups as stored_groups
from freehold.storage import users
from tests.conftest import until
from tests.console.conftest import BUILT, PASSWORD, House, eventually
from tests.console.provider import Provider, provider

pytestmark = BUILT

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
WORK = 'emails[type eq "work"].value'


@pytest.fixture
async def idp(house: House) -> Provider:
    return await provider(house)


async def account(house: House, user_id: str) -> users.User | None:
    async with house.home.database.read() as connection:
        return await users.get(connection, user_id)


async def members(house: House, group_id: str) -> set[str]:
    async with house.home.database.read() as connection:
        return set(await stored_groups.members(connection, group_id))


# --- from the first day to the last


async def test_the_life_of_an_account(house: House, idp: Provider) -> None:
    home = house.home
    await house.account("owner")
    bo = await idp.person(
        "bo@example.org", name={"givenName": "Bo", "familyName": "Li"}, password="never mind the rest"
    )
    for password in (PASSWORD, "never mind the rest", ""):
        refused = await house.browser().post("/api/sign-in", {"email": "bo@example.org", "password": password})
        assert refused.status == 401
    user = await account(house, bo)
    assert user is not None
    assert (user.name, user.role, user.password_hash) == ("Bo Li", "member", None)

    await groups.create(home.database, home.workspace.id, "Reviewers", "reviewer", actor=None)
    team = await idp.group("Reviewers", bo)  # the administrator's group, by its name
    browser = await house.signed_in(user)
    assert (await browser.get("/api/me")).json()["user"]["role"] == "reviewer"

    _, secret = await keys.create_key(home.database, home.key, home.workspace.id, bo, "mine")
    async with Directory(home.database, home.key).running() as directory:

        async def let_in() -> bool:
            try:
                principal = await directory.authenticate(secret)
            except Refused:
                return False
            return principal.role == "reviewer"

        async def refused_now() -> bool:
            return not await let_in()

        assert await let_in()
        assert (await idp.patch(f"/Users/{bo}", {"op": "Replace", "path": "active", "value": "False"})).status == 200
        assert await until(refused_now) <= 1.0
        assert (await browser.get("/api/me")).status == 401
        assert (await idp.get(f"/Users/{bo}")).json()["active"] is False

        assert (await idp.patch(f"/Users/{bo}", {"op": "Replace", "path": "active", "value": "True"})).status == 200
        await until(let_in, 5)
        assert (await browser.get("/api/me")).status == 401  # a session that has ended stays so

        assert (await idp.patch(f"/Groups/{team}", {"op": "remove", "path": f'members[value eq "{bo}"]'})).status == 204

        async def member() -> bool:
            return (await directory.authenticate(secret)).role == "member"

        await until(member, 5)
        assert (
            await idp.patch(f"/Groups/{team}", {"op": "add", "path": "members", "value": [{"value": bo}]})
        ).status == 204
        await until(let_in, 5)  # the role is back, and everybody heard of it
        assert (await idp.call("DELETE", f"/Users/{bo}")).status == 204
        await until(refused_now, 5)
    assert await account(house, bo) is None
    assert (await idp.get(f"/Users/{bo}")).status == 404
    again = await idp.person("bo@example.org")  # whoever was deleted can come back
    assert again != bo


@pytest.mark.slow
async def test_the_gateway_refuses_the_key_of_who_was_deactivated(house: House, idp: Provider) -> None:
    home, bo = house.home, await idp.person("bo@example.org")
    _, secret = await keys.create_key(home.database, home.key, home.workspace.id, bo, "mine")
    async with gateway_app.gateway(home.settings):
        client = UnixClient(str(home.settings.layout.gateway_socket))

        async def status(bearer: str) -> int:
            headers = {"authorization": f"Bearer {bearer}"}
            async with client.request("GET", "/v1/models", None, headers) as response:
                await response.read()
                return response.status

        async def refused() -> bool:
            return await status(secret) == 401

        assert await status(secret) == 200
        assert await status(idp.token) == 401
        await idp.call("PUT", f"/Users/{bo}", {"userName": "bo@example.org", "active": False})
        assert await until(refused) <= 1.0
        client.close()


async def test_a_disabled_account_comes_back_unless_an_administrator_disabled_it(house: House, idp: Provider) -> None:
    bo = await idp.person("bo@example.org", active=False)
    user = await account(house, bo)
    assert user is not None
    assert user.disabled_at is not None
    taken = await idp.call("POST", "/Users", {"userName": "BO@example.org"})
    assert (taken.status, taken.json()["scimType"]) == (409, "uniqueness")
    assert await idp.names('userName eq "BO@EXAMPLE.ORG" and active eq false') == ["bo@example.org"]
    assert (await idp.call("PUT", f"/Users/{bo}", {"userName": "bo@example.org", "active": True})).json()["active"]
    assert (await idp.call("PUT", f"/Users/{bo}", {"userName": "bo@example.org"})).json()["active"] is True

    home = house.home
    await people.change(home.database, home.workspace.id, bo, actor=None, disabled=True)
    for _ in range(2):
        shown = (await idp.call("PUT", f"/Users/{bo}", {"userName": "bo@example.org", "active": True})).json()
        assert shown["active"] is False
        await idp.patch(f"/Users/{bo}", {"op": "replace", "path": "active", "value": False})
    await people.change(home.database, home.workspace.id, bo, actor=None, disabled=False)
    assert (await idp.patch(f"/Users/{bo}", {"op": "replace", "path": "active", "value": False})).status == 200
    await people.change(home.database, home.workspace.id, bo, actor=None, disabled=False)
    await people.change(home.database, home.workspace.id, bo, actor=None, disabled=True)  # an older one of ours is past
    await idp.patch(f"/Users/{bo}", {"op": "replace", "path": "active", "value": True})
    assert (await idp.get(f"/Users/{bo}")).json()["active"] is False


async def test_somebody_who_was_invited_is_found_and_taken_over(house: House, idp: Provider) -> None:
    ada = await house.account("reviewer", email="ada@example.org", password_hash="x")
    taken = await idp.call("POST", "/Users", {"userName": "Ada@Example.org"})
    assert (taken.status, taken.json()["scimType"]) == (409, "uniqueness")
    found = (await idp.get("/Users", filter='userName eq "Ada@Example.org"')).json()["Resources"]
    assert [one["id"] for one in found] == [ada.id]
    await idp.patch(f"/Users/{ada.id}", {"op": "add", "path": "externalId", "value": "e-1"})
    assert await idp.names('externalId eq "e-1"') == ["ada@example.org"]
    user = await account(house, ada.id)
    assert user is not None
    assert (user.role, user.password_hash, user.external_id) == ("reviewer", "x", "e-1")
    service = await house.account("service")
    assert (await idp.get(f"/Users/{service.id}")).status == 404
    assert service.id not in (await idp.get("/Users")).body.decode()


async def test_the_last_owner_stays(house: House, idp: Provider) -> None:
    owner = await house.account("owner", email="ada@example.org")
    for change in (
        await idp.patch(f"/Users/{owner.id}", {"op": "replace", "path": "active", "value": False}),
        await idp.call("PUT", f"/Users/{owner.id}", {"userName": "ada@example.org", "active": False}),
        await idp.call("DELETE", f"/Users/{owner.id}"),
    ):
        assert (change.status, change.json()["scimType"]) == (409, "mutability")
    user = await account(house, owner.id)
    assert user is not None
    assert (user.role, user.disabled_at) == ("owner", None)
    await house.account("owner")
    assert (await idp.call("DELETE", f"/Users/{owner.id}")).status == 204


async def test_a_user_name_need_not_be_an_address(house: House, idp: Provider) -> None:
    emails = [{"value": "bo@home.example", "type": "home"}, {"value": "Bo@Work.example", "type": "work"}]
    bo = await idp.person("bo", emails=emails)
    user = await account(house, bo)
    assert user is not None
    assert (user.name, user.email) == ("bo", "bo@work.example")
    assert await idp.names('userName eq "BO"') == ["bo"]
    eve = await idp.person("eve")
    nobody = await account(house, eve)
    assert nobody is not None
    assert nobody.email is None
    clash = await idp.patch(f"/Users/{eve}", {"op": "add", "path": "emails", "value": [{"value": "bo@work.example"}]})
    assert clash.status == 409
    assert (await idp.patch(f"/Users/{eve}", {"op": "replace", "path": "userName", "value": "BO"})).status == 409


# --- dialects of PATCH

ENTRA: list[tuple[Any, dict[str, Any]]] = [
    ({"op": "Replace", "path": "displayName", "value": "Bo B."}, {"displayName": "Bo B."}),
    ({"op": "Add", "path": "name.givenName", "value": "Bob"}, {"name": {"givenName": "Bob", "familyName": "Li"}}),
    (
        {"op": "Replace", "path": WORK, "value": "b@x.example"},
        {"emails": [{"value": "b@x.example", "type": "work", "primary": True}]},
    ),
    (
        {"op": "Replace", "path": 'emails[type eq "home"].value', "value": "b@h.example"},
        {
            "emails": [
                {"value": "bo@example.org", "type": "work", "primary": True},
                {"type": "home", "value": "b@h.example"},
            ]
        },
    ),
    ({"op": "Replace", "path": "active", "value": "False"}, {"active": False}),
    ({"op": "Replace", "path": "active", "value": [{"$ref": None, "value": "False"}]}, {"active": False}),
    (
        {"op": "Add", "value": {"displayName": "B", f"{ENTERPRISE}:department": "X", "active": "FALSE"}},
        {"displayName": "B", "active": False},
    ),
    (
        {"op": "Replace", "value": {"name.familyName": "Lo", WORK: "w@x.example"}},
        {
            "name": {"givenName": "Bo", "familyName": "Lo"},
            "emails": [{"value": "w@x.example", "type": "work", "primary": True}],
        },
    ),
    ({"op": "Replace", "path": f"{ENTERPRISE}:manager", "value": "x"}, {}),
    ({"op": "Remove", "path": "externalId"}, {"externalId": None}),
    ({"op": "Remove", "path": WORK}, {"emails": None}),
    ({"op": "Remove", "path": 'emails[type eq "fax"]'}, {}),
]
OKTA: list[tuple[Any, dict[str, Any]]] = [
    ({"op": "replace", "value": {"active": False}}, {"active": False}),
    (
        {"op": "replace", "value": {"id": "usr_other", "userName": "b@x.example", "schemas": []}},
        {"userName": "b@x.example"},
    ),
    (
        {"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:displayName", "value": "B"},
        {"displayName": "B"},
    ),
    (
        {"op": "replace", "path": "name", "value": {"formatted": "Bo the Great"}},
        {"name": {"formatted": "Bo the Great"}},
    ),
    (
        {"op": "add", "path": "name", "value": {"formatted": "F"}},
        {"name": {"givenName": "Bo", "familyName": "Li", "formatted": "F"}},
    ),
    (
        {"op": "add", "path": "emails", "value": [{"value": "z@x.example", "primary": True}]},
        {
            "emails": [
                {"value": "bo@example.org", "type": "work", "primary": False},
                {"value": "z@x.example", "primary": True},
            ]
        },
    ),
    ({"op": "remove", "path": 'emails[value eq "BO@example.org" or type eq "fax"]'}, {"emails": None}),
    ({"OP": "replace", "PATH": "DISPLAYNAME", "VALUE": "B"}, {"displayName": "B"}),
    ({"op": "replace", "path": "displayName", "value": None}, {"displayName": None}),
]


async def test_dialects(idp: Provider) -> None:
    for operation, expected in ENTRA + OKTA:
        bo = await idp.person(
            "bo@example.org",
            externalId="e-1",
            displayName="Bo",
            name={"givenName": "Bo", "familyName": "Li"},
            emails=[{"value": "bo@example.org", "type": "work", "primary": True}],
            **{ENTERPRISE: {"department": "Tools"}, "title": "Ms", "roles": [{"value": "admin"}]},
        )
        before = (await idp.get(f"/Users/{bo}")).json()
        assert ENTERPRISE not in before
        changed = await idp.patch(f"/Users/{bo}", operation)
        assert changed.status == 200, (operation, changed.body)
        after = (await idp.get(f"/Users/{bo}")).json()
        assert changed.json() == after
        assert after == {name: value for name, value in {**before, **expected}.items() if value is not None}, operation
        await idp.call("DELETE", f"/Users/{bo}")


async def test_members_in_every_dialect(house: House, idp: Provider) -> None:
    a, b, c, d = [await idp.person(f"{name}@example.org") for name in "abcd"]
    team = await idp.group("Team", a, externalId="g-1")
    steps: list[tuple[Any, set[str]]] = [
        ({"op": "Add", "path": "members", "value": [{"$ref": None, "value": b}]}, {a, b}),
        ({"op": "add", "path": "members", "value": {"value": c}}, {a, b, c}),
        ({"op": "Add", "path": "members", "value": [{"value": c}, {"value": c}]}, {a, b, c}),
        ({"op": "remove", "path": f'members[value eq "{a}"]'}, {b, c}),
        ({"op": "Remove", "path": "members", "value": [{"value": b}]}, {c}),
        ({"op": "remove", "path": "members", "value": []}, {c}),
        ({"op": "add", "value": {"members": [{"value": a}]}}, {a, c}),
        ({"op": "replace", "value": {"id": team, "displayName": "Team 2"}}, {a, c}),
        ({"op": "remove", "path": f'members[value eq "{a}" or value eq "{c}"]'}, set()),
        ({"op": "replace", "path": "members", "value": [{"value": d}, {"value": a}]}, {a, d}),
        ({"op": "remove", "path": "members"}, set()),
    ]
    for operation, expected in steps:
        answer = await idp.patch(f"/Groups/{team}", operation)
        assert (answer.status, answer.body) == (204, b""), operation
        assert await members(house, team) == expected, operation
    both = (
        {"op": "add", "path": "members", "value": [{"value": a}]},
        {"op": "remove", "path": f'members[value eq "{a}"]'},
    )
    await idp.patch(f"/Groups/{team}", *both)
    assert await members(house, team) == set()
    await idp.patch(f"/Groups/{team}", *reversed(both))
    assert await members(house, team) == {a}
    put = await idp.call("PUT", f"/Groups/{team}", {"displayName": "Team", "members": [{"value": b}]})
    assert put.status == 200
    assert [one["value"] for one in put.json()["members"]] == [b]
    assert "externalId" not in put.json()
    assert (await idp.call("PUT", f"/Groups/{team}", {"displayName": "Team"})).json()["members"] != []
    assert (await idp.get(f"/Users/{b}")).json()["groups"][0]["value"] == team


# --- groups


async def test_a_client_takes_out_only_whom_it_put_in(house: House, idp: Provider) -> None:
    home, ada = house.home, await house.account("member")
    bo = await idp.person("bo@example.org")
    own = await groups.create(home.database, home.workspace.id, "Admins", "admin", actor=None)
    await groups.add(home.database, home.workspace.id, own.id, ada.id, actor=None)
    assert (await idp.get("/Groups")).json()["totalResults"] == 0  # a group is seen once it is pushed
    assert (await idp.get(f"/Groups/{own.id}")).status == 404
    pushed = await idp.group("Admins", bo, externalId="g-1")
    assert pushed == own.id
    again = await idp.call("POST", "/Groups", {"displayName": "Admins"})
    assert (again.status, again.json()["scimType"]) == (409, "uniqueness")
    await idp.patch(f"/Groups/{own.id}", {"op": "remove", "path": f'members[value eq "{ada.id}"]'})
    await idp.call("PUT", f"/Groups/{own.id}", {"displayName": "Admins", "members": []})
    await idp.patch(f"/Groups/{own.id}", {"op": "add", "path": "members", "value": [{"value": ada.id}, {"value": bo}]})
    await idp.patch(f"/Groups/{own.id}", {"op": "remove", "path": "members"})
    assert await members(house, own.id) == {ada.id}
    await idp.patch(f"/Groups/{own.id}", {"op": "add", "path": "members", "value": [{"value": bo}]})
    assert (await idp.call("DELETE", f"/Groups/{own.id}")).status == 204
    assert (await idp.get(f"/Groups/{own.id}")).status == 404
    async with home.database.read() as connection:
        kept = await stored_groups.get(connection, home.workspace.id, own.id)
    assert kept is not None
    assert (kept.role, kept.external_id) == ("admin", None)
    assert await members(house, own.id) == {ada.id}
    assert await idp.group("Admins") == own.id
    plain = await idp.group("Plain", bo)
    assert (await idp.call("DELETE", f"/Groups/{plain}")).status == 204
    async with home.database.read() as connection:
        assert await stored_groups.get(connection, home.workspace.id, plain) is None


async def test_a_pushed_group_gives_no_role_whatever_it_is_called(house: House, idp: Provider) -> None:
    bo = await idp.person("bo@example.org", roles=[{"value": "owner", "primary": True}], role="owner", userType="admin")
    team = await idp.group("admin", bo, role="admin")
    for path in ("role", "roles", "roles.value", "roles[primary eq true].value", "userType", "password"):
        for op in ("add", "replace"):
            assert (await idp.patch(f"/Users/{bo}", {"op": op, "path": path, "value": "owner"})).status == 200
            assert (await idp.patch(f"/Groups/{team}", {"op": op, "path": path, "value": "admin"})).status == 204
    user = await account(house, bo)
    assert user is not None
    assert user.role == "member"
    assert user.password_hash is None
    async with house.home.database.read() as connection:
        assert await people.effective_role(connection, user) == "member"
    browser = await house.signed_in(user)
    assert (await browser.get("/api/people")).status == 403

    await groups.change(
        house.home.database, house.home.workspace.id, team, name="admin", role="admin", actor=None
    )  # deliberately

    async def admin() -> bool:
        return (await browser.get("/api/people")).status == 200

    await eventually(admin)


@pytest.mark.slow
async def test_a_push_of_thousands_is_quick(house: House, idp: Provider) -> None:
    count, home = 3000, house.home
    async with home.database.write() as connection:
        made = [
            await users.create(connection, home.workspace.id, name=f"p{n}", email=f"p{n}@example.org", role="member")
            for n in range(count)
        ]
    everybody = [{"value": user.id, "$ref": f"../Users/{user.id}", "display": user.name} for user in made]
    began = time.monotonic()
    team = await idp.group("Everybody", *(user.id for user in made))
    await idp.patch(f"/Groups/{team}", {"op": "replace", "path": "members", "value": everybody[: count // 2]})
    await idp.patch(f"/Groups/{team}", {"op": "add", "path": "members", "value": everybody})
    listed = await idp.get("/Groups", filter=f'members.value eq "{made[-1].id}"', excludedAttributes="members")
    assert time.monotonic() - began < 10
    assert len(await members(house, team)) == count
    assert [one["id"] for one in listed.json()["Resources"]] == [team]
    assert "members" not in listed.json()["Resources"][0]
