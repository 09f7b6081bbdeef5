"""The cutter of lines and of server-sent events: the same lines wherever the stream was cut, none beyond the bound."""

from collections.abc import Iterator

from freehold.protocol.lines import LineCutter, LineTooLong, sse_data, sse_event
from tests.fuzz.target import Target, cut

LIMIT = 300


def _fed(pieces: list[bytes]) -> tuple[list[bytes], bool, bool]:
    cutter, lines = LineCutter(LIMIT), list[bytes]()
    try:
        for piece in pieces:
            lines += cutter.feed(piece)
    except LineTooLong:
        return lines, False, True
    return lines, cutter.pending, False


def run(data: bytes) -> None:
    """Whole and in pieces, as lines and as events."""
    raw, pieces = cut(data)
    whole, parts = _fed([raw]), _fed(pieces)
    assert whole[1:] == parts[1:]
    if whole[2]:
        return
    assert whole == parts
    expected = [line.removesuffix(b"\r") for line in raw.split(b"\n")[:-1]]
    assert whole[0] == expected
    assert all(len(line) <= LIMIT for line in whole[0])
    payloads = list(sse_data(whole[0]))
    written = b"".join(sse_event(payload) for payload in payloads)
    assert list(sse_data(LineCutter().feed(written))) == [payload.removesuffix(b"\r") for payload in payloads]


def seeds() -> Iterator[bytes]:
    """Streams of both kinds."""
    yield b"\x03\x05" + b'data: {"a":1}\n\ndata:[DONE]\r\n\r\n: waiting\n\nid: 3\nevent: x\ndata: y\n\n'
    yield b"\x03\x05" + b'{"type":"delta","text":"a"}\n{"type":"finished"}\n'
    yield b"\x17\x01" + b"a" * 290 + b"\r\n" + b"b" * 299 + b"\n" + b"c"


TARGET = Target(run, seeds)
