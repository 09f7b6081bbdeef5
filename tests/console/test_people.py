"""What administrators do: changes that take hold within a second, the last owner, groups, services, keys with rules."""

import asyncio
from typing import Any

import pytest

from freehold.identity import people
from freehold.identity.directory import Directory
from freehold.protocol.errors import Refused
from freehold.storage import groups, users
from tests.console.conftest import BUILT, Browser, House, eventually

pytestmark = BUILT


async def refused(browser: Browser, path: str, status: int) -> bool:
    return (await browser.get(path)).status == status


async def test_a_change_of_role_takes_hold_within_a_second(house: House) -> None:
    owner, bo = await house.person("owner"), await house.account("member")
    browser = await house.signed_in(bo)
    assert (await browser.get("/api/people")).status == 403
    assert (await owner.call("PATCH", f"/api/people/{bo.id}", {"role": "admin"})).status == 200
    await eventually(lambda: refused(browser, "/api/people", 200))
    await owner.call("PATCH", f"/api/people/{bo.id}", {"role": "auditor"})
    await eventually(lambda: refused(browser, "/api/conversations", 403))
    shown = (await owner.get(f"/api/people/{bo.id}")).json()["person"]
    assert (shown["role"], shown["effective_role"]) == ("auditor", "auditor")
    assert (shown["totp"], shown["passkeys"]) == (False, 0)


async def test_a_group_raises_its_members_while_they_are_in_it(house: House) -> None:
    owner, bo = await house.person("owner"), await house.account("member")
    browser = await house.signed_in(bo)
    group = (await owner.post("/api/groups", {"name": "Team", "role": "admin"})).json()["group"]
    assert (await owner.post("/api/groups", {"name": "Team", "role": None})).code == "name_taken"
    assert (await owner.post("/api/groups", {"name": "Lords", "role": "owner"})).code == "role_invalid"
    for _ in range(2):
        assert (await owner.post(f"/api/groups/{group['id']}/members", {"person": bo.id})).status == 200
    await eventually(lambda: refused(browser, "/api/people", 200))
    listed = {p["id"]: p for p in (await owner.get("/api/people")).json()["people"]}
    assert (listed[bo.id]["role"], listed[bo.id]["effective_role"]) == ("member", "admin")
    assert (await owner.get("/api/groups")).json()["groups"][0]["members"] == [bo.id]
    assert (await owner.call("PATCH", f"/api/groups/{group['id']}", {"name": "Team", "role": "member"})).status == 200
    await eventually(lambda: refused(browser, "/api/people", 403))
    assert (await owner.call("DELETE", f"/api/groups/{group['id']}/members/{bo.id}")).status == 200
    assert (await owner.call("DELETE", f"/api/groups/{group['id']}/members/{bo.id}")).status == 404
    assert (await owner.call("DELETE", f"/api/groups/{group['id']}")).status == 200


async def test_disabling_ends_everything_and_enabling_brings_no_session_back(house: House) -> None:
    owner, bo = await house.person("owner"), await house.account("member")
    browser = await house.signed_in(bo)
    key = (await browser.post("/api/keys", {"name": "x"})).json()["secret"]
    async with Directory(house.home.database, house.home.key).running() as directory:
        await directory.authenticate(key)

        async def dead() -> bool:
            try:
                await directory.authenticate(key)
            except Refused:
                return True
            return False

        assert (await owner.call("PATCH", f"/api/people/{bo.id}", {"disabled": True})).status == 200
        await eventually(dead)
    await eventually(lambda: refused(browser, "/api/me", 401))
    assert (await owner.call("PATCH", f"/api/people/{bo.id}", {"disabled": False})).status == 200
    assert (await browser.get("/api/me")).status == 401
    again = await house.signed_in(bo)
    assert (await owner.call("DELETE", f"/api/people/{bo.id}/sessions")).json() == {"ended": 1}
    await eventually(lambda: refused(again, "/api/me", 401))
    assert (await owner.call("DELETE", f"/api/people/{bo.id}/factors")).status == 200
    assert (await owner.call("DELETE", f"/api/people/{bo.id}")).status == 200
    assert (await owner.get(f"/api/people/{bo.id}")).status == 404


