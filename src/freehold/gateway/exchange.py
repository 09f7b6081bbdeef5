"""The whole way of a request, on one screen. Called by `routes`; every line may refuse by raising.

Places that are kept for what is to come: the audit's intent and outcome, limits, the guard, verified answers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from freehold.gateway.engines import EngineBook
from freehold.gateway.relay import relay_chat, relay_embeddings
from freehold.identity.directory import Directory
from freehold.identity.principal import Principal
from freehold.isolation.pool import Pools
from freehold.protocol import openai
from freehold.protocol.chat import Delta, ToolDelta
from freehold.serving.call import Call
from freehold.settings import Settings

_HEARTBEAT_SECONDS = 10.0


class Exchanges:
    """Runs exchanges against what the gateway knows. Holds no state of a request."""

    def __init__(self, settings: Settings, directory: Directory, engines: EngineBook, pools: Pools) -> None:
        self.limits = settings.gateway
        self.max_body = settings.edge.max_body_bytes
        self.directory = directory
        self.engines = engines
        self.pools = pools

    async def chat(self, call: Call, principal: Principal) -> None:
        """`POST /v1/chat/completions`."""
        limits = self.limits
        chat = openai.parse_chat(
            await call.body(self.max_body),
            max_depth=limits.max_json_depth,
            max_messages=limits.max_messages,
            max_tokens=limits.max_tokens,
        )
        engine = self.engines.allowed(principal, chat.request.assistant, kind="chat")
        writer = openai.ChatWriter(call.id, engine.name)

        async def push(event: Delta | ToolDelta) -> None:
            if chat.stream:
                await call.push(writer.chunk(event, usage_key=chat.include_usage))
            else:
                writer.gather(event)

        async with (
            call.attended(),
            _heartbeat(call, chat.stream),
            self.pools.lease(principal.workspace_id) as runner,
        ):
            end = await relay_chat(
                runner,
                chat.encoded,
                push,
                first_event_timeout=limits.first_event_timeout,
                idle_timeout=limits.idle_event_timeout,
            )
        if not chat.stream:
            await call.reply(writer.whole(end))
            return
        await call.push(writer.chunk(end, usage_key=chat.include_usage))
        if chat.include_usage:
            await call.push(writer.usage_chunk(end.usage))
        await call.end(b"[DONE]")

    async def embeddings(self, call: Call, principal: Principal) -> None:
        """`POST /v1/embeddings`."""
        request = openai.parse_embeddings(await call.body(self.max_body), max_depth=self.limits.max_json_depth)
        self.engines.allowed(principal, request.request.assistant, kind="embedder")
        async with call.attended(), self.pools.lease(principal.workspace_id) as runner:
            result = await relay_embeddings(runner, request.encoded, timeout=self.limits.first_event_timeout)
        await call.reply(openai.embeddings_object(request, result))


@contextlib.asynccontextmanager
async def _heartbeat(call: Call, streaming: bool) -> AsyncIterator[None]:
    """While nothing has been said on a stream, say so every few seconds, so that no proxy between gives up."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            await call.comment()

    task = asyncio.create_task(beat()) if streaming else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
