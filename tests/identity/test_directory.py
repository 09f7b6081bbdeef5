"""Who is let in: only holders of a valid secret, and nobody on a memory that may be out of date."""

import asyncio
import time

import pytest

from freehold.identity import keys
from freehold.identity.directory import Directory, secret_digest
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.ids import new_secret
from tests.conftest import Home, until


async def refused(directory: Directory, secret: str) -> bool:
    try:
        await directory.authenticate(secret)
    except Refused as error:
        assert error.status == 401
        return True
    return False


async def test_a_key_makes_a_principal_of_its_workspace(home: Home) -> None:
    async with Directory(home.database, home.key).running() as directory:
        principal = await directory.authenticate(home.api_key)
        assert (principal.workspace_id, principal.kind, principal.role) == (home.workspace.id, "key", "service")


@pytest.mark.parametrize("secret", ["", "x", "fh_", new_secret("fh"), new_secret("fhs"), new_secret("fhc"), "é" * 50])
async def test_everything_else_is_refused_alike(home: Home, secret: str) -> None:
    async with Directory(home.database, home.key).running() as directory:
        with pytest.raises(Refused) as caught:
            await directory.authenticate(secret)
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
        assert secret == "" or secret not in caught.value.message.replace("fh_…", "")


async def test_no_part_of_a_key_is_a_key(home: Home) -> None:
    async with Directory(home.database, home.key).running() as directory:
        await directory.authenticate(home.api_key)
        for cut in range(len(home.api_key)):
            assert await refused(directory, home.api_key[:cut])
            assert cut == 0 or await refused(directory, home.api_key[cut:])


async def test_a_revoked_key_is_refused_within_a_second(home: Home) -> None:
    async with Directory(home.database, home.key).running() as directory:
        principal = await directory.authenticate(home.api_key)
        await keys.revoke_key(home.database, home.workspace.id, principal.credential_id)
        assert await until(lambda: refused(directory, home.api_key), 2) < 1.0


async def test_an_expired_key_is_refused(home: Home) -> None:
    soon = time.time() + 0.2
    _, secret = await keys.create_key(home.database, home.key, home.workspace.id, None, "soon", expires_at=soon)
    async with Directory(home.database, home.key).running() as directory:
        await directory.authenticate(secret)
        await until(lambda: refused(directory, secret), 2)


async def test_another_installations_key_does_not_fit(home: Home) -> None:
    async with Directory(home.database, b"k" * 32).running() as directory:
        assert await refused(directory, home.api_key)


async def test_the_database_holds_no_usable_key(home: Home) -> None:
    dump = b"".join(path.read_bytes() for path in home.settings.state.glob("freehold.db*"))
    assert home.api_key.encode() not in dump
    assert home.api_key[10:].encode() not in dump
    assert secret_digest(home.key, home.api_key) in dump  # the search would have found it


async def test_when_the_feed_cannot_be_read_the_answer_is_503_not_yes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.identity.directory.STALE_AFTER", 0.3)
    async with Directory(home.database, home.key).running() as directory:
        await directory.authenticate(home.api_key)
        path = home.settings.state / "freehold.db"
        async with home.database.write() as connection:
            await connection.exec_driver_sql("ALTER TABLE changes RENAME TO hidden")

        async def unavailable() -> bool:
            try:
                await directory.authenticate(home.api_key)
            except Unavailable as error:
                return error.status == 503
            return False

        await until(unavailable, 3)
        async with home.database.write() as connection:
            await connection.exec_driver_sql("ALTER TABLE hidden RENAME TO changes")

        async def back() -> bool:
            return not await unavailable()

        await until(back, 3)
        assert path.exists()


async def test_last_use_is_written_down(home: Home) -> None:
    async with Directory(home.database, home.key).running() as directory:
        await asyncio.gather(*(directory.authenticate(home.api_key) for _ in range(5)))
    listed = await keys.list_keys(home.database, home.workspace.id)
    assert listed[0].last_used_at is not None
