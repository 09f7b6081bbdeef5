"""A chat answer on its way to the client: events in, the client's dialect out, piece by piece or whole.

Made by `exchange` for each exchange; `relay` pushes events into it straight from the runner's socket. An engine that
goes on beyond the tokens that it was granted (an outside one may ignore its limit) is not followed there: the answer
ends with the reason `length` and an explanation, and the connection to the runner is closed, which stops it.
"""

from freehold.gateway.call import Call
from freehold.gateway.relay import failure
from freehold.protocol.chat import Delta, Event, Failed, Finished, Stopped, ToolDelta, Usage
from freehold.protocol.dialect import Asked, Writer
from freehold.protocol.errors import Refused, Unavailable

_CHARACTERS_PER_TOKEN = 4  # to count by what no engine has counted
_LONGEST_TOKENS, _SLACK = 16, 64  # characters that a granted token may have; no honest answer has more on the average


class Answer:
    """Writes events to the call. `end` is there when the runner has said that it is done.

    `prompt` is the estimated tokens of the prompt, `granted` the tokens that the answer may have.
    """

    __slots__ = ("_call", "_characters", "_opened", "_pieces", "_stream", "end", "granted", "prompt", "writer")

    def __init__(self, call: Call, asked: Asked, writer: Writer, prompt: int, granted: int) -> None:
        self._call = call
        self._stream = asked.stream
        self._opened = False
        self._pieces = 0  # that say something: none has less than a token
        self._characters = 0
        self.writer = writer
        self.prompt = prompt
        self.granted = granted
        self.end: Finished | None = None
        call.told_broken = self.broken

    def take(self, events: list[Event]) -> bool:
        """The events of one read. True after the last one. Raises what a `Failed` stands for."""
        said = [self._opening()] if self._stream and events else []
        failed: Failed | None = None
        write = self.writer.piece if self._stream else None
        most, longest = self.granted, self.granted * _LONGEST_TOKENS + _SLACK
        for event in events:
            if isinstance(event, Delta) or isinstance(event, ToolDelta):  # noqa: SIM101 - half the cost of a tuple
                text = event.text if isinstance(event, Delta) else event.arguments
                characters = self._characters + (len(text) or _CHARACTERS_PER_TOKEN)
                if (text and self._pieces >= most) or characters > longest:
                    self.end = Stopped("length", Usage(self.prompt, self._said))
                    break
                self._pieces += 1 if text else 0
                self._characters = characters
                if write is not None:
                    said.append(write(event))
                else:
                    self.writer.gather(event)
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

    @property
    def tokens(self) -> int:
        """What the exchange has used: as the engine counted, or, unfinished, the estimated prompt and what was said."""
        if self.end is not None:
            return self.end.usage.prompt + self.end.usage.completion
        return self.prompt + self._said

    def close(self) -> None:
        """Send the end of a complete answer."""
        if self.end is None:
            raise failure("engine_failed")
        if self._stream:
            self._call.end(self._opening() + self.writer.closing(self.end))
        else:
            self._call.reply(self.writer.whole(self.end))

    def broken(self, error: Refused | Unavailable) -> bytes:
        """How a stream that has begun ends with an error."""
        return self._opening() + self.writer.broken(error, self._call.id)

    @property
    def _said(self) -> int:
        return max(self._pieces, self._characters // _CHARACTERS_PER_TOKEN)

    def _opening(self) -> bytes:
        if self._opened:
            return b""
        self._opened = True
        return self.writer.opening()
