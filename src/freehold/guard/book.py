"""A workspace's guard out of the database: its policy, its registered values and those of the others.

Whoever serves exchanges calls `guard_of` when the change feed says `guard`, and keeps what it gives. Values of other
workspaces are looked for under their own keys; a value that is registered in both is the workspace's own.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.guard.exact import Book, Shelf
from freehold.guard.fingerprint import Known, workspace_key
from freehold.guard.passage import Guard
from freehold.guard.policy import Policy, read_policy
from freehold.storage import guard as stored

SECRET = "guard"  # noqa: S105 - the name of the key file
"""The installation's secret of which the keys of registered values are made: `layout.secret(SECRET)`."""


async def policy_of(connection: AsyncConnection, workspace_id: str) -> Policy:
    """The policy that is in force."""
    text = await stored.policy(connection, workspace_id)
    return Policy() if text is None else read_policy(text)


async def guard_of(connection: AsyncConnection, workspace_id: str, secret: bytes) -> Guard:
    """A workspace's guard, as the database has it now."""
    shelves: dict[str, list[Known]] = {}
    for value in await stored.values(connection):
        known = Known(value.kind, value.label, value.length, value.fingerprint, value.head, value.tail)
        shelves.setdefault(value.workspace_id, []).append(known)
    book = Book(
        [
            Shelf(workspace_key(secret, owner), found, foreign=owner != workspace_id)
            for owner, found in sorted(shelves.items(), key=lambda item: item[0] != workspace_id)
        ]
    )
    return Guard(await policy_of(connection, workspace_id), book)
