"""Answers a message of the page: asks the gateway as the signed-in person and turns its stream into AG-UI events.

The question is stored before the gateway is asked and the answer when it ends, however it ends: complete, stopped by
the person (their browser left), or failed with the text that says why. Leaving the stream closes the connection to the
gateway, which stops the engine.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from freehold.console import agui
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.http import PeerGone, UnixClient
from freehold.protocol.ids import new_id
from freehold.protocol.lines import LineCutter, LineTooLong, sse_data
from freehold.serving.call import Call, ClientGone
from freehold.storage import conversations
from freehold.storage.conversations import StoredMessage
from freehold.storage.engine import Database

_TITLE_CHARACTERS = 60
_WAITING = b": waiting "  # before {"position": …, "seconds": …}; the plain heartbeat has no object
_BROKEN = Unavailable("The answer broke off. Try again.", status=502, code="engine_failed")


@dataclass(frozen=True)
class Question:
    """What is to be answered: the conversation, its messages up to the question, and by which assistant.

    `secret`, `host` and `address` are the person's own, so that the gateway sees them and not the console.
    """

    conversation_id: str
    title: str
    history: list[StoredMessage]
    assistant: str
    secret: str
    host: str = ""
    address: str = ""


@dataclass
class _Progress:
    message_id: str
    events: int = 0
    text: list[str] = field(default_factory=list)


class Answer:
    """An ASGI response that streams the answer to one question."""

    def __init__(self, database: Database, gateway: UnixClient, question: Question) -> None:
        self._database = database
        self._gateway = gateway
        self._question = question
        self._run = new_id("run")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send)
        async with self._database.write() as connection:
            message_id = await conversations.append(
                connection, self._question.conversation_id, "assistant", "", "streaming"
            )
        progress = _Progress(message_id)
        try:
            async with call.attended():
                await self._stream(call, progress)
        except ClientGone:
            await self._keep(progress, "stopped")
        except asyncio.CancelledError:
            await asyncio.shield(self._keep(progress, "stopped"))
            raise
        except (Refused, Unavailable) as error:
            await self._keep(progress, "failed", error.message)
            with contextlib.suppress(ClientGone):
                await call.end(agui.run_error(error.message, error.code or error.type))
        else:
            await self._keep(progress, "complete")
            await call.end(agui.run_finished(self._question.conversation_id, self._run))

    async def _stream(self, call: Call, progress: _Progress) -> None:
        await self._push(call, progress, agui.run_started(self._question.conversation_id, self._run))
        if not self._question.title:
            await self._push(call, progress, agui.custom("conversation_titled", {"title": await self._entitle()}))
        await self._push(call, progress, agui.text_start(progress.message_id))
        body = msgspec.json.encode(
            {
                "model": self._question.assistant,
                "messages": [{"role": m.role, "content": m.content} for m in self._question.history if m.content],
                "stream": True,
            }
        )
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {self._question.secret}",
            "x-freehold-host": self._question.host,
            "x-freehold-client": self._question.address,
            "x-freehold-wait": "show",
        }
        try:
            async with self._gateway.request("POST", "/v1/chat/completions", body, headers) as response:
                if response.status != 200:
                    raise _refusal(msgspec.json.decode(await response.read(64 << 10)), response.status)
                await self._relay(call, progress, response.body())
        except (PeerGone, LineTooLong, msgspec.DecodeError):
            raise _BROKEN from None
        await self._push(call, progress, agui.text_end(progress.message_id))

    async def _relay(self, call: Call, progress: _Progress, chunks: Any) -> None:
        cutter = LineCutter()
        async for chunk in chunks:
            lines = cutter.feed(chunk)
            for line in lines:
                if line.startswith(_WAITING) and line.endswith(b"}"):
                    await self._push(call, progress, agui.custom("waiting", msgspec.json.decode(line[len(_WAITING) :])))
            for payload in sse_data(lines):
                if payload == b"[DONE]":
                    return
                event = msgspec.json.decode(payload)
                if "error" in event:
                    raise _refusal(event, 502)
                for choice in event["choices"]:
                    if text := choice["delta"].get("content"):
                        progress.text.append(text)
                        await self._push(call, progress, agui.text_content(progress.message_id, text))
        raise _BROKEN

    async def _push(self, call: Call, progress: _Progress, event: bytes) -> None:
        progress.events += 1
        await call.push(event, event_id=str(progress.events))

    async def _entitle(self) -> str:
        title = title_of(self._question.history[0].content)
        async with self._database.write() as connection:
            await conversations.set_title(connection, self._question.conversation_id, title)
        return title

    async def _keep(self, progress: _Progress, status: conversations.Status, error: str | None = None) -> None:
        async with self._database.write() as connection:
            await conversations.set_message(
                connection, progress.message_id, content="".join(progress.text), status=status, error=error
            )


def title_of(question: str) -> str:
    """A conversation's title: the beginning of its first question, cut at a word."""
    words = " ".join(question.split())
    if len(words) <= _TITLE_CHARACTERS:
        return words
    return words[:_TITLE_CHARACTERS].rsplit(" ", 1)[0] + "…"


def _refusal(body: Any, status: int) -> Refused | Unavailable:
    """The gateway's error, which is ours: its message is a fixed text."""
    error = body["error"]
    kind = Refused if status < 500 else Unavailable
    return kind(error["message"], status=status, code=error["code"])
