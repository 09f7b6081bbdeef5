"""Deny by default, the role × route matrix, and no way from one workspace into another: generated from the routes."""

import itertools
import re
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from freehold.gateway import app as gateway_app
from freehold.gateway.routes import PUBLIC as GATEWAY_PUBLIC
from freehold.gateway.routes import Routes
from freehold.identity import keys, roles
from freehold.identity.principal import Scope
from freehold.identity.roles import Permission
from freehold.protocol.http import UnixClient
from freehold.protocol.ids import new_secret
from freehold.storage import claims, conversations, credentials, factors, groups
from freehold.storage.conversations import Owner
from freehold.storage.users import Role, User
from tests.conftest import Home
from tests.console.conftest import BUILT, House, eventually

pytestmark = BUILT

PUBLIC = {
    "/", "/claim", "/join", "/chat", "/chat/{conversation}", "/settings", "/account", "/people",
    "/api/site", "/api/claim", "/api/join", "/api/join/look",
    "/api/sign-in", "/api/sign-in/code", "/api/sign-in/passkey", "/api/sign-in/passkey/options",
    "/sign-in/with/{provider}", "/sign-in/back/{provider}",
}  # fmt: skip
"""What answers without a session: the reviewed list."""

SIGNED = {"/scim/{path:path}", "/sign-out/from/{provider}"}
"""What proves itself by what is sent: the reviewed list."""

B64 = "AAAAAAAAAAAAAAAAAAAAAAAA"
MADE = {"id": B64, "response": {"clientDataJSON": B64, "attestationObject": B64}}

PERMITTED: dict[tuple[str, str], tuple[Any, int]] = {
    ("POST", "/api/sign-out"): ({}, 200),
    ("GET", "/api/me"): (None, 200),
    ("POST", "/api/account/confirm"): ({"password": "x"}, 403),  # these people have no password
    ("POST", "/api/account/password"): ({"password": "a new and long password"}, 200),
    ("GET", "/api/sessions"): (None, 200),
    ("DELETE", "/api/sessions"): ({}, 200),
    ("DELETE", "/api/sessions/{session}"): ({}, 404),
    ("GET", "/api/factors"): (None, 200),
    ("POST", "/api/factors/totp"): ({}, 201),
    ("POST", "/api/factors/totp/confirm"): ({"code": "000000"}, 403),
    ("DELETE", "/api/factors/totp"): ({}, 404),
    ("POST", "/api/factors/recovery"): ({}, 404),
    ("POST", "/api/passkeys/options"): ({}, 200),
    ("POST", "/api/passkeys"): ({"name": "x", "credential": MADE}, 400),
    ("PATCH", "/api/passkeys/{passkey}"): ({"name": "x"}, 404),
    ("DELETE", "/api/passkeys/{passkey}"): ({}, 404),
    ("GET", "/api/assistants"): (None, 200),
    ("GET", "/api/conversations"): (None, 200),
    ("POST", "/api/conversations"): ({}, 201),
    ("GET", "/api/conversations/{conversation}"): (None, 404),
    ("PATCH", "/api/conversations/{conversation}"): ({"title": "x"}, 404),
    ("DELETE", "/api/conversations/{conversation}"): ({}, 404),
    ("POST", "/api/conversations/{conversation}/messages"): ({"assistant": "m", "content": "x"}, 404),
    ("GET", "/api/keys"): (None, 200),
    ("POST", "/api/keys"): ({"name": "x"}, 201),
    ("DELETE", "/api/keys/{key}"): ({}, 404),
    ("GET", "/api/people"): (None, 200),
    ("GET", "/api/people/{person}"): (None, 404),
    ("PATCH", "/api/people/{person}"): ({"role": "member"}, 404),
    ("DELETE", "/api/people/{person}"): ({}, 404),
    ("DELETE", "/api/people/{person}/sessions"): ({}, 404),
    ("DELETE", "/api/people/{person}/factors"): ({}, 404),
    ("GET", "/api/invitations"): (None, 200),
    ("POST", "/api/invitations"): ({"email": "new@example.org", "role": "member"}, 201),
    ("DELETE", "/api/invitations/{invitation}"): ({}, 404),
    ("GET", "/api/groups"): (None, 200),
    ("POST", "/api/groups"): ({"name": "", "role": None}, 400),
    ("PATCH", "/api/groups/{group}"): ({"name": "x", "role": None}, 404),
    ("DELETE", "/api/groups/{group}"): ({}, 404),
    ("POST", "/api/groups/{group}/members"): ({"person": "usr_x"}, 404),
    ("DELETE", "/api/groups/{group}/members/{person}"): ({}, 404),
    ("GET", "/api/services"): (None, 200),
    ("POST", "/api/services"): ({"name": "x"}, 201),
    ("DELETE", "/api/services/{service}"): ({}, 404),
    ("POST", "/api/services/{service}/keys"): ({"name": "x"}, 404),
    ("GET", "/api/workspace/keys"): (None, 200),
    ("DELETE", "/api/workspace/keys/{key}"): ({}, 404),
}
"""What somebody who may is answered, where ids in the path name nothing: body, status."""

