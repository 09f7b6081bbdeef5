"""The runner's one door: a plain ASGI application on a Unix socket, for the gateway and the supervisor.

    GET  /health      RunnerHealth, also while models load
    POST /chat        ChatRequest → NDJSON of events; before the first event a status and `Failed`
    POST /chat/joined  the same, the texts of a quarter of a second in one event
    POST /embeddings  EmbeddingRequest → Embeddings
    POST /seal        SealReport: the runner attacks its own box

The first event decides the status. A caller that leaves cancels the work at once. Whatever comes in, what goes out is
one of these shapes with one of the known codes; this is the rim where unknown faults become `engine_failed`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

import msgspec

from freehold.protocol.chat import (
    RUNNER_CODES,
    ChatRequest,
    Delta,
    EmbeddingRequest,
    Event,
    Failed,
    RunnerHealth,
    encode_event,
)
from freehold.protocol.seal import SealReport
from freehold.runner.engines.engine import Engine, EngineFailure
from freehold.runner.log import Log, What

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_BODY_LIMIT = 8 << 20
_MOST_INPUTS = 2048
_JOIN_SECONDS = 0.25
_JSON, _NDJSON = b"application/json", b"application/x-ndjson"


class _Answered(Exception):
    """This request ends with `status` and `Failed(code)`."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class _Left(Exception):
    """The caller has left."""


class RunnerApp:
    """The application. `attack` makes the seal report; it blocks and runs in a thread.

    `lost` is set when an engine that was ready no longer is: the runner then ends, and is replaced from outside.
    """

    def __init__(self, engines: Sequence[Engine], attack: Callable[[], SealReport], log: Log) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._attack = attack
        self._log = log
        self._in_flight = 0
        self.loaded = False
        self.copied_weights = 0
        self.lost = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        try:
            await self._route(scope, receive, answer)
        except _Left:
            return
        except _Answered as end:
            await answer.fail(end.status, end.code)
        except EngineFailure as failure:
            await answer.fail(None, failure.code)
        except Exception as fault:
            self._log.note(What.FAULT, error=type(fault).__name__)
            await answer.fail(None, "engine_failed")

    async def _route(self, scope: Message, receive: Receive, answer: "_Answer") -> None:
        routes: dict[str, tuple[str, Callable[[Receive, _Answer], Coroutine[Any, Any, None]]]] = {
            "/health": ("GET", self._health),
            "/chat": ("POST", self._chat),
            "/chat/joined": ("POST", self._chat_joined),
            "/embeddings": ("POST", self._embeddings),
            "/seal": ("POST", self._seal),
        }
        method, handle = routes.get(scope["path"], ("", self._health))
        if not method:
            raise _Answered(404, "engine_refused")
        if scope["method"] != method:
            raise _Answered(405, "engine_refused")
        await handle(receive, answer)

    async def _health(self, receive: Receive, answer: "_Answer") -> None:
        engines = tuple(engine.health() for engine in self._engines.values())
        ready = self.loaded and all(engine.ready for engine in engines)
        await answer.whole(msgspec.json.encode(RunnerHealth(ready, self._in_flight, engines, self.copied_weights)))

    async def _seal(self, receive: Receive, answer: "_Answer") -> None:
        await _body(receive)
        report = await asyncio.to_thread(self._attack)
        await answer.whole(msgspec.json.encode(report))

    async def _chat(self, receive: Receive, answer: "_Answer") -> None:
        await self._chat_to(receive, answer, answer.event)

    async def _chat_joined(self, receive: Receive, answer: "_Answer") -> None:
        await self._chat_to(receive, answer, _Joiner(answer.event).event)

    async def _chat_to(self, receive: Receive, answer: "_Answer", push: Callable[[Event], Awaitable[None]]) -> None:
        request = _decode(await _body(receive), ChatRequest)
        engine = self._engine(request.assistant, embedder=False)
        with self._counted():
            try:
                await _while_there(receive, engine.chat(request, push))
            finally:
                self._look(engine)
        await answer.end()

    async def _embeddings(self, receive: Receive, answer: "_Answer") -> None:
        request = _decode(await _body(receive), EmbeddingRequest)
        if len(request.inputs) > _MOST_INPUTS:
            raise _Answered(400, "engine_refused")
        engine = self._engine(request.assistant, embedder=True)
        with self._counted():
            result = await _while_there(receive, engine.embed(request))
        await answer.whole(msgspec.json.encode(result))

    def _look(self, engine: Engine) -> None:
        if not engine.health().ready and not self.lost.is_set():
            self._log.note(What.ENGINE_LOST, engine=engine.name)
            self.lost.set()

    def _engine(self, name: str, *, embedder: bool) -> Engine:
        if not name:
            kind = ("embedder",) if embedder else ("llamacpp", "openai")
            found = next((engine for engine in self._engines.values() if engine.health().kind in kind), None)
        else:
            found = self._engines.get(name)
        if found is None:
            raise EngineFailure("model_not_found")
        if not self.loaded:
            raise EngineFailure("not_ready")
        return found

    @contextlib.contextmanager
    def _counted(self) -> Any:
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1


class _Joiner:
    """Joins the texts of a short time into one event, for an answer that nobody watches as it grows."""

    def __init__(self, push: Callable[[Event], Awaitable[None]]) -> None:
        self._push = push
        self._texts: list[str] = []
        self._since = time.monotonic()

    async def event(self, event: Event) -> None:
        """Keep a text, or pass on what is kept."""
        if isinstance(event, Delta):
            self._texts.append(event.text)
            if time.monotonic() - self._since < _JOIN_SECONDS:
                return
        if self._texts:
            joined, self._texts, self._since = "".join(self._texts), [], time.monotonic()
            await self._push(Delta(joined))
        if not isinstance(event, Delta):
            await self._push(event)


class _Answer:
    """The response of one request: whole, or begun by the first event."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False
        self._ended = False

    async def whole(self, body: bytes, status: int = 200) -> None:
        """Send everything at once."""
        await self._start(status, _JSON, len(body))
        await self._piece(body, more=False)

    async def event(self, event: Event) -> None:
        """Send one event; the first one makes the status 200."""
        if not self._begun:
            await self._start(200, _NDJSON)
        await self._piece(encode_event(event), more=True)

    async def end(self) -> None:
        """Nothing more comes."""
        if not self._begun:
            raise EngineFailure("engine_failed")
        await self._piece(b"", more=False)

    async def fail(self, status: int | None, code: str) -> None:
        """End with a failure: a status when nothing was sent yet, else one last event."""
        if self._ended:
            return
        if self._begun:
            await self._piece(encode_event(Failed(code)), more=False)
        else:
            await self.whole(msgspec.json.encode(Failed(code)), status or RUNNER_CODES[code][0])

    async def _start(self, status: int, kind: bytes, length: int | None = None) -> None:
        self._begun = True
        headers = [(b"content-type", kind)]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _piece(self, body: bytes, *, more: bool) -> None:
        self._ended = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def _while_there(receive: Receive, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`, which is cancelled as soon as the caller has left. Raises _Left then."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _Left
        return task.result()
    finally:
        for running in (task, watch):
            running.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        size += len(message.get("body", b""))
        if size > _BODY_LIMIT:
            raise _Answered(413, "engine_refused")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _decode(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Answered(400, "engine_refused") from None
