"""No byte of one request reaches another: tenants side by side through one edge and its kept upstream connections (BAR-3).

Every request says its tenant, its credential and a nonce in each place where it can; the upstream answers with what it
saw. Between them bodies are left half sent, clients leave before their answer, and streams are reset. The log of the
upstream's connections shows that they did carry several tenants, one after another.
"""

import asyncio
import contextlib
import itertools
import json
import random
import ssl
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from freehold.settings import Edge
from tests.edge.door import Door, free_port, opened
from tests.edge.frames import DATA, END_STREAM, RESET, frame, head, pseudo, talking
from tests.edge.recorder import Recorded

pytestmark = [pytest.mark.slow, pytest.mark.soak]

TENANTS = ("localhost", "ai.example.org", "acme.example", "birch.example")
REQUESTS = 10_000
WORKERS, STREAMS = 24, 6
"""Clients in HTTP/1.1, and one in twelve as many in HTTP/2 with several streams at once."""


def _told(tenant: str, nonce: str, body: bytes) -> dict[str, str]:
    return {
        "host": tenant,
        "key": f"Bearer {tenant}-{nonce}",
        "path": f"/v1/{nonce}",
        "nonce": nonce,
        "body": body.decode(),
    }


async def _repeat(request: Recorded, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what was seen, whole or in pieces."""
    (key,), (host,), (nonce,) = (
        request.values(name) for name in ("authorization", "x-freehold-host", "idempotency-key")
    )
    seen = {"host": host, "key": key, "path": request.target, "nonce": nonce, "body": request.body.decode()}
    answer = json.dumps(seen).encode()
    if len(request.body) % 3 == 0:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
        return
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for part in (answer[:40], answer[40:]):
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await writer.drain()
        await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")


@dataclass
class Tally:
    """What became of the requests."""

    numbers: Iterator[int] = field(default_factory=itertools.count)
    good: int = 0
    spoiled: int = 0
    wrong: list[str] = field(default_factory=list)

    def judge(self, told: dict[str, str], answer: bytes) -> None:
        """Is the answer of this very request?"""
        self.good += 1
        if not answer or json.loads(answer) != told:
            self.wrong.append(f"{told} got {answer[:300]!r}")


def _body(chance: random.Random, nonce: str) -> bytes:
    return f"<{nonce}>".encode() * chance.choice((0, 1, 1, 2, 40, 700))


async def _plain(door: Door, context: ssl.SSLContext, tally: Tally, seed: int) -> None:
    """A client in HTTP/1.1, of one tenant after another."""
    chance = random.Random(seed)  # noqa: S311 - a replayable order
    while tally.good < REQUESTS:
        number = next(tally.numbers)
        tenant = TENANTS[(seed + number) % len(TENANTS)]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.edge.port, ssl=context, server_hostname=tenant, limit=1 << 20
        )
        for turn in range(chance.randint(2, 12)):
            nonce = f"n{number}.{turn}.{chance.getrandbits(64):x}"
            body = _body(chance, nonce)
            rows = [f"POST /v1/{nonce} HTTP/1.1", f"host: {tenant}", f"authorization: Bearer {tenant}-{nonce}",
                    f"idempotency-key: {nonce}", f"content-length: {len(body)}", "", ""]  # fmt: skip
            raw = "\r\n".join(rows).encode() + body
            fate = chance.random()
            if fate < 0.08:
                writer.write(raw[: chance.randrange(1, len(raw))])
                tally.spoiled += 1
                break
            writer.write(raw)
            if fate < 0.14:
                await asyncio.sleep(0)
                tally.spoiled += 1
                break
            answer = await _answer(reader)
            tally.judge(_told(tenant, nonce, body), answer)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.drain()
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """One answer's body; empty when there was none, or an error."""
    top = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in top[:14]:
        return b""
    if b"content-length: " in top:
        return await reader.readexactly(int(top.partition(b"content-length: ")[2].partition(b"\r")[0]))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


async def _streams(door: Door, context: ssl.SSLContext, tally: Tally, seed: int) -> None:
    """A client in HTTP/2: several streams at once, some of them reset with a body half sent."""
    chance = random.Random(seed)  # noqa: S311 - a replayable order
    while tally.good < REQUESTS:
        number = next(tally.numbers)
        tenant = TENANTS[(seed + number) % len(TENANTS)]
        async with talking(door, tenant, context=context) as talk:
            for turn in range(chance.randint(2, 6)):
                asked: dict[int, dict[str, str]] = {}
                frames = b""
                for lane in range(STREAMS):
                    stream = 1 + 2 * (turn * STREAMS + lane)
                    nonce = f"h{number}.{turn}.{lane}.{chance.getrandbits(64):x}"
                    body = _body(chance, nonce)
                    rows = pseudo(b"POST", f"/v1/{nonce}".encode(), tenant.encode())
                    rows += [
                        (b"authorization", f"Bearer {tenant}-{nonce}".encode()),
                        (b"idempotency-key", nonce.encode()),
                    ]
                    frames += head(stream, rows)
                    if chance.random() < 0.15:
                        frames += frame(DATA, 0, stream, body[: len(body) // 2][:9000]) + frame(
                            RESET, 0, stream, b"\0\0\0\x08"
                        )
                        tally.spoiled += 1
                        continue
                    pieces = [body[at : at + 9000] for at in range(0, len(body), 9000)] or [b""]
                    frames += b"".join(frame(DATA, 0, stream, piece) for piece in pieces) + frame(
                        DATA, END_STREAM, stream
                    )
                    asked[stream] = _told(tenant, nonce, body)
                await talk.say(frames)
                await talk.until(set(asked), 20)
                for stream, told in asked.items():
                    tally.judge(told, talk.bodies[stream])
                if talk.over:
                    break


async def _run(door: Door) -> Tally:
    plain, h2 = door.tls(), door.tls("h2")
    tally = Tally()
    await asyncio.gather(
        *(_plain(door, plain, tally, seed) for seed in range(WORKERS)),
        *(_streams(door, h2, tally, 1000 + seed) for seed in range(WORKERS // 12)),
    )
    return tally


def test_ten_thousand_requests_of_several_tenants_and_none_crosses() -> None:
    with opened(Edge(port=free_port(), domains=("ai.example.org",)), TENANTS[2:]) as door:
        door.gateway.otherwise = _repeat
        tally = asyncio.run(_run(door))
        seen = list(door.gateway.requests)
        assert not door.gateway.garbage
    assert not tally.wrong, f"{len(tally.wrong)}:\n" + "\n".join(tally.wrong[:10])
    assert tally.good >= REQUESTS
    assert tally.spoiled > 500
    by_connection: defaultdict[int, set[str]] = defaultdict(set)
    for request in seen:
        (key,), (host,), (nonce,) = (request.values(n) for n in ("authorization", "x-freehold-host", "idempotency-key"))
        assert key == f"Bearer {host}-{nonce}"
        assert request.target == f"/v1/{nonce}"
        assert request.body == f"<{nonce}>".encode() * (len(request.body) // len(f"<{nonce}>"))
        by_connection[request.connection].add(host)
    shared = [hosts for hosts in by_connection.values() if len(hosts) > 1]
    assert len(shared) > 20, "the tenants met on no upstream connection"
    assert len(by_connection) < len(seen) / 3
