"""The whole way of a request, on one screen. Called by `routes`; every line may refuse by raising.

Places that are kept for what is to come: the audit's intent and outcome, the guard, verified answers.
"""

from collections.abc import Awaitable, Callable

from freehold.admission.limits import Charge, Limiter
from freehold.admission.queue import AdmissionQueue
from freehold.gateway.answer import Answer
from freehold.gateway.call import Call
from freehold.gateway.engines import EngineBook
from freehold.gateway.limits import LimitBook
from freehold.gateway.relay import ChatReceiver, EmbeddingsReceiver, Unstarted, relay
from freehold.identity.directory import Directory
from freehold.identity.principal import Principal
from freehold.isolation.pool import Affinity, Member, Pools
from freehold.protocol import openai
from freehold.protocol.dialect import Asked, Bounds, Dialect
from freehold.protocol.errors import Unavailable
from freehold.settings import Settings

Keep = Callable[[Answer], Awaitable[None]]

_BYTES_PER_TOKEN = 4  # of a prompt, to reserve by; what it was is known and settled afterwards


class Exchanges:
    """Runs exchanges against what the gateway knows. Holds no state of a request."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        engines: EngineBook,
        limits: LimitBook,
        limiter: Limiter,
        queue: AdmissionQueue,
        pools: Pools,
    ) -> None:
        self._settings = settings.gateway
        self.max_body = settings.edge.max_body_bytes
        self.bounds = Bounds(
            settings.gateway.max_json_depth, settings.gateway.max_messages, settings.gateway.max_tokens
        )
        self.directory = directory
        self.engines = engines
        self._limits = limits
        self._limiter = limiter
        self._queue = queue
        self._pools = pools

    async def chat(self, call: Call, principal: Principal, dialect: Dialect) -> None:
        """`POST /v1/chat/completions` and `/v1/messages`."""
        asked = dialect.parse(await call.body(self.max_body), self.bounds)
        await self.answer(call, principal, asked)

    async def answer(self, call: Call, principal: Principal, asked: Asked, *, keep: Keep | None = None) -> None:
        """Answer what was asked. `keep` is awaited with the whole answer before the client sees its end."""
        engine = self.engines.allowed(principal, asked.request.assistant, kind="chat")
        prompt, most = len(asked.encoded) // _BYTES_PER_TOKEN, asked.request.max_tokens or self.bounds.max_tokens
        answer = Answer(call, asked, asked.writer(call.id, engine.name), prompt, most)
        receiver = ChatReceiver(answer.take, call.fed_by)
        subjects = self._limits.subjects(principal, engine.name, call.address)
        if asked.stream:
            call.waits()
        async with (
            self._limiter.hold(Charge(principal.workspace_id, subjects, prompt, most), call.id) as hold,
            self._queue.place(
                principal.workspace_id,
                engine.name,
                principal.holder,
                priority=asked.priority or ("interactive" if principal.kind == "session" else "standard"),
                size=len(asked.encoded),
                on_wait=call.shows_wait,
            ) as place,
        ):
            call.limits = hold.headers()
            answer.granted = hold.output_tokens
            try:
                body = asked.encoded if hold.output_tokens == most else asked.capped(hold.output_tokens)
                piecewise = asked.stream or engine.kind == "openai"  # whose pieces are to be counted: it is not ours
                path = "/chat" if piecewise else "/chat/joined"
                await self._ask(principal, path, body, receiver, affinity=asked.request.affinity)
            finally:
                tokens = answer.tokens
                hold.used(tokens)
                place.served(tokens)
        if keep is not None:
            await keep(answer)
        answer.close()

    async def embeddings(self, call: Call, principal: Principal) -> None:
        """`POST /v1/embeddings`."""
        request = openai.parse_embeddings(await call.body(self.max_body), max_depth=self.bounds.max_depth)
        engine = self.engines.allowed(principal, request.request.assistant, kind="embedder")
        receiver = EmbeddingsReceiver(call.fed_by)
        prompt = len(request.encoded) // _BYTES_PER_TOKEN
        subjects = self._limits.subjects(principal, engine.name, call.address)
        async with (
            self._limiter.hold(Charge(principal.workspace_id, subjects, prompt, 0), call.id) as hold,
            self._queue.place(
                principal.workspace_id, engine.name, principal.holder, size=len(request.encoded)
            ) as place,
        ):
            call.limits = hold.headers()
            await self._ask(principal, "/embeddings", request.encoded, receiver)
            hold.used(receiver.result.prompt_tokens)
            place.served(receiver.result.prompt_tokens)
        call.reply(openai.embeddings_object(request, receiver.result))

    async def _ask(
        self,
        principal: Principal,
        path: str,
        body: bytes,
        receiver: ChatReceiver | EmbeddingsReceiver,
        *,
        affinity: Affinity | None = None,
    ) -> None:
        """Ask a runner; one that was gone before it said anything is replaced by another, once."""
        failed: tuple[Member, Unstarted] | None = None
        while True:
            try:
                lease = self._pools.lease(principal.workspace_id, affinity=affinity, avoid=failed and failed[0])
            except Unavailable as error:
                raise (failed[1] if failed else error) from None
            with lease as runner:
                try:
                    await relay(
                        runner.client,
                        path,
                        body,
                        receiver,
                        first_event_timeout=self._settings.first_event_timeout,
                        idle_timeout=self._settings.idle_event_timeout,
                    )
                except Unstarted as error:
                    self._pools.failed(runner)
                    if failed:
                        raise
                    failed = (runner, error)
                else:
                    self._pools.well(runner)
                    return
