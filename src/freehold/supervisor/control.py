"""The supervisor's door for the command line: one JSON line in, one JSON line out, on a socket in a 0700 folder.

Requests are the words of `Word`; there is no way to name a program or a path. `ask` is the command line's side.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

Word = Literal["status", "seal", "stop"]
Handler = Callable[[], Awaitable[Any]]
_LIMIT = 4 << 20


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the command line asks for."""

    do: Word


class NotRunning(ConnectionError):
    """No supervisor answers on this state folder."""


@contextlib.asynccontextmanager
async def serve(path: Path, handlers: Mapping[Word, Handler]) -> AsyncIterator[None]:
    """Answer requests while the block runs."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(120):
                request = msgspec.json.decode(await reader.readline(), type=Request)
                writer.write(msgspec.json.encode(await handlers[request.do]()) + b"\n")
                await writer.drain()
        except (ValueError, TimeoutError, ConnectionError):  # msgspec.DecodeError is a ValueError
            pass
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(answer, str(path), limit=_LIMIT)
    path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def ask(path: Path, word: Word) -> Any:
    """Put one request to the running supervisor. Raises NotRunning."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=_LIMIT)
        try:
            writer.write(msgspec.json.encode(Request(word)) + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
    except OSError:
        raise NotRunning("Freehold is not running on this state folder.") from None
    if not line:
        raise NotRunning("Freehold went away before it answered.")
    return msgspec.json.decode(line)