@pytest.mark.parametrize("change", [{"role": "member"}, {"disabled": True}])
async def test_the_last_owner_stays_one(house: House, change: dict[str, Any]) -> None:
    first = await house.account("owner")
    browser = await house.signed_in(first)
    refusal = await browser.call("PATCH", f"/api/people/{first.id}", change)
    assert (refusal.status, refusal.code) in {(409, "last_owner"), (409, "own_account")}
    assert (await browser.call("DELETE", f"/api/people/{first.id}")).code == "last_owner"
    with pytest.raises(Refused) as caught:
        await people.change(house.home.database, first.workspace_id, first.id, actor=None, **change)
    assert caught.value.code == "last_owner"


async def test_two_owners_who_leave_at_once_leave_one(house: House) -> None:
    pair = [await house.account("owner") for _ in range(2)]
    database = house.home.database
    results = await asyncio.gather(
        *(people.change(database, one.workspace_id, one.id, actor=None, role="member") for one in pair),
        return_exceptions=True,
    )
    assert sorted(isinstance(result, users.User) for result in results) == [False, True]


async def test_an_administrator_reaches_no_owner(house: House) -> None:
    owner, admin = await house.account("owner"), await house.person("admin")
    await house.account("owner")
    bo = await house.account("member")
    for method, path, body in (
        ("PATCH", f"/api/people/{owner.id}", {"role": "member"}),
        ("PATCH", f"/api/people/{owner.id}", {"name": "x"}),
        ("PATCH", f"/api/people/{bo.id}", {"role": "owner"}),
        ("DELETE", f"/api/people/{owner.id}", {}),
        ("DELETE", f"/api/people/{owner.id}/sessions", {}),
        ("DELETE", f"/api/people/{owner.id}/factors", {}),
    ):
        answer = await admin.call(method, path, body)
        assert (answer.status, answer.code) == (403, "role_above"), path
    assert (await admin.call("PATCH", f"/api/people/{bo.id}", {"role": "service"})).code == "role_invalid"


async def test_services_have_keys_with_rules_and_no_session(house: House) -> None:
    admin = await house.person("admin")
    service = (await admin.post("/api/services", {"name": "robot"})).json()["service"]
    rules = {"scopes": ["models", "chat"], "assistants": ["m"], "sources": ["192.0.2.9/24", "2001:db8::1"], "days": 30}
    made = (await admin.post(f"/api/services/{service['id']}/keys", {"name": "x", **rules})).json()
    assert made["key"]["scopes"] == ["chat", "models"]
    assert made["key"]["sources"] == ["192.0.2.0/24", "2001:db8::1/128"]
    async with Directory(house.home.database, house.home.key).running() as directory:
        principal = await directory.authenticate(made["secret"], address="192.0.2.77")
        assert (principal.role, principal.user_id) == ("service", service["id"])
        assert (set(principal.scopes), set(principal.assistants)) == ({"chat", "models"}, {"m"})
        with pytest.raises(Refused):
            await directory.authenticate(made["secret"], address="198.51.100.1")
    listed = (await admin.get("/api/workspace/keys")).json()["keys"]
    assert {key["user_id"] for key in listed} == {service["id"], None}
    assert (await admin.get(f"/api/people/{service['id']}")).status == 404
    assert (await admin.call("DELETE", f"/api/workspace/keys/{made['key']['id']}")).status == 200
    assert (await admin.call("DELETE", f"/api/services/{service['id']}")).status == 200
    assert (await admin.get("/api/services")).json() == {"services": []}


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"scopes": ["everything"]}, "scope_invalid"),
        ({"assistants": ["nothing"]}, "assistant_invalid"),
        ({"sources": ["somewhere"]}, "source_invalid"),
        ({"sources": ["192.0.2.0/33"]}, "source_invalid"),
        ({"sources": ["192.0.2.1"] * 33}, "too_many_rules"),
        ({"days": 0}, "invalid_body"),
        ({"name": " "}, "name_invalid"),
    ],
)
async def test_a_key_with_a_wrong_rule_is_not_made(house: House, rules: dict[str, object], code: str) -> None:
    member = await house.person("member")
    answer = await member.post("/api/keys", {"name": "x", **rules})
    assert (answer.status, answer.code) == (400, code)
    assert (await member.get("/api/keys")).json() == {"keys": []}


async def test_nobody_is_put_into_another_workspaces_group(house: House) -> None:
    other = await house.other_workspace()
    stranger = await house.account("member", workspace_id=other.id)
    async with house.home.database.write() as connection:
        group = await groups.create(connection, house.home.workspace.id, "Team", "admin")
        assert not await groups.add(connection, group.id, stranger.id)
        assert await groups.roles(connection, stranger.id) == []
