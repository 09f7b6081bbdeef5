"""Access tokens of a provider at the gateway's door: from memory, revoked within a second, floods that cost little."""

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from freehold.gateway import tokens as door
from freehold.gateway.tokens import ProviderBook, TokenDoor
from freehold.identity import providers as identity
from freehold.identity.principal import Principal
from freehold.identity.providers import Metadata, Options
from freehold.protocol.errors import Refused
from freehold.storage import changes, groups, providers, users, workspaces
from freehold.storage.engine import Database
from tests.conftest import Home, until
from tests.gateway.conftest import CHAT, Stage
from tests.identity import forged
from tests.identity.forged import AUDIENCE, ISSUER

METADATA = Metadata(f"{ISSUER}/auth", f"{ISSUER}/token", f"{ISSUER}/jwks", keys=tuple(forged.jwks()))


async def trust(
    database: Database, workspace_id: str, *, audience: str | None = AUDIENCE, name: str = "staff", **more: Any
) -> providers.Provider:
    """Declare the forger's victim."""
    async with database.write() as connection:
        return await providers.create(
            connection,
            workspace_id,
            name=name,
            title=name,
            issuer=ISSUER,
            client_id="freehold",
            audience=audience,
            options=identity.stored(more.get("options", Options())),
            metadata=identity.stored(more.get("metadata", METADATA)),
        )


async def person(home: Home, provider: providers.Provider, subject: str = "ada-1", role: Any = "member") -> users.User:
    """Somebody whom the provider knows."""
    async with home.database.write() as connection:
        made = await users.create(
            connection,
            provider.workspace_id,
            name="Ada",
            email=None if role == "service" else f"{subject}@x.org",
            role=role,
        )
        await providers.link(connection, provider.id, subject, made.id)
        return made


async def ask(stage: Stage, token: str, **headers: str) -> int:
    sent = {"authorization": f"Bearer {token}", "x-freehold-client": "192.0.2.7", **headers}
    async with stage.client.request("GET", "/v1/models", None, sent) as response:
        await response.read()
        return response.status