OF_ITSELF_403 = {"password_wrong", "code_wrong"}
"""Refusals of somebody who may, but did not prove it."""


def guarded(house: House) -> list[tuple[str, str, Permission]]:
    """Every route that needs a session, with the permission that it needs."""
    found: list[tuple[str, str, Permission]] = []
    for route in house.console.declared():
        if route.access != "public" and route.access != "signed":
            found.append((route.method, route.path, route.access))
    return found


async def test_every_route_is_declared_and_denied_without_a_session(house: House) -> None:
    declared = house.console.declared()
    api = {r.path for r in declared if not r.path.startswith("/assets/")}
    assert {r.path for r in declared if r.access == "public" and r.path in api} == PUBLIC
    assert {r.path for r in declared if r.access == "signed"} == SIGNED
    assert all(access in get_args(Permission) for _, _, access in guarded(house))
    stranger, seen = house.browser(), set()
    for method, path, _ in [*guarded(house), ("GET", "/api/nothing", "chat")]:
        answer = await stranger.call(method, re.sub(r"\{\w+\}", "x_1", path), {})
        assert answer.status == 401, (method, path)
        seen.add(answer.like)
    assert len(seen) == 1


@pytest.mark.parametrize("role", roles.PERSONAL)
async def test_every_cell_of_the_role_matrix(house: House, role: Role) -> None:
    table = guarded(house)
    assert {(method, path) for method, path, _ in table} == set(PERMITTED), "say in PERMITTED what a new route answers"
    for method, path, permission in table:
        body, status = PERMITTED[method, path]
        browser = await house.person(role)
        answer = await browser.call(method, re.sub(r"\{\w+\}", "x_1", path), body)
        if not roles.permits(role, permission):
            assert (answer.status, answer.code) == (403, "not_permitted"), (role, method, path)
        else:
            assert answer.status == status, (role, method, path, answer.body)
            assert answer.status != 403 or answer.code in OF_ITSELF_403


@pytest.fixture
async def gateway_routes(home: Home, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[tuple[str, str, Scope]]]:
    """The live route table of a running gateway: method, path, scope."""
    seen: list[Routes] = []

    class Seen(Routes):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            seen.append(self)

    monkeypatch.setattr(gateway_app, "Routes", Seen)
    async with gateway_app.gateway(home.settings):
        yield [
            (method, re.sub(r"\{\w*\}", "x", path), route.scope)
            for path, methods in seen[0].table.items()
            for method, route in methods.items()
        ]


async def test_the_gateways_routes_decide_the_same_whatever_carries_the_credential(
    home: Home, gateway_routes: list[tuple[str, str, Scope]]
) -> None:
    assert set(GATEWAY_PUBLIC) == {("GET", "/healthz")}
    revoked, dead = await keys.create_key(home.database, home.key, home.workspace.id, None, "dead")
    await keys.revoke_key(home.database, home.workspace.id, revoked.id)
    _, narrow = await keys.create_key(home.database, home.key, home.workspace.id, None, "narrow", scopes=["admin"])
    client = UnixClient(str(home.settings.layout.gateway_socket))

    async def ask(method: str, path: str, headers: dict[str, str]) -> int:
        async with client.request(method, path, None if method == "GET" else b"{}", headers) as response:
            await response.read()
            return response.status

    for method, path, scope in gateway_routes:
        assert scope in get_args(Scope)
        assert await ask(method, path, {}) == 401
        assert await ask(method, f"{path}?api_key={home.api_key}", {}) == 401
        for secret, allowed in ((home.api_key, None), (dead, 401), (new_secret("fh"), 401), ("", 401), (narrow, 403)):
            carried = ({"authorization": f"Bearer {secret}"}, {"x-api-key": secret}, {"api-key": secret})
            statuses = {await ask(method, path, headers) for headers in carried}
            assert len(statuses) == 1, (method, path)
            status = statuses.pop()
            assert status == allowed or (allowed is None and status not in (401, 403)), (method, path, status)
        both = {"authorization": f"Bearer {home.api_key}", "x-api-key": home.api_key}
        assert await ask(method, path, both) == 400
    client.close()


ORIGINS = (None, "own", "https://evil.example", "null", "http://localhost:8443", "https://localhost")
SITES = (None, "same-origin", "same-site", "cross-site", "none")
TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "")
KEY_CASES = {
    (None, None, "application/json"),
    ("https://evil.example", "cross-site", "application/json"),
    ("own", "same-site", "application/json"),
    ("own", "same-origin", "text/plain"),
}


