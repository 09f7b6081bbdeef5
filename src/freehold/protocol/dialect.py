"""The seam between the gateway's exchange and the dialects that clients speak. Sans I/O.

A dialect is two things: a parser that turns a client's bytes into an `Asked`, and a `Writer` that turns our events into
the client's bytes, either piece by piece for a stream or gathered into one object. The exchange knows nothing else of a
dialect, so that a new one never touches the path of a request.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from freehold.protocol.chat import ChatRequest, Delta, Finished, ToolDelta
from freehold.protocol.errors import Refused, Unavailable


class Bounds(msgspec.Struct, frozen=True):
    """How much one request may ask for. `max_tokens` caps what one answer may cost."""

    max_depth: int = 64
    max_messages: int = 1000
    max_tokens: int = 4096


class Writer(Protocol):
    """One answer in a client's dialect. Stream methods give whole server-sent events, ready to send."""

    def opening(self) -> bytes:
        """What a stream begins with, before any piece; may be empty."""
        ...

    def piece(self, event: Delta | ToolDelta) -> bytes:
        """One event of a stream."""
        ...

    def closing(self, end: Finished) -> bytes:
        """The end of a stream that was complete, its last marker included."""
        ...

    def broken(self, error: Refused | Unavailable, exchange_id: str) -> bytes:
        """The end of a stream that failed after it had begun."""
        ...

    def gather(self, event: Delta | ToolDelta) -> None:
        """Keep an event for `whole`."""
        ...

    def whole(self, end: Finished) -> bytes:
        """The gathered answer as one JSON object."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """A parsed request. `encoded` is `request` as the runner reads it; `writer` makes the answer's writer, from the
    exchange id and the name of what answers. `priority` is what the client asked for, if it did."""

    request: ChatRequest
    stream: bool
    encoded: bytes
    writer: Callable[[str, str], Writer]
    priority: Literal["interactive", "standard", "batch"] | None = None

    def capped(self, max_tokens: int) -> bytes:
        """`encoded` with an answer of at most so many tokens."""
        return msgspec.json.encode(msgspec.structs.replace(self.request, max_tokens=max_tokens))


class Dialect(Protocol):
    """What the exchange needs of a dialect's module."""

    def parse(self, body: bytes, bounds: Bounds) -> Asked:
        """Bytes from a client → `Asked`. Raises Refused 400."""
        ...

    def error(self, error: Refused | Unavailable, exchange_id: str) -> bytes:
        """The JSON body of an answer that is an error."""
        ...
