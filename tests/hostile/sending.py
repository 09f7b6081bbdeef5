"""Sends all attacks through a real edge, once, and keeps what was answered and every request that came through.

`conftest` holds the outcome for the whole run: `test_framing` and `test_http2` judge what the upstream saw,
`test_meaning` shows the same bytes to other servers.
"""

import asyncio
import contextlib
import re
import ssl
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from freehold.settings import Edge
from tests.edge.door import Door, free_port, opened
from tests.edge.frames import talking
from tests.edge.recorder import Recorded
from tests.hostile import http2, vectors

_BATCH = 500


@dataclass(frozen=True)
class Outcome:
    """Of each attack, by its number: how many good answers it got, and the requests that the upstreams saw of it.

    `strays` are requests that belong to no attack; `garbage` is what was no request at all.
    """

    answers: dict[int, int]
    seen: dict[int, list[Recorded]]
    strays: list[Recorded]
    garbage: list[bytes]
    survived: bool


def number_of(request: Recorded) -> int:
    """The attack that a request belongs to, -1 for none."""
    found = re.search(r"/v1/(?:first|hidden|fence)/(\d+)", f"{request.target} {request.body!r}")
    return int(found[1]) if found else -1


def send_framing(attacks: Sequence[vectors.Vector]) -> Outcome:
    """The attacks in HTTP/1.1."""
    edge = Edge(port=free_port(), domains=("ai.example.org",), header_timeout=2, body_timeout=2)
    answers: dict[int, int] = {}
    requests: list[Recorded] = []
    garbage: list[bytes] = []
    with opened(edge) as door:
        for begin in range(0, len(attacks), _BATCH):
            batch = list(enumerate(attacks))[begin : begin + _BATCH]
            answers |= asyncio.run(_plain_batch(door, batch))
            requests += [*door.console.requests, *door.gateway.requests]
            garbage += [*door.console.garbage, *door.gateway.garbage]
            door.gateway.clear()
            door.console.clear()
        return _outcome(answers, requests, garbage, survived=door.envoy.poll() is None)


def send_frames(attacks: Sequence[http2.Vector]) -> Outcome:
    """The attacks in HTTP/2."""
    edge = Edge(port=free_port(), domains=("ai.example.org",), header_timeout=1, body_timeout=1)
    with opened(edge) as door:
        answers = asyncio.run(_frames_batch(door, attacks))
        requests = [*door.console.requests, *door.gateway.requests]
        garbage = [*door.console.garbage, *door.gateway.garbage]
        return _outcome(answers, requests, garbage, survived=door.envoy.poll() is None)


def _outcome(answers: dict[int, int], requests: list[Recorded], garbage: list[bytes], *, survived: bool) -> Outcome:
    seen: defaultdict[int, list[Recorded]] = defaultdict(list)
    for request in requests:
        seen[number_of(request)].append(request)
    strays = [one for number in seen.keys() - answers.keys() for one in seen.pop(number)]
    return Outcome(answers, dict(seen), strays, garbage, survived)


async def _plain_batch(door: Door, batch: list[tuple[int, vectors.Vector]]) -> dict[int, int]:
    gate, context = asyncio.Semaphore(40), door.tls()
    counts = await asyncio.gather(*(_send_plain(door, context, number, one, gate) for number, one in batch))
    return {number: count for (number, _), count in zip(batch, counts, strict=True)}


async def _send_plain(
    door: Door, context: ssl.SSLContext, number: int, vector: vectors.Vector, gate: asyncio.Semaphore
) -> int:
    """Send an attack and the fence behind it; read until the edge closes (or the attack waits for more)."""
    raw = vector.make(number)
    size = max(1, len(raw) // vector.pieces)
    parts = [raw[at : at + size] for at in range(0, len(raw), size)] or [b""]
    answer = b""
    async with gate:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.edge.port, ssl=context, server_hostname="localhost"
        )
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            for part in parts:
                writer.write(part)
                await writer.drain()
            writer.write(vectors.fence(number))
            async with asyncio.timeout(3):
                while data := await reader.read(65536):
                    answer += data
        writer.transport.abort()
    return answer.count(b"HTTP/1.1 200 ")


async def _frames_batch(door: Door, attacks: Sequence[http2.Vector]) -> dict[int, int]:
    gate, context = asyncio.Semaphore(60), door.tls("h2")
    counts = await asyncio.gather(*(_send_frames(door, context, n, one, gate) for n, one in enumerate(attacks)))
    return dict(enumerate(counts))


async def _send_frames(
    door: Door, context: ssl.SSLContext, number: int, vector: http2.Vector, gate: asyncio.Semaphore
) -> int:
    async with gate:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            async with talking(door, context=context) as talk:
                await talk.say(vector.make(number) + http2.fence(number))
                await talk.until({1, http2.FENCE}, 2)
                return list(talk.statuses.values()).count(200)
    return 0
