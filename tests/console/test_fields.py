"""Role × route × method × field, every cell against the live console; and every role that somebody may or may not give.

Which members a route takes, the console says itself: a body with a member that it does not know is answered with the
ones that it does. Whatever else is sent (a role, an owner, a workspace, a date) is refused and changes nothing.
"""

import itertools
import re
from typing import Any

import pytest

from freehold.identity import roles
from freehold.storage import groups, users
from freehold.storage.tables import metadata
from freehold.storage.users import Role
from tests.console.conftest import BUILT, Answer, House
from tests.console.test_matrix import PERMITTED, guarded

pytestmark = [BUILT, pytest.mark.slow]

COLUMNS = {column.name for table in metadata.tables.values() for column in table.columns}
WISHES = {"admin", "is_admin", "permissions", "owner", "groups", "user", "workspace", "held_back", "effective_role"}
MEMBERS = re.compile(rb"exactly these members: ([a-z_, ]+)\.")


async def members(answer: Answer) -> set[str] | None:
    """The members that a route takes, by its refusal; None for one that reads no body."""
    found = MEMBERS.search(answer.body)
    return set(found[1].decode().split(", ")) if found else None


@pytest.mark.parametrize("role", roles.PERSONAL)
async def test_every_field_of_every_route(house: House, role: Role) -> None:
    fields = sorted(COLUMNS | WISHES)
    assert len(fields) > 50
    cells = 0
    for method, path, permission in guarded(house):
        if method == "GET":
            continue
        where, (body, status) = re.sub(r"\{\w+\}", "x_1", path), PERMITTED[method, path]
        browser = await house.person(role)
        before = await state(house)
        if not roles.permits(role, permission):
            for field in fields:
                answer = await browser.call(method, where, {**body, field: "owner"})
                assert (answer.status, answer.code) == (403, "not_permitted"), (method, path, field)
                cells += 1
            assert await state(house) == before, (method, path)
            continue
        taken = await members(await browser.call(method, where, {"no_such_member": 1}))
        assert taken is not None or not body, f"{method} {path} takes members that it does not know"
        if taken is None:  # what it is sent is not looked at: it answers as without
            browser = await house.person(role)
            answer = await browser.call(method, where, dict.fromkeys(fields, "owner"))
            assert answer.status == status, (method, path, answer.body)
            cells += len(fields)
            continue
        assert set(body) <= taken, (method, path)
        for field in fields:
            if field not in taken:
                answer = await browser.call(method, where, {**body, field: "owner"})
                assert (answer.status, answer.code) == (400, "invalid_body"), (method, path, field)
            cells += 1
        for field in taken:  # and nothing of another shape where it is known
            for shape in ({"a": 1}, [[1]], 1.5):
                answer = await browser.call(method, where, {**body, field: shape})
                assert (answer.status, answer.code) == (400, "invalid_body"), (method, path, field, shape)
        assert await state(house) == before, (method, path)
    assert cells == len(fields) * sum(method != "GET" for method, _, _ in guarded(house))


async def state(house: House) -> list[tuple[Any, ...]]:
    """Who is what, and who is in which group."""
    async with house.home.database.read() as connection:
        people = await users.listed(connection, house.home.workspace.id)
        teams = await groups.memberships(connection, house.home.workspace.id)
    return [(u.id, u.role, u.name, u.email, u.disabled_at) for u in people] + sorted(teams.items())


ACTORS = roles.PERSONAL
GIVEN = (*roles.PERSONAL, "service", "root", "")


def expected(actor: Role, target: str, given: str | None) -> tuple[int, str | None]:
    """What changing somebody of role `target` to `given` is answered."""
    if not roles.permits(actor, "people:write"):
        return 403, "not_permitted"
    if not roles.may_act_on(actor, target):
        return 403, "role_above"
    if given is None or given == target:
        return 200, None
    if given not in roles.PERSONAL:
        return 400, "role_invalid"
    return (200, None) if roles.may_act_on(actor, given) else (403, "role_above")


async def test_the_role_field_of_a_person(house: House) -> None:
    """Actor × whose × new role: 5 × 5 × 8 cells, and what each left behind."""
    await house.person("owner")  # so that none of the others is the last
    by = {role: await house.person(role) for role in ACTORS}
    cells = 0
    for actor, target, given in itertools.product(ACTORS, roles.PERSONAL, GIVEN):
        user = await house.account(target)
        answer = await by[actor].call("PATCH", f"/api/people/{user.id}", {"role": given})
        assert (answer.status, answer.code) == expected(actor, target, given), (actor, target, given)
        async with house.home.database.read() as connection:
            now = await users.get(connection, user.id)
        assert now is not None
        assert now.role == (given if answer.status == 200 else target)
        cells += 1
    assert cells == 200


@pytest.mark.parametrize("change", [{"name": "New"}, {"disabled": True}, {"disabled": False}], ids=str)
async def test_the_other_fields_of_a_person(house: House, change: dict[str, Any]) -> None:
    await house.person("owner")
    by = {role: await house.person(role) for role in ACTORS}
    for actor, target in itertools.product(ACTORS, roles.PERSONAL):
        user = await house.account(target)
        answer = await by[actor].call("PATCH", f"/api/people/{user.id}", change)
        assert (answer.status, answer.code) == expected(actor, target, None), (actor, target)
        async with house.home.database.read() as connection:
            now = await users.get(connection, user.id)
        assert now is not None
        changed = now.name == "New" or now.disabled_at is not None
        assert changed == (answer.status == 200 and change != {"disabled": False})


async def test_the_role_field_of_invitations_and_groups(house: House) -> None:
    by = {role: await house.person(role) for role in ACTORS}
    for number, (actor, given) in enumerate(itertools.product(ACTORS, GIVEN)):
        answer = await by[actor].post("/api/invitations", {"email": f"x{number}@example.org", "role": given})
        want = expected(actor, "member", given)
        assert (answer.status, answer.code) == ((201, None) if want[0] == 200 else want), (actor, given)
        for method in ("POST", "PATCH"):
            async with house.home.database.write() as connection:
                team = await groups.create(connection, house.home.workspace.id, f"{method} {number}", "member")
            path = "/api/groups" if method == "POST" else f"/api/groups/{team.id}"
            answer = await by[actor].call(method, path, {"name": f"team {method} {number}", "role": given})
            if not roles.permits(actor, "people:write"):
                assert answer.code == "not_permitted"
            elif given not in roles.OF_GROUPS:
                assert answer.code == "role_invalid"
            else:
                assert answer.status == (201 if method == "POST" else 200)
                assert roles.may_act_on(actor, given)
