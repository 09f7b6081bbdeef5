"""The command line for people, groups, services and keys, on a state folder that is not running."""

import asyncio

import pytest

from freehold.identity import accounts, invitations
from freehold.identity.directory import Directory
from freehold.protocol.errors import Refused
from freehold.settings import Settings
from freehold.storage import workspaces
from freehold.storage.engine import Database
from tests.commanding import PASSWORD, run


def test_people_are_invited_changed_and_removed(state: Settings) -> None:
    made = run(state, "user", "invite", "bo@example.org", "--role", "reviewer")
    assert made["url"].startswith(f"https://localhost:8443{invitations.LINK}fhc_")
    there = run(state, "user", "invite", "bo@example.org", "--workspace", "Second")
    assert there["url"].startswith("https://second.example:8443")
    assert [i["email"] for i in run(state, "user", "list")["invitations"]] == ["bo@example.org"]

    async def join() -> None:
        async with Database(state.database_url) as database:
            key = state.layout.secret("credentials")
            async with database.read() as connection:
                first = await workspaces.first(connection)
            assert first is not None
            token = made["url"].partition("#token=")[2]
            user = await accounts.redeem_invitation(database, key, first.id, token, name="Bo", password=PASSWORD)
            await accounts.open_session(database, key, user, 1)

    asyncio.run(join())
    people = {p["email"]: p for p in run(state, "user", "list")["people"]}
    assert people["bo@example.org"]["role"] == "reviewer"
    assert run(state, "user", "role", "bo@example.org", "owner")["role"] == "owner"
    assert run(state, "user", "role", "ada@example.org", "member")["role"] == "member"
    assert "last owner" in run(state, "user", "role", "bo@example.org", "member", code=1)["problems"][0]["what"]
    assert len(run(state, "user", "sessions", "bo@example.org")["sessions"]) == 1
    assert run(state, "user", "sessions", "bo@example.org", "--end")["ended"] is True
    assert run(state, "user", "sessions", "bo@example.org")["sessions"] == []
    assert run(state, "user", "disable", "ada@example.org")["disabled"] is True
    assert run(state, "user", "enable", people["ada@example.org"]["id"])["disabled"] is False
    run(state, "user", "password", "bo@example.org", "--password", "another fine long one", "--reset-factors")
    assert (
        "guessed"
        in run(state, "user", "password", "bo@example.org", "--password", "password1234", code=1)["problems"][0]["what"]
    )
    run(state, "user", "remove", "ada@example.org")
    assert "no such person" in run(state, "user", "role", "ada@example.org", "owner", code=1)["problems"][0]["what"]
    run(state, "user", "role", "bo@example.org", "admin", "--workspace", "Second", code=1)


def test_groups_give_roles(state: Settings) -> None:
    run(state, "group", "create", "Team", "--role", "owner", code=1)
    run(state, "group", "create", "Team", "--role", "admin")
    run(state, "group", "create", "Team", code=1)
    run(state, "group", "add", "Team", "ada@example.org")
    run(state, "group", "add", "Team", "eve@example.org", code=1)
    assert run(state, "group", "list")[0]["members"] == ["ada@example.org"]
    run(state, "group", "remove", "Team", "ada@example.org")
    run(state, "group", "remove", "Team", "ada@example.org", code=1)
    run(state, "group", "delete", "Team")
    assert run(state, "group", "list") == []


def test_a_services_key_dies_with_it(state: Settings) -> None:
    service = run(state, "service", "create", "robot")
    assert [s["name"] for s in run(state, "service", "list")] == ["robot"]
    made = run(state, "key", "create", "x", "--service", service["id"], "--scope", "chat", "--source", "10.0.0.0/8")
    run(state, "key", "create", "x", "--service", "usr_nobody", code=1)
    run(state, "key", "create", "x", "--scope", "everything", code=1)

    async def role() -> str:
        async with (
            Database(state.database_url) as database,
            Directory(database, state.layout.secret("credentials")).running() as directory,
        ):
            principal = await directory.authenticate(made["key"], address="10.1.2.3")
            assert principal.scopes == {"chat"}
            return principal.role

    assert asyncio.run(role()) == "service"
    run(state, "service", "remove", service["id"])
    with pytest.raises(Refused):
        asyncio.run(role())
