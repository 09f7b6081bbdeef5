"""The search index: filled from the files, behind or rebuilt at will, and closed to whoever would change it."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from freehold.audit import index
from freehold.audit.events import Action, Event, Outcome, encode
from freehold.audit.folder import Snapshot
from freehold.audit.writer import Writer
from freehold.protocol.errors import Unavailable
from freehold.storage import audit
from freehold.storage.audit import Wanted
from freehold.storage.engine import Database
from tests.audit.making import ACTORS, KEY, WORKSPACE, append, event, make
from tests.conftest import Home


async def look(database: Database, wanted: Wanted, limit: int = 100) -> list[int]:
    async with database.read() as connection:
        return [row.sequence for row in await audit.search(connection, wanted, limit)]


async def test_it_finds_what_is_asked_for(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    writer = Writer(folder, KEY)
    append(writer, [event(n, n % 3) for n in range(30)])
    refused = Event(action=Action.KEY_REVOKE, actor=ACTORS[1], subject=ACTORS[2], outcome=Outcome.REFUSED)
    writer.commit([encode(refused), encode(Event(action=Action.KEY_CREATE, actor=ACTORS[5]))])
    writer.close()
    snapshot = Snapshot(folder, KEY.verifier)
    assert await index.catch_up(home.database, snapshot) == 32
    assert await index.catch_up(home.database, snapshot) == 0
    database = home.database
    assert await look(database, Wanted(action="key")) == [31, 30]
    assert await look(database, Wanted(action="key:revoke")) == [30]
    assert await look(database, Wanted(action="ke")) == []
    assert await look(database, Wanted(action="%")) == []
    assert await look(database, Wanted(subject=ACTORS[2])) == [30]
    assert await look(database, Wanted(outcome="refused")) == [30]
    assert await look(database, Wanted(workspace_id=WORKSPACE, actor=ACTORS[0]), 3) == [27, 24, 21]
    assert await look(database, Wanted(workspace_id=WORKSPACE, actor=ACTORS[0], before=21), 2) == [18, 15]
    assert await look(database, Wanted(until=1.0)) == []
    assert len(await look(database, Wanted(since=1.0))) == 32


async def test_it_is_behind_and_catches_up_and_is_rebuilt(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    make(folder, 2500)
    assert await index.catch_up(home.database, Snapshot(folder, KEY.verifier)) == 2500
    make(folder, 100, first=2500)
    snapshot = Snapshot(folder, KEY.verifier)
    counts = await asyncio.gather(*(index.catch_up(home.database, snapshot) for _ in range(2)))
    assert sum(counts) == 100
    assert await index.rebuild(home.database, snapshot) == 2600
    assert len(await look(home.database, Wanted(), 9999)) == 2600


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'usr_somebody_else'",
        "UPDATE audit_entries SET sequence = sequence + 1000",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_entries WHERE sequence = 3",
        "REPLACE INTO audit_entries (sequence, at, action, entry) VALUES (3, 0, 'x', '{}')",
        "INSERT OR REPLACE INTO audit_entries (sequence, at, action, entry) VALUES (3, 0, 'x', '{}')",
    ],
)
async def test_the_database_refuses_to_change_rows(statement: str, home: Home, tmp_path: Path) -> None:
    make(tmp_path / "audit", 10)
    await index.catch_up(home.database, Snapshot(tmp_path / "audit", KEY.verifier))
    async with home.database.read() as connection:
        before = (await connection.execute(text("SELECT * FROM audit_entries ORDER BY sequence"))).all()
    with pytest.raises((DBAPIError, IntegrityError, Unavailable)):
        async with home.database.write() as connection:
            await connection.execute(text(statement))
    async with home.database.read() as connection:
        assert (await connection.execute(text("SELECT * FROM audit_entries ORDER BY sequence"))).all() == before


async def test_pruned_entries_leave_the_index_and_the_guard_is_back_after(home: Home, tmp_path: Path) -> None:
    make(tmp_path / "audit", 10)
    await index.catch_up(home.database, Snapshot(tmp_path / "audit", KEY.verifier))
    async with home.database.write() as connection:
        await audit.forget(connection, 4)
    assert await look(home.database, Wanted()) == [9, 8, 7, 6, 5, 4]
    with pytest.raises((DBAPIError, Unavailable)):
        async with home.database.write() as connection:
            await connection.execute(text("DELETE FROM audit_entries"))
