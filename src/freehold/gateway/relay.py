"""One POST to a runner, its events pushed on as they come. The only place where the gateway talks to a runner.

A runner's answer is not trusted: events are decoded against the vocabulary, lines are bounded, silence has a limit, and
a stream that stops without `Finished` or `Failed` is an engine failure, never a quiet end. A runner that was gone
before it had said anything raises `Unstarted`: that exchange may go to another.
"""

from collections.abc import Callable

import msgspec

from freehold.protocol.chat import RUNNER_CODES, Embeddings, Event, Failed, decode_events
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.http import PeerGone
from freehold.protocol.pushed import Flow, PushClient

_LARGEST_REFUSAL = 64 << 10
_LARGEST_EMBEDDINGS = 64 << 20
_LONGEST_LINE = 1 << 20


class Unstarted(Unavailable):
    """The runner was gone before it said anything of this exchange."""


class _Receiver:
    """What the receivers share: an answer that is not 200 is a `Failed`."""

    def __init__(self, attach: Callable[[Flow], None]) -> None:
        self.begun = attach
        self.heard = False
        self._kept: list[bytes] = []
        self._size = 0

    def keep(self, data: bytes, limit: int) -> None:
        """Keep bytes for the end. Raises when they are more than `limit`."""
        self._kept.append(data)
        self._size += len(data)
        if self._size > limit:
            raise failure("engine_failed")

    def refusal(self) -> Refused | Unavailable:
        """What an answer that is not 200 stands for."""
        return failure(msgspec.json.decode(b"".join(self._kept), type=Failed).code)


class ChatReceiver(_Receiver):
    """Decodes events; `on_events` gets those of each read and says True after the last."""

    def __init__(self, on_events: Callable[[list[Event]], bool], attach: Callable[[Flow], None]) -> None:
        super().__init__(attach)
        self._on_events = on_events
        self._rest = b""

    def chunk(self, status: int, data: bytes) -> bool:
        """See `pushed.Receiver`."""
        self.heard = True
        if status != 200:
            self.keep(data, _LARGEST_REFUSAL)
            return False
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise failure("engine_failed")
        return self._on_events(decode_events(whole)) if newline else False

    def ended(self, status: int) -> None:
        """See `pushed.Receiver`."""
        raise failure("engine_failed") if status == 200 else self.refusal()


class EmbeddingsReceiver(_Receiver):
    """Gathers the one object of an embeddings answer into `result`."""

    result: Embeddings

    def chunk(self, status: int, data: bytes) -> bool:
        """See `pushed.Receiver`."""
        self.heard = True
        self.keep(data, _LARGEST_EMBEDDINGS if status == 200 else _LARGEST_REFUSAL)
        return False

    def ended(self, status: int) -> None:
        """See `pushed.Receiver`."""
        if status != 200:
            raise self.refusal()
        self.result = msgspec.json.decode(b"".join(self._kept), type=Embeddings)


async def relay(
    runner: PushClient,
    path: str,
    body: bytes,
    receiver: ChatReceiver | EmbeddingsReceiver,
    *,
    first_event_timeout: float,
    idle_timeout: float,
) -> None:
    """Ask a runner and push its answer to `receiver`, whole. Times in seconds.

    Raises Refused or Unavailable with the fixed text of the runner's code, 504 when the runner stays silent, Unstarted
    when it was gone before it said anything.
    """
    try:
        await runner.post(path, body, receiver, first=first_event_timeout, idle=idle_timeout)
    except TimeoutError:
        raise failure("engine_timeout") from None
    except msgspec.DecodeError:
        raise failure("engine_failed") from None
    except PeerGone:
        status, text = RUNNER_CODES["engine_failed"]
        kind = Unavailable if receiver.heard else Unstarted
        raise kind(text, status=status, code="engine_failed") from None


def failure(code: str) -> Refused | Unavailable:
    """The error that a client gets for a runner's code; an unknown code counts as `engine_failed`."""
    if code not in RUNNER_CODES:
        code = "engine_failed"
    status, text = RUNNER_CODES[code]
    if status < 500:
        return Refused(text, status=status, code=code)
    return Unavailable(text, status=status, code=code, retry_after=2 if status == 503 else None)