def answered(stage: Stage, token: str, status: int, **headers: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await ask(stage, token, **headers) == status

    return holds


def good(**claims: Any) -> str:
    return forged.signed(forged.access(time.time(), **claims), {"typ": "at+jwt"})


async def test_a_token_chats_and_is_revoked_with_its_person_within_a_second(stage: Stage) -> None:
    home = stage.home
    provider = await trust(home.database, home.workspace.id)
    ada = await person(home, provider)
    token = good()
    await until(answered(stage, token, 200), 3)
    status, _, body = await stage.post("/v1/chat/completions", CHAT, key=token)
    assert status == 200, body
    async with home.database.write() as connection:
        await users.change(connection, ada.id, disabled_at=time.time())
    assert await until(answered(stage, token, 401), 2) < 1.0
    async with home.database.write() as connection:
        await users.change(connection, ada.id, disabled_at=None)
    assert await until(answered(stage, token, 200), 2) < 1.0
    async with home.database.write() as connection:
        await providers.unlink(connection, provider.id, ada.id)
    assert await until(answered(stage, token, 401), 2) < 1.0


@pytest.mark.slow
async def test_a_provider_that_is_disabled_or_gone_opens_nothing_within_a_second(stage: Stage) -> None:
    home = stage.home
    provider = await trust(home.database, home.workspace.id)
    await person(home, provider)
    token = good()
    await until(answered(stage, token, 200), 3)
    async with home.database.write() as connection:
        await providers.disable(connection, provider.id)
    assert await until(answered(stage, token, 401), 2) < 1.0
    async with home.database.write() as connection:
        await providers.enable(connection, provider.id)
    assert await until(answered(stage, token, 200), 2) < 1.0
    async with home.database.write() as connection:
        await providers.remove(connection, provider.id)
    assert await until(answered(stage, token, 401), 2) < 1.0


@pytest.mark.slow
async def test_whatever_header_carries_a_token_the_answer_is_the_same(stage: Stage) -> None:
    home = stage.home
    await person(home, await trust(home.database, home.workspace.id))
    token = good()
    await until(answered(stage, token, 200), 3)

    async def by(name: str, value: str) -> int:
        async with stage.client.request("GET", "/v1/models", None, {name: value}) as response:
            await response.read()
            return response.status

    for bearer, status in ((token, 200), (good(aud="other"), 401), (token[:-6], 401)):
        assert {await by("x-api-key", bearer), await by("api-key", bearer), await ask(stage, bearer)} == {status}


@pytest.mark.slow
async def test_no_forgery_passes_the_door(stage: Stage) -> None:
    home = stage.home
    await person(home, await trust(home.database, home.workspace.id))
    await until(answered(stage, good(), 200), 3)
    told: dict[int, int] = {}
    for number, (name, text) in enumerate(forged.forgeries(time.time())):
        if text.isascii() and text.isprintable() and text == text.strip() and 0 < len(text) < 60_000:
            status = await ask(stage, text, **{"x-freehold-client": f"198.51.100.{number % 250}"})
            assert status in (401, 429), name
            told[status] = told.get(status, 0) + 1
    assert told[401] > 280


@pytest.mark.slow
async def test_a_token_opens_its_own_workspace_only(stage: Stage) -> None:
    home = stage.home
    async with home.database.write() as connection:
        other = await workspaces.create(connection, "Other", "other.example")
    await person(home, await trust(home.database, home.workspace.id))
    token = good()
    await until(answered(stage, token, 200), 3)
    there = {"x-freehold-host": "other.example"}
    assert await ask(stage, token, **there) == 401
    theirs = await trust(home.database, other.id)  # both trust the same issuer with the same audience
    assert await ask(stage, token, **there) == 401
    await person(home, theirs)
    await until(answered(stage, token, 200, **there), 3)
    assert await ask(stage, token) == 200


@pytest.mark.slow
async def test_a_new_key_is_asked_for_once_and_then_used(stage: Stage) -> None:
    home = stage.home
    old = msgspec.structs.replace(METADATA, keys=tuple(k for k in METADATA.keys if k["kid"] != "ES256"))
    provider = await trust(home.database, home.workspace.id, metadata=old)
    await person(home, provider)
    await until(answered(stage, good(), 200), 3)
    fresh = forged.signed(forged.access(time.time()), alg="ES256")
    nonsense = [forged.signed(forged.access(time.time(), aud="other"), {"kid": f"k{n}"}) for n in range(20)]
    assert {await ask(stage, token) for token in nonsense} == {401}
    assert await _wanted(home) == 0, "what could be valid under no key asks for none"
    for _ in range(20):
        assert await ask(stage, fresh) == 401
        assert await ask(stage, forged.signed(forged.access(time.time()), {"kid": f"k{_}"})) == 401
    assert await _wanted(home) == 1
    async with home.database.write() as connection:
        await providers.learned(connection, provider.id, identity.stored(METADATA), fetched_at=1.0, changed=True)
    assert await until(answered(stage, fresh, 200), 2) < 1.0
    alone = msgspec.structs.replace(METADATA, keys=tuple(k for k in METADATA.keys if k["kid"] == "ES256"))
    async with home.database.write() as connection:
        await providers.learned(connection, provider.id, identity.stored(alone), fetched_at=2.0, changed=True)
    old_token = good()
    assert await until(answered(stage, old_token, 401), 2) < 1.0, "a key that was taken back opens nothing"


async def _wanted(home: Home) -> int:
    async with home.database.read() as connection:
        return sum(change.topic == "keys_wanted" for change in await changes.since(connection, 0))


async def test_a_token_has_the_role_and_groups_of_its_person_as_they_are_here(home: Home) -> None:
    provider = await trust(home.database, home.workspace.id)
    ada = await person(home, provider)
    robot = await person(home, provider, "robot", "service")
    async with home.database.write() as connection:
        team = await groups.create(connection, home.workspace.id, "team", "reviewer")
        await groups.add(connection, team.id, ada.id)
    async with ProviderBook(home.database).running() as book:
        opened = TokenDoor(home.database, book, lambda: 1)
        found = await opened.open(good(roles=["owner"], groups=["owner"]), home.workspace.id, "192.0.2.7")
        assert found is not None
        assert (found.kind, found.role, found.groups, found.user_id) == ("token", "reviewer", (team.id,), ada.id)
        other = await opened.open(good(jti="2"), home.workspace.id, "192.0.2.8")
        assert other is not None
        assert other.credential_id == found.credential_id, "limits count a person's tokens together"
        program = await opened.open(good(sub="robot"), home.workspace.id, "192.0.2.7")
        assert program is not None
        assert (program.role, program.user_id) == ("service", robot.id)
        assert await opened.open(good(sub="nobody"), home.workspace.id, "192.0.2.7") is None


class _Counted(Database):
    """The database, with how often it was read."""

    reads = 0

    def read(self) -> Any:
        self.reads += 1
        return super().read()


async def test_a_known_token_costs_no_sql_and_a_bad_one_no_second_signature(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freehold.identity import tokens

    await person(home, await trust(home.database, home.workspace.id))
    checked: list[str] = []
    true = tokens._signed

    def seen(token: tokens.Token, key: tokens.Key) -> dict[str, Any]:
        checked.append(token.text)
        return true(token, key)

    monkeypatch.setattr(tokens, "_signed", seen)
    database = _Counted(home.settings.database_url)
    async with database, ProviderBook(database).running() as book:
        opened, before = TokenDoor(database, book, lambda: 1), database.reads
        token, bad = good(), good() + "AAAA"
        for _ in range(50):
            assert await opened.open(token, home.workspace.id, "192.0.2.7") is not None
            assert await opened.open(bad, home.workspace.id, "192.0.2.7") is None
        assert (len(checked), database.reads - before) == (2, 1)
        soon = good(exp=time.time() + 0.05 - tokens.LEEWAY)
        assert await opened.open(soon, home.workspace.id, "192.0.2.7") is not None

        async def ended() -> bool:
            return await opened.open(soon, home.workspace.id, "192.0.2.7") is None

        await until(ended, 2)


async def test_a_flood_of_bad_tokens_is_stopped_and_does_not_stop_known_ones(home: Home) -> None:
    await person(home, await trust(home.database, home.workspace.id))
    now = 1000.0
    async with ProviderBook(home.database).running() as book:
        opened = TokenDoor(home.database, book, lambda: 1, clock=lambda: now)
        token = good()
        assert await opened.open(token, home.workspace.id, "192.0.2.7") is not None

        async def tries(count: int, address: Callable[[int], str]) -> int:
            stopped = 0
            for number in range(count):
                try:
                    claims = forged.access(time.time(), jti=secrets.token_hex(8))
                    bad = forged.signed(claims, key=forged.STRANGER)
                    assert await opened.open(bad, home.workspace.id, address(number)) is None
                except Refused as error:
                    assert (error.status, error.code) == (429, "too_many_tries")
                    stopped += 1
            return stopped

        assert await tries(60, lambda _: "203.0.113.9") == 60 - door._BURST
        assert await tries(10, lambda n: f"2001:db8::{n}") == 0
        assert await tries(40, lambda n: f"2001:db8::{n}") == 40 - (door._BURST - 10), "a /64 is one household"
        assert await opened.open(token, home.workspace.id, "203.0.113.9") is not None, "a known token passes"
        assert await opened.open(good(jti="n"), home.workspace.id, "192.0.2.8") is not None, "others are let in"
        with pytest.raises(Refused):
            await opened.open(good(jti="m"), home.workspace.id, "203.0.113.9")
        now += 60
        assert await opened.open(good(jti="o"), home.workspace.id, "203.0.113.9") is not None


async def test_a_change_that_passes_during_the_look_up_leaves_nothing_remembered(home: Home) -> None:
    await person(home, await trust(home.database, home.workspace.id))
    seq = iter(range(100))
    async with ProviderBook(home.database).running() as book:
        opened = TokenDoor(home.database, book, lambda: next(seq))
        assert isinstance(await opened.open(good(), home.workspace.id, "192.0.2.7"), Principal)
        assert opened._known == {}


@pytest.mark.slow
async def test_without_an_audience_no_token_is_looked_at_and_nothing_is_imported(home: Home) -> None:
    code = (
        "import asyncio, sys\n"
        "from freehold.gateway import app\n"
        "from freehold.gateway.tokens import ProviderBook, TokenDoor\n"
        "from freehold.storage.engine import Database\n"
        "async def run():\n"
        f"    database = Database({home.settings.database_url!r})\n"
        "    async with database, ProviderBook(database).running() as book:\n"
        "        door = TokenDoor(database, book, lambda: 1)\n"
        f"        print(await door.open({good()!r}, {home.workspace.id!r}, ''), 'joserfc' in sys.modules,\n"
        "              'cryptography' in sys.modules)\n"
        "asyncio.run(run())\n"
    )
    await trust(home.database, home.workspace.id, audience=None)

    async def output() -> str:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0].decode().strip()

    assert await output() == "None False False"
    ada = await trust(home.database, home.workspace.id, name="api")
    await person(home, ada)
    assert (await output()).endswith("True True")
