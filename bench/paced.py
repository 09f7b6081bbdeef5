"""`python -m bench.paced SOCKET PORT`: a mock engine that paces: 20 ms to the first token, then one every 5 ms.

It speaks both languages: our runner's events on `/chat`, OpenAI's stream on any other path. One timer for all streams,
so that it is not what is measured. A request with the word stay-open begins and then hardly goes on.
"""

import asyncio
import json
import sys
from collections.abc import Iterator

import uvloop

from bench.mock import PIECE, TOKENS

FIRST, EACH = 0.020, 0.005
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n"
_DELTA = (json.dumps({"type": "delta", "text": PIECE}) + "\n").encode()
_USAGE = {"prompt": 12, "completion": TOKENS, "cached": 0}
_FINISHED = (json.dumps({"type": "finished", "reason": "stop", "usage": _USAGE}) + "\n").encode()


def _openai(delta: dict[str, str], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode()


_CHUNK, _STOP = _openai({"content": PIECE}, None), _openai({}, "stop") + b"data: [DONE]\n\n"


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, end, body = self._rest.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or b"0")
        if len(body) < length:
            return
        self._rest = b""
        ours = b" /chat" in head.split(b"\r\n", 1)[0]
        pause = 30.0 if b"stay-open" in body else EACH
        self._transport.write(_HEAD % (b"application/x-ndjson" if ours else b"text/event-stream"))
        pieces = _pieces(_DELTA if ours else _CHUNK, _FINISHED if ours else _STOP)
        self._loop.call_later(FIRST, self._say, pieces, pause, self._loop.time() + FIRST)

    def _say(self, pieces: Iterator[bytes], pause: float, due: float) -> None:
        piece = next(pieces, None)
        if self._transport.is_closing():
            return
        if piece is None:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self._loop.call_at(due + pause, self._say, pieces, pause, due + pause)


def _pieces(each: bytes, last: bytes) -> Iterator[bytes]:
    for _ in range(TOKENS):
        yield each
    yield last


async def _serve(socket: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    unix = await loop.create_unix_server(_Connection, socket, backlog=4096)
    await loop.create_server(_Connection, "127.0.0.1", port, backlog=4096)
    await unix.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
