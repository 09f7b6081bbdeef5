"""From a runner's lines to a client's events, in every dialect: only events of ours, each one event, each valid JSON.

A runner is not trusted. Whatever text it says must stay within the event that it is told in.
"""

import json
from collections.abc import Callable, Iterator

import msgspec

from freehold.gateway.relay import ChatReceiver, failure
from freehold.protocol import anthropic, openai, responses
from freehold.protocol.chat import Delta, Event, Failed, Finished, ToolDelta, Usage, encode_event
from freehold.protocol.dialect import Asked, Bounds, Writer
from freehold.protocol.errors import FreeholdError, Refused, Unavailable
from tests.fuzz.target import Target, cut

_QUESTION = b'{"model":"m","messages":[{"role":"user","content":"a"}],"stream":true}'
_ANTHROPIC = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}],"stream":true}'


def _asked() -> dict[str, Asked]:
    return {
        "chat": openai.parse(_QUESTION, Bounds()),
        "messages": anthropic.parse(_ANTHROPIC, Bounds()),
        "responses": responses.read(b'{"model":"m","input":"a","stream":true}', Bounds()).asked(),
    }


_ASKED = _asked()


def _told(events: list[Event], writer: Writer) -> bytes:
    said = writer.opening()
    for event in events:
        match event:
            case Failed():
                return said + writer.broken(failure(event.code), "exg_1")
            case Finished():
                return said + writer.closing(event)
            case _:
                said += writer.piece(event)
    return said + writer.broken(Unavailable("It broke off.", code="engine_failed"), "exg_1")


def _well_formed(stream: bytes) -> None:
    """Is this a run of events, each of which a client can read?"""
    assert stream.endswith(b"\n\n")
    assert b"\r" not in stream
    for event in stream[:-2].split(b"\n\n"):
        rows = event.split(b"\n")
        assert all(row.startswith((b"data: ", b"event: ", b"id: ")) for row in rows), event
        (data,) = [row[6:] for row in rows if row.startswith(b"data: ")]
        if data != b"[DONE]":
            json.loads(data)


def _received(pieces: list[bytes]) -> list[Event] | None:
    """The events up to the last, None when the runner is not to be believed."""
    events: list[Event] = []

    def take(some: list[Event]) -> bool:
        events.extend(some)
        return any(isinstance(event, Finished | Failed) for event in some)

    receiver = ChatReceiver(take, lambda _: None)
    try:
        for piece in pieces:
            if receiver.chunk(200, piece):
                return events
        receiver.ended(200)
    except (FreeholdError, msgspec.MsgspecError, ValueError) as error:
        assert isinstance(error, Refused | Unavailable | msgspec.DecodeError | UnicodeDecodeError), error
        return None
    raise AssertionError("an end without an end")


def run(data: bytes) -> None:
    """Receive, and tell in each dialect, as a stream and as a whole."""
    _, pieces = cut(data)
    events = _received(pieces)
    if events is None:
        return
    for name, asked in _ASKED.items():
        _well_formed(_told(events, asked.writer("exg_1", "m")))
        gathering = asked.writer("exg_1", "m")
        for event in events:
            if isinstance(event, Delta | ToolDelta):
                gathering.gather(event)
            elif isinstance(event, Finished):
                assert isinstance(json.loads(gathering.whole(event)), dict), name
                break


def seeds() -> Iterator[bytes]:
    """Answers of a text, of tool calls, and of a failure."""
    end: Callable[[str], Finished] = lambda reason: Finished(reason, Usage(3, 2, 1))  # type: ignore[arg-type]  # noqa: E731
    for events in (
        [Delta("Hel\r\n\r\ndata: x\n\n"), Delta("lo"), end("stop")],
        [ToolDelta(0, "call_1", "f"), ToolDelta(0, arguments='{"a":'), ToolDelta(0, arguments="1}"),
         ToolDelta(1, "c", "g", "{}"), end("tool_calls")],
        [Delta("\u2028\x00\ud7ff"), ToolDelta(5, "x"), Delta("y"), end("length")],
        [Delta("a"), Failed("engine_failed")],
    ):  # fmt: skip
        yield b"\x11\x30" + b"".join(encode_event(event).rstrip(b"\n") + b"\n" for event in events)  # type: ignore[arg-type]


TARGET = Target(run, seeds)
