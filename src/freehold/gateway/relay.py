"""One POST to a runner, its events pushed on as they come. The only place where the gateway talks to a runner.

A runner's answer is not trusted: events are decoded against the vocabulary, lines are bounded, silence has a limit, and
a stream that stops without `Finished` or `Failed` is an engine failure, never a quiet end.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from freehold.protocol.chat import RUNNER_CODES, Delta, Embeddings, Event, Failed, Finished, ToolDelta, decode_event
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.http import PeerGone, Response, UnixClient
from freehold.protocol.lines import LineCutter, LineTooLong

_JSON = {"content-type": "application/json"}


async def relay_chat(
    runner: UnixClient,
    body: bytes,
    on_event: Callable[[Delta | ToolDelta], Awaitable[None]],
    *,
    first_event_timeout: float,
    idle_timeout: float,
) -> Finished:
    """Ask for an answer; `on_event` gets each piece; gives the end. Times in seconds.

    Raises Refused or Unavailable with the fixed text of the runner's code, 504 when the runner stays silent.
    """
    try:
        async with runner.request("POST", "/chat", body, _JSON, timeout=first_event_timeout) as response:
            await _accept(response)
            cutter, stream = LineCutter(), aiter(response.body())
            while True:
                try:
                    async with asyncio.timeout(idle_timeout):
                        chunk = await anext(stream)
                except StopAsyncIteration:
                    raise failure("engine_failed") from None
                for line in cutter.feed(chunk):
                    event: Event = decode_event(line)
                    if isinstance(event, Finished):
                        return event
                    if isinstance(event, Failed):
                        raise failure(event.code)
                    await on_event(event)
    except TimeoutError:
        raise failure("engine_timeout") from None
    except (PeerGone, LineTooLong, msgspec.DecodeError):
        raise failure("engine_failed") from None


async def relay_embeddings(runner: UnixClient, body: bytes, *, timeout: float) -> Embeddings:
    """Ask for vectors. Raises as `relay_chat` does."""
    try:
        async with asyncio.timeout(timeout), runner.request("POST", "/embeddings", body, _JSON) as response:
            await _accept(response)
            return msgspec.json.decode(await response.read(64 << 20), type=Embeddings)
    except TimeoutError:
        raise failure("engine_timeout") from None
    except (PeerGone, msgspec.DecodeError):
        raise failure("engine_failed") from None


def failure(code: str) -> Refused | Unavailable:
    """The error that a client gets for a runner's code; an unknown code counts as `engine_failed`."""
    if code not in RUNNER_CODES:
        code = "engine_failed"
    status, text = RUNNER_CODES[code]
    if status < 500:
        return Refused(text, status=status, code=code)
    return Unavailable(text, status=status, code=code, retry_after=2 if status == 503 else None)


async def _accept(response: Response) -> None:
    if response.status != 200:
        event = msgspec.json.decode(await response.read(64 << 10), type=Failed)
        raise failure(event.code)
