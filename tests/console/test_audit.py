"""Every change by the console is one entry before the answer; what is refused is one too; no log, no change."""

import asyncio
import base64
import contextlib
import fcntl
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from freehold.audit.events import Action, By, Entry, Keyed, Outcome, Reason, decode
from freehold.audit.folder import Snapshot, locked
from freehold.audit.log import signer
from freehold.identity import accounts, passwords, totp
from freehold.protocol.ids import new_id
from freehold.storage import audit, credentials, groups, users
from tests.conftest import Home
from tests.console.conftest import BUILT, HOST, PASSWORD, Answer, Browser, House, eventually
from tests.console.provider import provider
from tests.console.test_matrix import belongings
from tests.identity.authenticator import Authenticator

pytestmark = BUILT

UNRECORDED = {
    ("POST", "/api/join/look"),  # shows whom an invitation is for
    ("POST", "/api/sign-in/passkey/options"),  # a challenge
    ("POST", "/api/passkeys/options"),  # a challenge
    ("POST", "/api/factors/totp"),  # a secret that counts for nothing until a code of it was given
    ("PATCH", "/api/passkeys/{passkey}"),  # what its owner calls it
    ("POST", "/api/conversations"),  # one's own, without content
    ("PATCH", "/api/conversations/{conversation}"),  # its title
    ("POST", "/api/conversations/{conversation}/messages"),  # an exchange: the gateway's to tell
}
"""Changing routes that leave no entry: the reviewed list."""

OPENED = ("session:open",)
LONG = "a new and long password"


@pytest.fixture(scope="session")
def password_hash() -> str:
    return passwords._hasher.hash(PASSWORD)


@dataclass
class Book:
    """The log's entries, read from its files as an auditor does."""

    home: Home
    begin: int = 0

    def __post_init__(self) -> None:
        self.verifier = signer(self.home.settings.layout).verifier
        self.keyed = Keyed(self.home.settings.layout.secret("audit-hash"))

    def new(self) -> list[Entry]:
        """The entries since the last look."""
        snapshot = Snapshot(self.home.settings.layout.audit, self.verifier)
        found = [decode(entry) for _, entry in snapshot.entries(self.begin)]
        self.begin = snapshot.size
        return found


@dataclass
class Cast:
    """An owner who is signed in, somebody else, and what is theirs."""

    house: House
    owner: users.User
    browser: Browser
    own: dict[str, str]
    bo: users.User
    bos: dict[str, str]

    async def session(self) -> str:
        """The id of the owner's session here."""
        async with self.house.home.database.read() as connection:
            listed = await credentials.listed(connection, self.owner.workspace_id, "session", user_id=self.owner.id)
        return listed[0].id


async def cast(house: House, password_hash: str, email: str = "") -> Cast:
    owner = await house.account("owner", password_hash=password_hash, email=email)
    own = await belongings(house, owner)
    bo = await house.account("member")
    browser = await house.signed_in(owner)
    return Cast(house, owner, browser, own, bo, await belongings(house, bo))


@pytest.fixture
async def scene(house: House, password_hash: str) -> Cast:
    return await cast(house, password_hash, "ada@example.org")


# --- the event matrix: changes by who is signed in


@dataclass(frozen=True)
class Case:
    """A change: what is sent, about whose things, what it is to the audit, and what the entry is about."""

    body: Any
    actions: tuple[str, ...]
    subject: str = ""  # a kind of belonging, or "actor", or "" for what is new
    whose: str = "bo"
    before: Callable[[Cast], Awaitable[Any]] | None = None


