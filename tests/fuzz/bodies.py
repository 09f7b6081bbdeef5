"""What the targets that read request bodies share: bodies to begin with, and what must hold of what was read."""

import json
from collections.abc import Callable, Iterator

import msgspec

from freehold.protocol.chat import ChatRequest
from freehold.protocol.dialect import Asked
from freehold.protocol.errors import Refused

TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object", "a": [1.5, None]}},
}


def reading(parse: Callable[[bytes], Asked]) -> Callable[[bytes], None]:
    """A run: either a refusal with a fixed text, or a request that the runner reads as it was meant."""

    def run(data: bytes) -> None:
        try:
            asked = parse(data)
        except Refused as error:
            assert 400 <= error.status < 500
            return
        assert b"\n" not in asked.encoded
        again = msgspec.json.decode(asked.encoded, type=ChatRequest)
        assert again.messages == asked.request.messages
        assert again.assistant == asked.request.assistant
        asked.request.affinity()
        asked.capped(7)

    return run


def encoded(*bodies: dict[str, object]) -> Iterator[bytes]:
    """Bodies as a client sends them."""
    for body in bodies:
        yield json.dumps(body).encode()
        yield json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
