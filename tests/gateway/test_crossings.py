"""No answer reaches another: ten thousand exchanges of many principals, cancelled at every point where one can wait.

Each request carries a nonce of its own and the runner answers with that nonce, so whatever a client reads says whose it
is: the text, the exchange id of head and body, the response that was kept.
"""

import asyncio
import contextlib
import json
import random
import re

import pytest

from freehold.identity import keys
from tests.conftest import Home, until
from tests.gateway.acting import CHATS, Exchange, message, person, staged, vectors
from tests.gateway.conftest import HEAD, LAST, chunk, delta

pytestmark = [pytest.mark.slow, pytest.mark.soak]

EXCHANGES, AT_ONCE = 10_000, 100
NONCE = re.compile(rb"n[0-9a-f]{24}")
PATHS = (*CHATS, "/v1/embeddings")


async def echoes(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A runner that repeats the nonce of its request again and again, with a turn of the loop between."""
    found = NONCE.search(body)
    assert found is not None
    nonce = found[0].decode()
    if b'"inputs"' in body:
        writer.write(vectors(body))
        return
    writer.write(HEAD)
    for _ in range(int(nonce[-1], 16) % 5 + 1):
        writer.write(chunk(delta(f"{nonce} ")))
        await asyncio.sleep(0)
    writer.write(chunk({"type": "finished", "reason": "stop", "usage": {"prompt": 3, "completion": 5, "cached": 0}}))
    writer.write(LAST)


async def exchange(home: Home, secret: str, number: int, chance: random.Random) -> tuple[int, int]:
    """One exchange that is perhaps left: nonces of its own that came back, and nonces of others."""
    nonce, path = f"n{number:08x}{chance.getrandbits(64):016x}", chance.choice(PATHS)
    if path == "/v1/embeddings":
        body: dict[str, object] = {"model": "e", "input": nonce}
    elif path == "/v1/responses":
        body = {"model": "m", "input": nonce, "stream": chance.random() < 0.5, "store": chance.random() < 0.1}
    else:
        body = {**CHATS[path], "messages": [{"role": "user", "content": nonce}], "stream": chance.random() < 0.7}
    sent = message(home, path, body, secret)
    one = Exchange(*await asyncio.open_unix_connection(str(home.settings.layout.gateway_socket)))
    leaves = chance.random() < 0.8
    one.writer.write(sent if not leaves or chance.random() < 0.9 else sent[: chance.randrange(len(sent))])
    got = b""
    if leaves:
        for _ in range(chance.randrange(40)):  # every await of the way is some turns of the loop from here
            await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.choice((0.0, 0.001, 0.005))):
                got = await one.reader.read(1 << 16)
    else:
        got = await one.reader.read()
        assert got.startswith(b"HTTP/1.1 200 "), got[:200]
        assert path == "/v1/embeddings" or nonce.encode() in got
    one.writer.transport.abort()
    found = NONCE.findall(got)
    return found.count(nonce.encode()), sum(other != nonce.encode() for other in found)


async def test_ten_thousand_cancellations_deliver_nothing_to_another(home: Home) -> None:
    chance = random.Random(29)  # noqa: S311 - what is asked and when it is left
    secrets = [home.api_key, *[(await person(home))[1] for _ in range(7)]]
    async with staged(home, slots=32) as stage:
        stage.script = echoes
        own = foreign = 0
        for start in range(0, EXCHANGES, AT_ONCE):
            asked = [exchange(home, chance.choice(secrets), start + n, chance) for n in range(AT_ONCE)]
            for mine, others in await asyncio.gather(*asked):
                own, foreign = own + mine, foreign + others
            stage.seen.clear()
        assert foreign == 0
        assert own > EXCHANGES / 4, own
        await until(lambda: stage.in_flight == 0, 1.0)


async def test_a_kept_connection_answers_each_request_with_its_own(home: Home) -> None:
    """The edge keeps its connections: what follows on one after every sort of answer is about the new request alone."""
    chance = random.Random(30)  # noqa: S311 - what is asked
    _, other = await keys.create_key(home.database, home.key, home.workspace.id, None, "other")
    async with staged(home) as stage:
        stage.script = echoes
        reader, writer = await asyncio.open_unix_connection(str(home.settings.layout.gateway_socket))
        ids = set()
        for number in range(400):
            nonce = f"n{number:024x}"
            body = {"model": chance.choice(("m", "nope")), "messages": [{"role": "user", "content": nonce}]}
            secret = chance.choice((home.api_key, other, "fh_wrong"))
            sent = message(home, "/v1/chat/completions", body, secret).replace(b"connection: close\r\n", b"")
            writer.write(sent)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            answer = await reader.readexactly(length)
            assert set(NONCE.findall(answer)) <= {nonce.encode()}
            assert (nonce.encode() in answer) == head.startswith(b"HTTP/1.1 200 ")
            ids.add(head.partition(b"x-request-id: ")[2].partition(b"\r")[0])
            if b"error" in answer:
                assert json.loads(answer)["error"]["request_id"].encode() in head
        assert len(ids) == 400
        writer.transport.abort()
