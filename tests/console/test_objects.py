"""Every object that the console keeps × every verb × {its owner, a peer, an administrator, another tenant}.

Who may not have it is answered, byte for byte, as if it were not there; and its owner still has it afterwards.
"""

import re
from typing import Any

import pytest

from freehold.console import app as console_app
from freehold.console.access import Declared
from freehold.console.bodies import reply
from freehold.identity import roles
from tests.conftest import Home
from tests.console.conftest import BUILT, Browser, House, eventually, opened
from tests.console.test_matrix import OWN, PERMITTED, PUBLIC, SIGNED, belongings, guarded

pytestmark = [BUILT, pytest.mark.slow]

AS_OWN = OWN | {"key of one's own"}
ADMINISTERED = {"person", "invitation", "group", "service", "key"}


def kind_of(path: str) -> str | None:
    """Which object a path names first."""
    found = re.search(r"\{(\w+)\}", path)
    if found is None:
        return None
    return "key of one's own" if path == "/api/keys/{key}" else found[1]


async def test_what_one_may_not_have_is_not_there(house: House) -> None:
    other = await house.other_workspace()
    holder = await house.account("member")
    mine = await belongings(house, holder)
    mine["key of one's own"] = mine["key"]
    strangers = await house.signed_in(await house.account("owner", workspace_id=other.id), host="other.example")

    async def opens() -> bool:
        return (await strangers.get("/api/me")).status == 200

    await eventually(opens)
    askers: dict[str, Browser] = {
        "peer": await house.person("member"),
        "admin": await house.person("admin"),
        "owner": await house.person("owner"),
        "other tenant": strangers,
    }
    asked: dict[str, int] = dict.fromkeys(askers, 0)
    kinds = set()
    for method, path, permission in guarded(house):
        if (kind := kind_of(path)) is None:
            continue
        kinds.add(kind)
        names = re.findall(r"\{(\w+)\}", path)
        body, _ = PERMITTED[method, path]
        theirs = {name: mine[name] for name in names}
        absent = {name: f"{mine[name].partition('_')[0]}_AAAAAAAAAAAAAAAA" for name in names}
        for who, browser in askers.items():
            role = "member" if who == "peer" else "admin" if who == "admin" else "owner"
            if kind in ADMINISTERED and who in ("admin", "owner"):
                continue  # theirs to look after: `test_every_cell…` and `test_people` say what they get
            there = await browser.call(method, path.format(**theirs), body)
            missing = await browser.call(method, path.format(**absent), body)
            assert there.like == missing.like, (who, method, path)
            assert there.status == (404 if roles.permits(role, permission) else 403), (who, method, path)
            asked[who] += 1
    assert kinds == AS_OWN | ADMINISTERED
    assert min(asked.values()) >= 8, asked
    await still_there(house, await house.signed_in(holder), mine)


async def still_there(house: House, browser: Browser, mine: dict[str, str]) -> None:
    """Nothing was changed by all that."""
    admin = await house.person("owner")

    async def ids(who: Browser, path: str, name: str) -> set[str]:
        listed: list[dict[str, Any]] = (await who.get(path)).json()[name]
        return {one["id"] for one in listed}

    assert (await browser.get(f"/api/conversations/{mine['conversation']}")).status == 200
    assert mine["key"] in await ids(browser, "/api/keys", "keys")
    assert mine["session"] in await ids(browser, "/api/sessions", "sessions")
    assert mine["passkey"] in await ids(browser, "/api/factors", "passkeys")
    assert mine["group"] in await ids(admin, "/api/groups", "groups")
    assert mine["service"] in await ids(admin, "/api/services", "services")
    assert mine["invitation"] in await ids(admin, "/api/invitations", "invitations")
    assert mine["person"] in await ids(admin, "/api/people", "people")


async def unlisted(house: House) -> set[str]:
    """Paths of the live route table that answer otherwise than 401 to a stranger and are on no reviewed list."""
    stranger, found = house.browser(), set()
    for route in house.console.declared():
        if route.path in PUBLIC | SIGNED or route.path.startswith("/assets/") or not route.path.startswith("/api/"):
            continue
        path = re.sub(r"\{\w+\}", "x_1", route.path)
        if (await stranger.call(route.method, path, {})).status != 401:
            found.add(route.path)
    return found


async def test_a_new_route_without_a_session_is_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(home) as house:
        assert await unlisted(house) == set()

    home.settings.layout.console_socket.unlink()

    async def new(_: Any) -> Any:
        return reply({})

    before = console_app.routes
    monkeypatch.setattr(
        console_app, "routes", lambda *parts: [*before(*parts), Declared("GET", "/api/new", "public", new)]
    )
    async with opened(home) as house:
        assert await unlisted(house) == {"/api/new"}
