"""One HTTP call: what came in, and the one way to answer. The gateway makes one of every request, the console of
every stream.

An answer is either one body or a stream of server-sent events. Once a stream has begun its status cannot change, so a
later error becomes an error event (`fail`), and the stream never ends as if nothing had happened.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from freehold.protocol.errors import Refused, Unavailable, error_body
from freehold.protocol.ids import new_id
from freehold.protocol.lines import sse_event

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class Call:
    """A request and its answer. `id` is the exchange id, told to the client as `x-request-id`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = new_id("exg")
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send
        self.begun = False
        self.streaming = False

    def header(self, name: bytes) -> str | None:
        """The value of a header; None when it is absent. Raises Refused 400 when it came twice."""
        values = [value for key, value in self._headers if key == name]
        if len(values) > 1:
            raise Refused("A header was sent twice.", code="duplicate_header")
        return values[0].decode("latin-1") if values else None

    async def body(self, limit: int) -> bytes:
        """The whole request body. Raises Refused 413 beyond `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise Refused("The request body is too large.", status=413, code="body_too_large")
            if not message.get("more_body", False):
                return b"".join(parts)

    @contextlib.asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Run the block only as long as the client is there: its leaving cancels the block and raises ClientGone."""
        task = asyncio.current_task()
        left = False

        async def watch() -> None:
            nonlocal left
            while (await self._receive())["type"] != "http.disconnect":
                pass
            left = True
            if task is not None:
                task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if left and task is not None and task.uncancel() == 0:
                raise ClientGone from None
            raise
        finally:
            watcher.cancel()

    async def reply(self, body: bytes, *, status: int = 200, headers: Mapping[bytes, bytes] | None = None) -> None:
        """Answer with one JSON body."""
        length = (b"content-length", str(len(body)).encode())
        await self._start(status, (_JSON, length, *(headers or {}).items()))
        await self._send({"type": "http.response.body", "body": body})

    async def push(self, payload: bytes, *, event_id: str = "") -> None:
        """Send one event of the stream, beginning it if need be."""
        await self._push(sse_event(payload, event_id=event_id))

    async def comment(self) -> None:
        """Send a keep-alive comment, which clients skip."""
        await self._push(b": waiting\n\n")

    async def end(self, last: bytes = b"") -> None:
        """End the stream, after one `last` event if given."""
        body = sse_event(last) if last else b""
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def fail(self, error: Refused | Unavailable) -> None:
        """Tell the client what went wrong, in whatever form is still possible."""
        if self.streaming:
            event = sse_event(error_body(error, self.id))
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
        elif not self.begun:
            headers: dict[bytes, bytes] = {}
            if error.retry_after is not None:
                headers[b"retry-after"] = str(max(1, round(error.retry_after))).encode()
            if error.status == 401:
                headers[b"www-authenticate"] = b"Bearer"
            await self.reply(error_body(error, self.id), status=error.status, headers=headers)

    async def _push(self, data: bytes) -> None:
        if not self.begun:
            self.streaming = True
            await self._start(200, _STREAM)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self.begun = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"x-request-id", self.id.encode())],
            }
        )


class ClientGone(Exception):
    """The client left; nobody is there to answer."""
