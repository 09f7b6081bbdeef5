"""Cutting a byte stream into lines and server-sent events, sans I/O and with a bound.

Used by the relay (NDJSON from a runner), by the runner (SSE from an engine) and by the console. What comes out does not
depend on where the stream was cut; a line longer than the bound raises instead of growing without end.
"""

from collections.abc import Iterator


class LineTooLong(ValueError):
    """A peer sent a line longer than the bound."""


class LineCutter:
    """Feed bytes, get complete lines without their end (LF or CRLF). `limit` is in bytes per line."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order. Raises LineTooLong."""
        lines = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._limit or any(len(line) > self._limit for line in lines):
            raise LineTooLong(f"a line of more than {self._limit} bytes")
        return [line[:-1] if line.endswith(b"\r") else line for line in lines]

    @property
    def pending(self) -> bool:
        """True when the stream stopped in the middle of a line."""
        return bool(self._rest)


def sse_data(lines: list[bytes]) -> Iterator[bytes]:
    """The payloads of `data:` lines. Engines send one line an event, so events need no assembling here."""
    for line in lines:
        if line.startswith(b"data:"):
            yield line[5:].removeprefix(b" ")


def sse_event(payload: bytes, *, event_id: str = "") -> bytes:
    """One server-sent event. `payload` is JSON on one line (a newline in it would end the event)."""
    return b"id: %s\ndata: %s\n\n" % (event_id.encode(), payload) if event_id else b"data: %s\n\n" % payload
