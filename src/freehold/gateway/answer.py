"""A chat answer on its way to the client: events in, the client's dialect out, piece by piece or whole.

Made by `exchange` for each exchange; `relay` pushes events into it straight from the runner's socket.
"""

from freehold.gateway.call import Call
from freehold.gateway.relay import failure
from freehold.protocol.chat import Delta, Event, Failed, Finished, ToolDelta
from freehold.protocol.dialect import Asked, Writer
from freehold.protocol.errors import Refused, Unavailable


class Answer:
    """Writes events to the call. `end` is there when the runner has said that it is done."""

    __slots__ = ("_call", "_opened", "_said", "_stream", "end", "writer")

    def __init__(self, call: Call, asked: Asked, writer: Writer) -> None:
        self._call = call
        self._stream = asked.stream
        self._opened = False
        self.writer = writer
        self._said = 0  # about as many tokens
        self.end: Finished | None = None

    def take(self, events: list[Event]) -> bool:
        """The events of one read. True after the last one. Raises what a `Failed` stands for."""
        said = [self._opening()] if self._stream and events else []
        failed: Failed | None = None
        stream, piece, gather = self._stream, self.writer.piece, self.writer.gather
        for event in events:
            if isinstance(event, Delta) or isinstance(event, ToolDelta):  # noqa: SIM101 - half the cost of a tuple
                if stream:
                    said.append(piece(event))
                    self._said += 1
                else:
                    gather(event)
                    self._said += 1 + len(event.text if isinstance(event, Delta) else event.arguments) // 4
            elif isinstance(event, Finished):
                self.end = event
                break
            else:
                failed = event
                break
        if said:
            self._call.write(b"".join(said))
        if failed is not None:
            raise failure(failed.code)
        return self.end is not None

    def tokens(self, prompt: int) -> int:
        """What the exchange has used: as the engine counted, or, unfinished, the estimated prompt and what was said."""
        if self.end is not None:
            return self.end.usage.prompt + self.end.usage.completion
        return prompt + self._said

    def close(self) -> None:
        """Send the end of a complete answer."""
        if self.end is None:
            raise failure("engine_failed")
        if self._stream:
            self._call.end(self._opening() + self.writer.closing(self.end))
        else:
            self._call.reply(self.writer.whole(self.end))

    def fail(self, error: Refused | Unavailable) -> None:
        """End a stream that has begun with the error; raise it where the status can still tell."""
        if not self._call.streaming:
            raise error
        self._call.end(self._opening() + self.writer.broken(error, self._call.id))

    def _opening(self) -> bytes:
        if self._opened:
            return b""
        self._opened = True
        return self.writer.opening()
