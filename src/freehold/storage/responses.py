"""Stored responses of the Responses API. Every function takes whose they are: a foreign one is as none at all."""

import time

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.storage.tables import responses

LONGEST_CHAIN = 200


class Holder(msgspec.Struct, frozen=True):
    """Whose responses are meant: `owner` is the person, or the key where there is none."""

    workspace_id: str
    owner: str


class StoredResponse(msgspec.Struct, frozen=True):
    """`body` is the response object and `input` the request's own input items, both JSON."""

    id: str
    previous_id: str | None
    body: str
    input: str


_columns = tuple(responses.c[name] for name in StoredResponse.__struct_fields__)


async def keep(connection: AsyncConnection, whose: Holder, response: StoredResponse) -> None:
    """Store a response."""
    await connection.execute(
        insert(responses).values(
            **msgspec.structs.asdict(response),
            workspace_id=whose.workspace_id,
            owner=whose.owner,
            created_at=time.time(),
        )
    )


async def get(connection: AsyncConnection, whose: Holder, response_id: str) -> StoredResponse | None:
    """The response of that id."""
    query = select(*_columns).where(
        responses.c.id == response_id,
        responses.c.workspace_id == whose.workspace_id,
        responses.c.owner == whose.owner,
    )
    row = (await connection.execute(query)).first()
    return StoredResponse(*row) if row else None


async def chain(connection: AsyncConnection, whose: Holder, response_id: str) -> list[StoredResponse] | None:
    """A response with all that it went on from, the oldest first; None when it is not there.

    A link that was deleted ends the chain, as does one of more than LONGEST_CHAIN.
    """
    found: list[StoredResponse] = []
    link: str | None = response_id
    while link is not None and len(found) < LONGEST_CHAIN:
        response = await get(connection, whose, link)
        if response is None:
            break
        found.append(response)
        link = response.previous_id
    return found[::-1] or None


async def remove(connection: AsyncConnection, whose: Holder, response_id: str) -> bool:
    """Delete a response. False when there is none."""
    done = await connection.execute(
        delete(responses).where(
            responses.c.id == response_id,
            responses.c.workspace_id == whose.workspace_id,
            responses.c.owner == whose.owner,
        )
    )
    return done.rowcount == 1
