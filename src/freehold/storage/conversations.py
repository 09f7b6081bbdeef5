"""Conversations and their messages. Every function takes whose they are: a foreign one is as none at all."""

import time
from typing import Literal

import msgspec
from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.tables import conversations, messages

Status = Literal["complete", "streaming", "stopped", "failed"]


class Owner(msgspec.Struct, frozen=True):
    """Whose conversations are meant."""

    workspace_id: str
    user_id: str


class Conversation(msgspec.Struct, frozen=True):
    """A conversation without its messages."""

    id: str
    title: str
    updated_at: float


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as it stands. `error` is a fixed text of ours."""

    id: str
    role: Literal["user", "assistant"]
    content: str
    status: Status
    error: str | None


_columns = (conversations.c.id, conversations.c.title, conversations.c.updated_at)
_message_columns = tuple(messages.c[name] for name in StoredMessage.__struct_fields__)


async def create(connection: AsyncConnection, owner: Owner) -> Conversation:
    """A new, empty conversation."""
    now = time.time()
    row = Conversation(new_id("cnv"), "", now)
    await connection.execute(
        insert(conversations).values(
            **msgspec.structs.asdict(row), workspace_id=owner.workspace_id, user_id=owner.user_id, created_at=now
        )
    )
    return row


async def listed(connection: AsyncConnection, owner: Owner, limit: int = 200) -> list[Conversation]:
    """The newest first; conversations without a message are left out."""
    has_messages = select(messages.c.id).where(messages.c.conversation_id == conversations.c.id).exists()
    query = (
        select(*_columns).where(*_belongs(owner), has_messages).order_by(conversations.c.updated_at.desc()).limit(limit)
    )
    return [Conversation(*row) for row in await connection.execute(query)]


async def get(connection: AsyncConnection, owner: Owner, conversation_id: str) -> Conversation | None:
    """The conversation, if it is the owner's."""
    query = select(*_columns).where(*_belongs(owner), conversations.c.id == conversation_id)
    row = (await connection.execute(query)).first()
    return Conversation(*row) if row else None


async def rename(connection: AsyncConnection, owner: Owner, conversation_id: str, title: str) -> bool:
    """Give it a title. False when there is no such conversation of the owner's."""
    query = update(conversations).where(*_belongs(owner), conversations.c.id == conversation_id)
    return bool((await connection.execute(query.values(title=title))).rowcount)


async def set_title(connection: AsyncConnection, conversation_id: str, title: str) -> None:
    """Give it its first title. The caller has shown by `get` that the conversation is its own."""
    await connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(title=title))


async def remove(connection: AsyncConnection, owner: Owner, conversation_id: str) -> bool:
    """Delete it with its messages. False when there is no such conversation of the owner's."""
    query = delete(conversations).where(*_belongs(owner), conversations.c.id == conversation_id)
    return bool((await connection.execute(query)).rowcount)


async def read_messages(connection: AsyncConnection, conversation_id: str) -> list[StoredMessage]:
    """All messages in order. The caller has shown by `get` that the conversation is its own."""
    query = select(*_message_columns).where(messages.c.conversation_id == conversation_id)
    return [StoredMessage(*row) for row in await connection.execute(query.order_by(messages.c.position))]


async def append(connection: AsyncConnection, conversation_id: str, role: str, content: str, status: Status) -> str:
    """Add a message at the end; gives its id."""
    now, message_id = time.time(), new_id("msg")
    next_position = select(func.coalesce(func.max(messages.c.position), -1) + 1).where(
        messages.c.conversation_id == conversation_id
    )
    await connection.execute(
        insert(messages).values(
            id=message_id,
            conversation_id=conversation_id,
            position=next_position.scalar_subquery(),
            role=role,
            content=content,
            status=status,
            created_at=now,
        )
    )
    await connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(updated_at=now))
    return message_id


async def set_message(
    connection: AsyncConnection, message_id: str, *, content: str, status: Status, error: str | None = None
) -> None:
    """Replace a message's text and state."""
    await connection.execute(
        update(messages).where(messages.c.id == message_id).values(content=content, status=status, error=error)
    )


async def drop_last_answer(connection: AsyncConnection, conversation_id: str) -> None:
    """Remove the assistant's message at the end, if there is one, to make room for another."""
    query = select(messages.c.id, messages.c.role).where(messages.c.conversation_id == conversation_id)
    row = (await connection.execute(query.order_by(messages.c.position.desc()).limit(1))).first()
    if row is not None and row.role == "assistant":
        await connection.execute(delete(messages).where(messages.c.id == row.id))


async def end_streams(connection: AsyncConnection, error: str) -> None:
    """At start: what was being streamed when the process ended has failed, and says so."""
    await connection.execute(
        update(messages).where(messages.c.status == "streaming").values(status="failed", error=error)
    )


def _belongs(owner: Owner) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (conversations.c.workspace_id == owner.workspace_id, conversations.c.user_id == owner.user_id)
