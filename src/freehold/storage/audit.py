"""The search index of the audit log: a table that is filled from its files, and may be thrown away and filled again.

The files are the log; this is for looking things up. Rows are only added: the database itself refuses to change or
remove one (a trigger), and `forget`, by which pruned entries leave and the index is rebuilt, lifts it in its own
transaction.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.storage.tables import audit_entries

_GUARDS = {
    "sqlite": (
        """CREATE TRIGGER audit_entries_kept_update BEFORE UPDATE ON audit_entries
        BEGIN SELECT RAISE(ABORT, 'the audit index is append-only'); END""",
        """CREATE TRIGGER audit_entries_kept_delete BEFORE DELETE ON audit_entries
        BEGIN SELECT RAISE(ABORT, 'the audit index is append-only'); END""",
        """CREATE TRIGGER audit_entries_kept_replace BEFORE INSERT ON audit_entries
        WHEN EXISTS (SELECT 1 FROM audit_entries WHERE sequence = NEW.sequence)
        BEGIN SELECT RAISE(ABORT, 'the audit index is append-only'); END""",
    ),
    "postgresql": (
        """CREATE OR REPLACE FUNCTION audit_entries_kept() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit index is append-only'; END $$""",
        """CREATE TRIGGER audit_entries_kept BEFORE UPDATE OR DELETE ON audit_entries
        FOR EACH ROW EXECUTE FUNCTION audit_entries_kept()""",
    ),
}
_LIFTED = {
    "sqlite": (
        "DROP TRIGGER IF EXISTS audit_entries_kept_update",
        "DROP TRIGGER IF EXISTS audit_entries_kept_delete",
        "DROP TRIGGER IF EXISTS audit_entries_kept_replace",
    ),
    "postgresql": ("DROP TRIGGER IF EXISTS audit_entries_kept ON audit_entries",),
}


class Row(msgspec.Struct, frozen=True):
    """An entry as it is looked for. `at`: seconds; `entry`: the whole of it as JSON."""

    sequence: int
    at: float
    action: str
    workspace_id: str | None
    actor: str | None
    subject: str | None
    outcome: str | None
    entry: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; None: anything. `action` may be a subject alone (`key`), for all of its actions."""

    action: str | None = None
    actor: str | None = None
    subject: str | None = None
    workspace_id: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None


_columns = tuple(audit_entries.c[name] for name in Row.__struct_fields__)


async def reached(connection: AsyncConnection) -> int:
    """The sequence that comes next."""
    return (
        int((await connection.execute(select(func.coalesce(func.max(audit_entries.c.sequence), -1)))).scalar_one()) + 1
    )


async def add(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Add entries. Raises IntegrityError when one is there already."""
    if rows:
        await connection.execute(insert(audit_entries), [msgspec.structs.asdict(row) for row in rows])


async def search(connection: AsyncConnection, wanted: Wanted, limit: int = 100) -> list[Row]:
    """Entries that fit, the newest first. `wanted.before` goes on from a sequence."""
    conditions: list[Any] = []
    for name in ("actor", "subject", "workspace_id", "outcome"):
        if (value := getattr(wanted, name)) is not None:
            conditions.append(audit_entries.c[name] == value)
    if wanted.action is not None:
        one, whole = audit_entries.c.action, ":" in wanted.action
        conditions.append(one == wanted.action if whole else one.startswith(f"{wanted.action}:", autoescape=True))
    if wanted.since is not None:
        conditions.append(audit_entries.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(audit_entries.c.at < wanted.until)
    if wanted.before is not None:
        conditions.append(audit_entries.c.sequence < wanted.before)
    query = select(*_columns).where(*conditions).order_by(audit_entries.c.sequence.desc()).limit(limit)
    return [Row(*row) for row in await connection.execute(query)]


async def forget(connection: AsyncConnection, end: int | None = None) -> None:
    """Drop the rows before `end` (None: all of them)."""
    for statement in _LIFTED[connection.dialect.name]:
        await connection.execute(text(statement))
    await connection.execute(
        delete(audit_entries) if end is None else delete(audit_entries).where(audit_entries.c.sequence < end)
    )
    for statement in guards(connection.dialect.name):
        await connection.execute(text(statement))


def guards(dialect: str) -> tuple[str, ...]:
    """The statements that make the database refuse changes of rows. The migration runs them."""
    return _GUARDS[dialect]
