"""A recording upstream: an HTTP/1.1 server on a Unix socket that keeps every byte that the edge sent to it.

It parses strictly by itself (no library of ours or Envoy's), so a request that the edge smuggled, split or changed is
seen as one. It runs in a thread of its own; tests look at `requests` and set `scripts` for answers of their own.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Recorded:
    """One request as it came. `connection` counts the connections of this upstream."""

    connection: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes = field(repr=False)

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def names(self) -> set[str]:
        """The header names, in lower case."""
        return {key.lower() for key, _ in self.headers}


Script = Callable[[Recorded, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\nx-request-id: exg_test\r\n\r\n"
    b'{"ok":true}'
)


class Recorder:
    """The upstream. `scripts` maps a path to who answers it; `otherwise` answers the rest, without it they get `OK`."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.garbage: list[bytes] = []
        self.scripts: dict[str, Script] = {}
        self.otherwise: Script | None = None
        self.closed = threading.Event()
        self._connections = 0
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()

    @contextlib.contextmanager
    def listening(self, path: Path) -> Iterator["Recorder"]:
        """Serve on a socket while the block runs."""
        started = threading.Event()
        thread = threading.Thread(target=self._run, args=(path, started), daemon=True)
        thread.start()
        assert started.wait(5)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(5)
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget what was seen and how to answer."""
        with self._changed:
            self.requests.clear()
            self.garbage.clear()
        self.scripts.clear()
        self.otherwise = None
        self.closed.clear()

    def wait(self, count: int, timeout: float = 5.0) -> list[Recorded]:
        """The requests as soon as there are `count` of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, timeout), self.requests
            return list(self.requests)

    def _run(self, path: Path, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._stop = asyncio.Event()
        self._loop.run_until_complete(self._serve(path, started))
        self._loop.close()

    async def _serve(self, path: Path, started: threading.Event) -> None:
        server = await asyncio.start_unix_server(self._attend, path, limit=1 << 20)
        started.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while (request := await self._read(number, reader)) is not None:
                with self._changed:
                    self.requests.append(request)
                    self._changed.notify_all()
                script = self.scripts.get(request.target.partition("?")[0], self.otherwise)
                if script is not None:
                    await script(request, reader, writer)
                else:
                    writer.write(OK if request.method != "HEAD" else OK.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                    await writer.drain()
        writer.close()

    async def _read(self, number: int, reader: asyncio.StreamReader) -> Recorded | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self.garbage.append(error.partial)
            return None
        line, *rows = head[:-4].decode("latin-1").split("\r\n")
        method, target, version = line.split(" ")
        assert version == "HTTP/1.1"
        headers = tuple((name, value.strip()) for name, _, value in (row.partition(":") for row in rows))
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        chunked = any(name.lower() == "transfer-encoding" for name, _ in headers)
        body = raw = b""
        if chunked:
            assert not lengths
            while True:
                size = await reader.readuntil(b"\r\n")
                data = await reader.readexactly(int(size, 16) + 2)
                raw += size + data
                body += data[:-2]
                if data == b"\r\n":
                    break
        elif lengths:
            body = raw = await reader.readexactly(int(lengths[0]))
        return Recorded(number, method, target, headers, body, head + raw)


class Gate:
    """A script that streams server-sent events one by one, as the test allows."""

    def __init__(self) -> None:
        self._allowed = threading.Semaphore(0)
        self.ended = threading.Event()
        self.gone_after: float | None = None

    def let(self, count: int = 1) -> None:
        """Allow that many more events."""
        for _ in range(count):
            self._allowed.release()

    def finish(self) -> None:
        """Let the stream end."""
        self.ended.set()

    async def __call__(self, _: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        number = 0
        left = asyncio.ensure_future(reader.read(1))
        while not self.ended.is_set():
            if self._allowed.acquire(blocking=False):
                event = b"data: %d\n\n" % number
                number += 1
                writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                await writer.drain()
            done, _pending = await asyncio.wait({left}, timeout=0.002)
            if done:
                self.gone_after = time.monotonic()
                self.ended.set()
                return
        left.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await left
        writer.write(b"0\r\n\r\n")
        await writer.drain()