async def test_no_change_comes_from_another_page(house: House) -> None:
    browser = await house.person("owner")
    changing = [(m, re.sub(r"\{\w+\}", "x_1", p)) for m, p, _ in guarded(house) if m != "GET"]
    changing += [("POST", path) for path in sorted(PUBLIC) if path.startswith("/api/") and path != "/api/site"]
    refused = 0
    for origin, site, kind in itertools.product(ORIGINS, SITES, TYPES):
        proved = origin in (None, "own") and site in (None, "same-origin") and (origin, site) != (None, None)
        if proved and kind == "application/json":
            continue
        everywhere = (origin, site, kind) in KEY_CASES
        for method, path in changing if everywhere else [("POST", "/api/conversations/x_1/messages")]:
            headers = {"content-type": kind} if kind else {}
            if origin is not None:
                headers["origin"] = f"https://{browser.host}" if origin == "own" else origin
            if site is not None:
                headers["sec-fetch-site"] = site
            headers |= {"host": browser.host, "cookie": f"__Host-freehold={browser.session}"}
            response = await house.client.request(method, path, headers=headers, content=b"{}")
            assert response.status_code in (403, 415), (method, path, origin, site, kind)
            assert response.json()["error"]["code"] in ("cross_site", "content_type")
            refused += 1
    assert refused > 250


async def belongings(house: House, owner: User) -> dict[str, str]:
    """One object of each kind that a path can name, of this person or their workspace."""
    workspace_id, home = owner.workspace_id, house.home
    service = await house.account("service", workspace_id=workspace_id)
    key, _ = await keys.create_key(home.database, home.key, workspace_id, owner.id, "x")
    await house.signed_in(owner)
    async with home.database.write() as connection:
        conversation = await conversations.create(connection, Owner(workspace_id, owner.id))
        group = await groups.create(connection, workspace_id, f"team of {owner.id}", "member")
        await groups.add(connection, group.id, owner.id)
        claim = await claims.invite(
            connection,
            workspace_id,
            owner.id.encode().ljust(32)[:32],
            email="x@example.org",
            role="member",
            invited_by=None,
            expires_at=4e9,
        )
        passkey = await factors.add_passkey(
            connection, owner.id, credential=owner.id.encode(), public_key=b"x", sign_count=0, name="x"
        )
        session = (await credentials.listed(connection, workspace_id, "session", user_id=owner.id))[0]
    return {
        "conversation": conversation.id,
        "key": key.id,
        "passkey": passkey.id,
        "session": session.id,
        "person": owner.id,
        "invitation": claim.id,
        "group": group.id,
        "service": service.id,
    }


OWN = {"conversation", "passkey", "session"}
"""Kinds whose objects are one person's: a peer, and an administrator, is answered as a stranger is."""


async def test_what_is_anothers_is_answered_as_what_is_not_there(house: House) -> None:
    other = await house.other_workspace()
    foreign = await belongings(house, await house.account("member", workspace_id=other.id))
    peers = await belongings(house, await house.account("member"))
    own = await belongings(house, await house.account("owner"))
    checked = 0
    for method, path, _ in guarded(house):
        names = re.findall(r"\{(\w+)\}", path)
        if not names:
            continue
        body, _ = PERMITTED[method, path]
        missing = {name: f"{foreign[name].partition('_')[0]}_AAAAAAAAAAAAAAAA" for name in names}
        swaps = [dict(missing, **{names[0]: foreign[names[0]]}), {name: foreign[name] for name in names}]
        if len(names) > 1:  # one's own group, another's person
            swaps.append({names[0]: own[names[0]], names[1]: foreign[names[1]]})
        if names[0] in OWN or path == "/api/keys/{key}":
            swaps.append({names[0]: peers[names[0]]})
        admin = await house.person("owner")
        expected = await admin.call(method, path.format(**missing), body)
        assert expected.status == 404, (method, path)
        for ids in swaps:
            answer = await admin.call(method, path.format(**ids), body)
            absent = expected
            if ids.get("group") == own["group"]:
                absent = await admin.call(method, path.format(**{**ids, "person": missing["person"]}), body)
            assert answer.like == absent.like, (method, path, ids)
            checked += 1
    foreigners = await house.person("owner")
    inside = await foreigners.call("POST", f"/api/groups/{own['group']}/members", {"person": foreign["person"]})
    absent = await foreigners.call("POST", f"/api/groups/{own['group']}/members", {"person": "usr_AAAAAAAAAAAAAAAA"})
    assert (inside.status, inside.like) == (404, absent.like)
    assert checked > 40


async def test_a_session_opens_its_own_workspace_only(house: House) -> None:
    other = await house.other_workspace()
    member = await house.account("owner", workspace_id=other.id)
    there = await house.signed_in(member, host="other.example")
    here = await house.signed_in(member)

    async def opens() -> bool:
        return (await there.get("/api/me")).status == 200

    await eventually(opens)  # the console has heard of the new domain
    assert (await there.get("/api/me")).json()["workspace"]["name"] == "Other"
    assert (await here.get("/api/me")).like == (await house.browser().get("/api/me")).like