async def an_app(scene: Cast) -> None:
    """Set an authenticator app up."""
    secret = base64.b32decode((await scene.browser.post("/api/factors/totp")).json()["secret"])
    code = totp.code(secret, int(time.time() // totp.STEP_SECONDS))
    assert (await scene.browser.post("/api/factors/totp/confirm", {"code": code})).status == 200


async def a_secret(scene: Cast) -> dict[str, str]:
    secret = base64.b32decode((await scene.browser.post("/api/factors/totp")).json()["secret"])
    return {"code": totp.code(secret, int(time.time() // totp.STEP_SECONDS))}


async def a_made_passkey(scene: Cast) -> dict[str, Any]:
    options = (await scene.browser.post("/api/passkeys/options")).json()["options"]
    device = Authenticator()
    return {"name": "laptop", "credential": device.make(options)}


async def out_of_the_group(scene: Cast) -> dict[str, str]:
    async with scene.house.home.database.write() as connection:
        await groups.take_out(connection, scene.bos["group"], scene.bo.id)
    return {"person": scene.bo.id}


MATRIX: dict[tuple[str, str], Case] = {
    ("POST", "/api/sign-out"): Case({}, ("session:end",), "here"),
    ("POST", "/api/account/confirm"): Case({"password": PASSWORD}, OPENED),
    ("POST", "/api/account/password"): Case(
        {"current": PASSWORD, "password": LONG}, ("factor:password", *OPENED), "actor"
    ),
    ("DELETE", "/api/sessions"): Case({}, ("session:end",), "actor"),
    ("DELETE", "/api/sessions/{session}"): Case({}, ("session:end",), "session", "own"),
    ("POST", "/api/factors/totp/confirm"): Case(None, ("factor:add", *OPENED), "actor", before=a_secret),
    ("DELETE", "/api/factors/totp"): Case({}, ("factor:remove", *OPENED), "actor", before=an_app),
    ("POST", "/api/factors/recovery"): Case({}, ("factor:add",), "actor", before=an_app),
    ("POST", "/api/passkeys"): Case(None, ("factor:add", *OPENED), "actor", before=a_made_passkey),
    ("DELETE", "/api/passkeys/{passkey}"): Case({}, ("factor:remove", *OPENED), "actor", "own"),
    ("DELETE", "/api/conversations/{conversation}"): Case({}, ("conversation:remove",), "conversation", "own"),
    ("POST", "/api/keys"): Case({"name": "x"}, ("key:create",)),
    ("DELETE", "/api/keys/{key}"): Case({}, ("key:revoke",), "key", "own"),
    ("PATCH", "/api/people/{person}"): Case({"role": "reviewer"}, ("person:role",), "person"),
    ("DELETE", "/api/people/{person}"): Case({}, ("person:remove",), "person"),
    ("DELETE", "/api/people/{person}/sessions"): Case({}, ("session:end",), "person"),
    ("DELETE", "/api/people/{person}/factors"): Case({}, ("factor:remove",), "person"),
    ("POST", "/api/invitations"): Case({"email": "new@example.org", "role": "member"}, ("person:invite",)),
    ("DELETE", "/api/invitations/{invitation}"): Case({}, ("invitation:revoke",), "invitation"),
    ("POST", "/api/groups"): Case({"name": "team", "role": None}, ("group:create",)),
    ("PATCH", "/api/groups/{group}"): Case({"name": "x", "role": "admin"}, ("group:change",), "group"),
    ("DELETE", "/api/groups/{group}"): Case({}, ("group:remove",), "group"),
    ("POST", "/api/groups/{group}/members"): Case(None, ("group:join",), "person", before=out_of_the_group),
    ("DELETE", "/api/groups/{group}/members/{person}"): Case({}, ("group:leave",), "person"),
    ("POST", "/api/services"): Case({"name": "x"}, ("service:create",)),
    ("DELETE", "/api/services/{service}"): Case({}, ("service:remove",), "service"),
    ("POST", "/api/services/{service}/keys"): Case({"name": "x"}, ("key:create",)),
    ("DELETE", "/api/workspace/keys/{key}"): Case({}, ("key:revoke",), "key"),
}

WITHOUT_A_SESSION = {
    ("POST", "/api/claim"), ("POST", "/api/join"), ("POST", "/api/sign-in"), ("POST", "/api/sign-in/code"),
    ("POST", "/api/sign-in/passkey"), ("GET", "/sign-in/back/{provider}"), ("POST", "/sign-out/from/{provider}"),
    *((method, "/scim/{path:path}") for method in ("POST", "PUT", "PATCH", "DELETE")),
}  # fmt: skip
"""Those are driven by tests of their own, below and in `test_audit_providers`."""


async def test_every_changing_route_says_what_it_is_to_the_audit(house: House) -> None:
    changing = {(route.method, route.path): route.action for route in house.console.declared() if route.method != "GET"}
    silent = {route for route, action in changing.items() if action is None}
    assert silent == UNRECORDED, "give the route an action, or say here why it needs none"
    telling = {(route.method, route.path) for route in house.console.declared() if route.action is not None}
    assert telling == set(MATRIX) | WITHOUT_A_SESSION, "drive the route in MATRIX"


async def test_a_change_is_one_entry_of_who_did_it_to_what(house: House, password_hash: str) -> None:
    book = Book(house.home)
    declared: dict[tuple[str, str], Action | None] = {(r.method, r.path): r.action for r in house.console.declared()}
    for (method, path), case in MATRIX.items():
        scene = await cast(house, password_hash)
        body = await case.before(scene) if case.before is not None else None
        session = await scene.session()
        book.new()
        things = scene.own if case.whose == "own" else scene.bos
        target = re.sub(r"\{(\w+)\}", lambda found, of=things: of[found[1]], path)  # type: ignore[misc]
        answer = await scene.browser.call(method, target, case.body if case.body is not None else body)
        assert answer.status in (200, 201), (method, path, answer.body)
        entries = book.new()  # the answer is here, so they are
        assert tuple(str(entry.action) for entry in entries) == case.actions, (method, path)
        action = declared[method, path]
        assert action is not None
        assert action.partition(":")[0] == case.actions[0].partition(":")[0], (method, path)
        for entry in entries:
            assert (entry.actor, entry.workspace, entry.by) == (scene.owner.id, scene.owner.workspace_id, By.PAGE)
            assert (entry.outcome, entry.address) == (Outcome.DONE, book.keyed.hash("address", scene.browser.address))
            assert entry.credential == session, (method, path)
        named = {"actor": scene.owner.id, "here": session, **things}
        wanted = named[case.subject] if case.subject else entries[0].subject
        assert entries[0].subject == wanted is not None, (method, path)
        assert PASSWORD not in str(entries)
        assert "@" not in str(entries)


@pytest.mark.parametrize(
    ("body", "actions"),
    [
        ({"name": "Bo"}, ["person:change"]),
        ({"disabled": True}, ["person:disable"]),
        ({"disabled": True, "role": "admin"}, ["person:role", "person:disable"]),
        ({"role": "member"}, []),  # as it was
    ],
)
async def test_each_thing_that_a_change_does_is_told(
    house: House, scene: Cast, body: dict[str, Any], actions: list[str]
) -> None:
    book = Book(house.home)
    book.new()
    assert (await scene.browser.call("PATCH", f"/api/people/{scene.bo.id}", body)).status == 200
    assert [str(entry.action) for entry in book.new()] == actions
    if "disabled" in body:
        await scene.browser.call("PATCH", f"/api/people/{scene.bo.id}", {"disabled": False})
        assert [str(entry.action) for entry in book.new()] == ["person:enable"]


async def test_what_did_not_happen_is_not_told(house: House, scene: Cast) -> None:
    book = Book(house.home)
    book.new()
    for method, path in MATRIX:
        body = {"name": "", "role": "x", "email": "no", "person": new_id("usr"), "code": "", "password": "", "days": -1}
        target = re.sub(r"\{\w+\}", new_id("usr"), path)
        if path not in ("/api/sessions", "/api/sign-out"):
            answer = await scene.browser.call(method, target, body)
            assert answer.status in (400, 403, 404, 409), (method, path, answer.body)
    assert {str(e.action) for e in book.new()} <= {"factor:refused"}


# --- the ways in


async def test_the_claim_and_an_invitation(house: House) -> None:
    home, book = house.home, Book(house.home)
    claim = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    book.new()
    owner, body = house.browser(), {"token": claim, "name": "Ada", "email": "ada@example.org", "password": PASSWORD}
    assert (await owner.post("/api/claim", body)).status == 200
    used, opened = book.new()
    assert (used.action, opened.action) == (Action.CLAIM_USE, Action.SESSION_OPEN)
    assert used.subject == used.actor == opened.actor
    assert used.email == book.keyed.hash("email", "ada@example.org")
    assert used.role is not None
    assert (used.role.value, used.by) == ("owner", By.PAGE)
    assert (await owner.post("/api/claim", body)).status == 403
    (refused,) = book.new()
    assert (refused.action, refused.outcome) == (Action.SESSION_REFUSED, Outcome.REFUSED)
    token = (await owner.post("/api/invitations", {"email": "bo@example.org"})).json()["path"].partition("=")[2]
    (invited,) = book.new()
    assert (await house.browser().post("/api/join", {"token": token, "name": "Bo", "password": PASSWORD})).status == 200
    joined, opened = book.new()
    assert (joined.action, opened.action) == (Action.PERSON_JOIN, Action.SESSION_OPEN)
    assert (joined.other, joined.email) == (invited.subject, invited.email)


async def test_signing_in_by_password_code_and_recovery_code(house: House, scene: Cast) -> None:
    book, browser = Book(house.home), house.browser()
    book.new()
    assert (await browser.post("/api/sign-in", {"email": "ada@example.org", "password": PASSWORD})).status == 200
    (opened,) = book.new()
    assert (opened.action, opened.actor, opened.method) == (Action.SESSION_OPEN, scene.owner.id, "password")
    for email in ("ADA@example.org ", "nobody@example.org"):
        assert (await browser.post("/api/sign-in", {"email": email, "password": "wrong"})).status == 401
        (refused,) = book.new()
        assert (refused.action, refused.reason) == (Action.SESSION_REFUSED, Reason.CREDENTIAL)
        assert (refused.email, refused.actor) == (book.keyed.hash("email", email), None)
    secret = base64.b32decode((await scene.browser.post("/api/factors/totp")).json()["secret"])
    code = totp.code(secret, int(time.time() // totp.STEP_SECONDS))
    codes = (await scene.browser.post("/api/factors/totp/confirm", {"code": code})).json()["recovery_codes"]
    book.new()
    body = {"email": "ada@example.org", "password": PASSWORD}
    assert (await browser.post("/api/sign-in", body)).json() == {"step": "code"}
    assert book.new() == []
    assert (await browser.post("/api/sign-in/code", {"code": "000000"})).status == 401
    (refused,) = book.new()
    assert (refused.subject, refused.reason, refused.method) == (scene.owner.id, Reason.FACTOR, "totp")
    assert (await browser.post("/api/sign-in/code", {"code": codes[0]})).status == 200
    assert [(str(e.action), e.actor, e.method) for e in book.new()] == [
        ("factor:recovery", scene.owner.id, "recovery"),
        ("session:open", scene.owner.id, "recovery"),
    ]


async def test_signing_in_by_a_passkey(house: House, scene: Cast) -> None:
    device = Authenticator()
    options = (await scene.browser.post("/api/passkeys/options")).json()["options"]
    await scene.browser.post("/api/passkeys", {"name": "x", "credential": device.make(options)})
    book, browser = Book(house.home), house.browser()
    book.new()
    options = (await browser.post("/api/sign-in/passkey/options")).json()["options"]
    signed = device.sign(options)
    assert (await browser.post("/api/sign-in/passkey", {"credential": signed})).status == 200
    (opened,) = book.new()
    assert (opened.action, opened.actor, opened.method) == (Action.SESSION_OPEN, scene.owner.id, "passkey")
    assert (await browser.post("/api/sign-in/passkey", {"credential": signed})).status == 401
    (refused,) = book.new()
    assert (refused.action, refused.method) == (Action.SESSION_REFUSED, "passkey")


# --- refusals


async def test_what_one_may_not_do_is_one_entry(house: House) -> None:
    member = await house.account("member")
    browser, book = await house.signed_in(member), Book(house.home)
    book.new()
    guarded = [r for r in house.console.declared() if r.access in ("people:read", "people:write", "keys:all")]
    for route in guarded:
        answer = await browser.call(route.method, re.sub(r"\{\w+\}", "x_1", route.path), {})
        assert answer.status == 403
    entries = book.new()
    assert len(entries) == len(guarded) > 15
    for entry in entries:
        assert (entry.action, entry.actor) == (Action.ACCESS_REFUSED, member.id)
        assert (entry.reason, entry.outcome) == (Reason.PERMISSION, Outcome.REFUSED)
    assert (await browser.call("POST", "/api/conversations", {}, origin="https://evil.example")).status == 403
    assert [entry.reason for entry in book.new()] == [Reason.SOURCE]
    admin = await house.person("admin")
    assert (await admin.post("/api/invitations", {"email": "x@example.org", "role": "owner"})).code == "role_above"
    assert [str(entry.action) for entry in book.new()] == ["access:refused"]


async def test_a_wrong_proof_of_who_is_signed_in(house: House, scene: Cast) -> None:
    book = Book(house.home)
    book.new()
    assert (await scene.browser.post("/api/account/confirm", {"password": "wrong"})).status == 403
    (refused,) = book.new()
    assert (refused.action, refused.reason) == (Action.FACTOR_REFUSED, Reason.PASSWORD)
    assert refused.actor == refused.subject == scene.owner.id


@pytest.mark.slow
async def test_a_flood_is_told_but_not_to_the_end(house: House) -> None:
    book, browser = Book(house.home), house.browser()
    book.new()
    body, answers = {"email": "ada@example.org", "password": "x"}, []
    for _ in range(40):
        answers.append((await browser.post("/api/sign-in", body)).status)
        await browser.call("POST", "/api/sign-in", body, origin="https://evil.example")
        await house.client.get("/scim/v2/Users", headers={"authorization": "Bearer fhp_x", "x-freehold-host": HOST})
    entries = book.new()
    refused = [e for e in entries if e.reason is Reason.CREDENTIAL and e.action is Action.SESSION_REFUSED]
    assert answers.count(401) == len(refused) == 10
    assert answers.count(429) == 30
    rest = [e for e in entries if e not in refused]
    assert 2 <= len(rest) <= 22  # ten from the address, ten from none
    assert {e.reason for e in rest} >= {Reason.SOURCE, Reason.CREDENTIAL}


# --- provisioning


async def test_what_a_provisioning_client_does(house: House) -> None:
    await house.account("owner")
    idp, book = await provider(house), Book(house.home)
    async with house.home.database.read() as connection:
        (token,) = await credentials.listed(connection, house.home.workspace.id, "scim")
    book.new()
    bo = await idp.person("bo@example.org")
    team = await idp.group("Team", bo)
    await idp.patch(f"/Users/{bo}", {"op": "replace", "path": "displayName", "value": "Bo"})
    await idp.patch(f"/Users/{bo}", {"op": "replace", "path": "active", "value": False})
    await idp.patch(f"/Users/{bo}", {"op": "replace", "path": "active", "value": True})
    await idp.patch(f"/Groups/{team}", {"op": "remove", "path": "members"})
    await idp.call("DELETE", f"/Groups/{team}")
    await idp.call("DELETE", f"/Users/{bo}")
    await idp.get("/Users")
    assert (await idp.call("DELETE", f"/Users/{bo}")).status == 404
    idp.token = "fhp_wrong"
    assert (await idp.get("/Users")).status == 401
    *entries, refused = book.new()
    assert [(str(e.action), e.subject) for e in entries] == [
        ("person:join", bo),
        ("group:create", team),
        ("scim:change", bo),
        ("person:disable", bo),
        ("person:enable", bo),
        ("scim:change", team),
        ("group:remove", team),
        ("person:remove", bo),
    ]
    assert {(e.by, e.credential, e.actor) for e in entries} == {(By.SCIM, token.id, None)}
    assert (refused.action, refused.by) == (Action.CREDENTIAL_REFUSED, By.SCIM)


# --- when nothing can be recorded


@contextlib.asynccontextmanager
async def unwritable(house: House) -> AsyncIterator[None]:
    """Somebody keeps the log's lock: as when the disk hangs."""
    with locked(house.home.settings.layout.audit, fcntl.LOCK_EX, 5.0) as held:
        assert held
        yield


async def test_without_the_log_nothing_is_changed_and_afterwards_all_is_well(house: House, scene: Cast) -> None:
    book, database = Book(house.home), house.home.database
    book.new()
    doings: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("POST", "/api/keys", {"name": "unwanted"}),
        ("DELETE", f"/api/people/{scene.bo.id}", {}),
        ("PATCH", f"/api/people/{scene.bo.id}", {"role": "owner"}),
        ("POST", "/api/sign-in", {"email": "ada@example.org", "password": PASSWORD}),
        ("POST", "/api/sign-in", {"email": "ada@example.org", "password": "wrong"}),
    )
    guest = house.browser()
    async with unwritable(house):
        for method, path, body in doings:
            began = time.monotonic()
            answer = await (guest if "sign-in" in path else scene.browser).call(method, path, body)
            assert (answer.status, answer.code) == (503, "audit_unavailable"), (path, answer.body)
            assert time.monotonic() - began < 1.0 + (0.5 if "sign-in" in path else 0.0)  # with the password's hash
        assert (await scene.browser.get("/api/people")).status == 200  # what is not audited goes on
        began = time.monotonic()
        many = await asyncio.gather(*(scene.browser.post("/api/keys", {"name": "unwanted"}) for _ in range(12)))
        assert {answer.code for answer in many} == {"audit_unavailable"}
        assert time.monotonic() - began < 1.5  # they wait for the first, not for each other
    assert not guest.session
    async with database.read() as connection:
        listed = await credentials.listed(connection, house.home.workspace.id, "key")
        bo = await users.get(connection, scene.bo.id)
    assert "unwanted" not in {key.name for key in listed}
    assert bo is not None
    assert bo.role == "member"
    answers: list[Answer] = []

    async def works() -> bool:
        answers.append(await scene.browser.post("/api/keys", {"name": "wanted"}))
        return answers[-1].status == 201

    await eventually(works)
    made = answers[-1].json()["key"]["id"]

    async def told() -> bool:
        entries.extend(book.new())
        return {e.outcome for e in entries} == {Outcome.DONE, Outcome.FAILED}

    entries: list[Entry] = []
    await eventually(told)
    done = [e for e in entries if e.outcome is Outcome.DONE]
    assert [(e.action, e.subject) for e in done] == [(Action.KEY_CREATE, made)]
    failed = {str(e.action) for e in entries if e.outcome is Outcome.FAILED}
    assert failed <= {"key:create", "person:remove", "person:role", "session:open"}
    assert "key:create" in failed


async def test_a_change_that_fails_after_it_was_recorded_is_told_as_failed(house: House, scene: Cast) -> None:
    book = Book(house.home)
    book.new()
    async with house.home.database.write() as connection:  # whose commit fails, not its statement
        await connection.exec_driver_sql(
            "CREATE TABLE later (id TEXT REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        await connection.exec_driver_sql(
            "CREATE TRIGGER fails AFTER INSERT ON groups BEGIN INSERT INTO later VALUES ('usr_nobody'); END"
        )
    assert (await scene.browser.post("/api/groups", {"name": "x", "role": None})).status == 500
    entries: list[Entry] = []

    async def both() -> bool:
        entries.extend(book.new())
        return len(entries) == 2

    await eventually(both)
    assert [(str(e.action), e.outcome) for e in entries] == [("group:create", "done"), ("group:create", "failed")]
    assert entries[0].subject == entries[1].subject


# --- the index


@pytest.mark.slow  # a checkpoint is published every five seconds
async def test_the_console_fills_the_index(house: House, scene: Cast) -> None:
    key = (await scene.browser.post("/api/keys", {"name": "x"})).json()["key"]["id"]

    async def found() -> bool:
        async with house.home.database.read() as connection:
            rows = await audit.search(connection, audit.Wanted(subject=key), 5)
        return [row.action for row in rows] == ["key:create"]

    await eventually(found)
