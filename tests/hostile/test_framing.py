"""Two thousand attacks on where a request ends, through the real edge to an upstream that keeps every byte (BAR-1).

The referee (`grammar`) says what each attack may mean. Whatever the upstream sees must be of that, in its order and byte
by byte: none more, none other, and an answer for each. All the rest must end in a refusal.
"""

import asyncio
import contextlib
import re
import ssl
from collections import defaultdict

import pytest

from freehold.settings import Edge
from tests.edge.door import Door, free_port, opened
from tests.edge.recorder import Recorded
from tests.hostile import grammar, vectors
from tests.hostile.vectors import Vector

pytestmark = pytest.mark.slow

AT_ONCE = 40
PATIENCE = 3.0
BATCH = 500


async def _send(door: Door, number: int, vector: Vector, gate: asyncio.Semaphore) -> bytes:
    """What the edge answers to an attack and the fence behind it, until it closes (or the attack waits for more)."""
    raw = vector.make(number)
    size = max(1, len(raw) // vector.pieces)
    parts = [raw[at : at + size] for at in range(0, len(raw), size)] or [b""]
    answer = b""
    async with gate:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.edge.port, ssl=door.tls(), server_hostname="localhost"
        )
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            for part in parts:
                writer.write(part)
                await writer.drain()
            writer.write(vectors.fence(number))
            async with asyncio.timeout(PATIENCE):
                while data := await reader.read(65536):
                    answer += data
        writer.transport.abort()
    return answer


async def _all(door: Door, batch: list[tuple[int, Vector]]) -> dict[int, bytes]:
    gate = asyncio.Semaphore(AT_ONCE)
    answers = await asyncio.gather(*(_send(door, number, vector, gate) for number, vector in batch))
    return {number: answer for (number, _), answer in zip(batch, answers, strict=True)}


def _number(request: Recorded) -> int:
    found = re.search(r"/v1/(?:first|hidden|fence)/(\d+)", f"{request.target} {request.body!r}")
    return int(found[1]) if found else -1


def _told(requests: list[Recorded]) -> list[grammar.Meant]:
    return [grammar.Meant(request.method, request.target, request.body) for request in requests]


def _within(got: list[grammar.Meant], meant: list[grammar.Meant]) -> bool:
    """Are these some of those, in their order? What the edge answers by itself (a method, a path) it does not pass."""
    rest = iter(meant)
    return all(any(one == other for other in rest) for one in got)


def test_whatever_is_sent_the_upstream_sees_what_it_means_and_nothing_else() -> None:
    attacks = list(enumerate(vectors.framing()))
    assert len(attacks) >= 1000
    wrong: list[str] = []
    passed = refused = 0
    with opened(Edge(port=free_port(), domains=("ai.example.org",), header_timeout=2, body_timeout=2)) as door:
        for begin in range(0, len(attacks), BATCH):
            batch = attacks[begin : begin + BATCH]
            door.gateway.clear()
            door.console.clear()
            answers = asyncio.run(_all(door, batch))
            assert not door.gateway.garbage
            assert not door.console.garbage
            seen: defaultdict[int, list[Recorded]] = defaultdict(list)
            for request in (*door.console.requests, *door.gateway.requests):
                seen[_number(request)].append(request)
            for number, vector in batch:
                raw = vector.make(number) + vectors.fence(number)
                got = _told(seen.pop(number, []))
                readings = [grammar.read(raw)[0], grammar.read(raw, grammar.LENIENT)[0]]
                if not any(_within(got, meant) for meant in readings):
                    wrong.append(f"{vector.family} {vector.what}: {got}")
                good = answers[number].count(b"HTTP/1.1 200 ")
                if good != len(got):
                    wrong.append(f"{vector.family} {vector.what}: {len(got)} seen, {good} answered")
                passed += bool(got)
                refused += not got
            assert not seen, seen
    assert not wrong, "\n".join(wrong[:20])
    assert passed > 50
    assert refused > 1000
