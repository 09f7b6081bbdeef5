"""Attacks on the translation from HTTP/2: what must not become a request of HTTP/1.1, or another one than was meant.

A vector is the frames behind a connection's preface. Its first request goes to `/v1/first/N`; a body that could be read
as a request goes to `/v1/hidden/N`. Numbers have four digits, so that frames are made once and only filled in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tests.edge import frames as h2
from tests.edge.frames import END_HEADERS, END_STREAM, PADDED, Row, block, frame, head, pseudo
from tests.edge.test_paths import hostile
from tests.edge.test_requests import TRUSTED
from tests.hostile.grammar import Meant

FENCE = 101
"""The stream of the harmless request behind every vector."""

FORGED = b"6.6.6.6"

_NUMBER = b"NNNN"
_PATH = b"/v1/first/" + _NUMBER
_BASE = pseudo(b"POST", _PATH)
_HIDDEN = b"GET /v1/hidden/" + _NUMBER + b" HTTP/1.1\r\nhost: localhost\r\n\r\n"
_HIDDEN_HEAD = head(1, pseudo(b"GET", b"/v1/hidden/" + _NUMBER), end=True)
_BODY = frame(h2.DATA, END_STREAM, 1, _HIDDEN)
_HALF = frame(h2.DATA, 0, 1, _HIDDEN)
_LENGTH = b"%d" % len(_HIDDEN)

_ODD = [bytes([code]) for code in (*range(0x21), *b'"(),/:;<=>?@[\\]{}', 0x7F, 0x80, 0x85, 0xA0, 0xFF)]
_FORBIDDEN = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings")
_TE = (
    b"trailers",
    b"chunked",
    b"gzip",
    b"trailers, chunked",
    b"TRAILERS",
    b"",
    b"trailers;q=1",
    b"x\r\ntransfer-encoding: chunked",
)
_LENGTHS = (b"0", b"1", b"500", b"-1", b"+{n}", b"x", b"", b"{n},{n}", b"{n} ", b" {n}", b"0x{n}", b"{n}\r\ntransfer-encoding: chunked", b"{n}.0",
            b"18446744073709551616", b"99999999999999999999999", b"0{n}", b"{n}\x00", b"{n};", b"\xef\xbc\x93")  # fmt: skip
_PATHS = (b"", b" ", b"*", b"{t} HTTP/1.1", b"{t} HTTP/1.1\r\nx: y", b"{t}\r\nx: y", b"{t}\nx: y", b"{t}\x00", b"{t} ", b" {t}", b"{t}\t", b"{t}#x",
          b"http://localhost{t}", b"https://localhost{t}", b"//localhost{t}", b"localhost{t}", b"v1/x", b"{t}?a b", b"{t}?a\r\nb", b"{t}\\x", b"{t}/../x",
          b"{t}//x", b"{t}%2f", b"{t}%00", b"{t};x", b"{t}\x7f", b"{t}\xff", b"?{t}", b"{t}?" + b"x" * 40000, b"{t} HTTP/1.1\r\n\r\nGET /v1/hidden/NNNN")  # fmt: skip
_AUTHORITIES = (b"", b"evil.example", b"localhost:1", b"localhost, evil.example", b"localhost\r\nx: y", b"localhost\x00", b"user@localhost", b"localhost/x",
                b"localhost evil.example", b"localhost#x", b" localhost", b"localhost ", b"[localhost]", b"localhost?x", b"localhost:", b"https://localhost")  # fmt: skip
_METHODS = (b"", b"get", b"POST ", b" POST", b"POST\t", b"POST /x HTTP/1.1\r\nx: y\r\n\r\n", b"PO\x00ST", b"PO ST", b"POST\r\n", b"TRACE", b"CONNECT", b"PRI",
            b"TRACK", b"\xff", b"X" * 5000, b"GET http://evil.example/ HTTP/1.1\r\nhost: a\r\n\r\nPOST")  # fmt: skip
_SCHEMES = (
    b"",
    b"http",
    b"HTTPS",
    b"ftp",
    b"javascript",
    b"https://localhost/v1/x",
    b"https\r\nx: y",
    b"https ",
    b"h\x00ttps",
    b"file",
    b"https://evil.example/?x=",
)
_TRAILERS = ((b"content-length", b"3"), (b"transfer-encoding", b"chunked"), (b"host", b"evil.example"), (b":path", b"/v1/hidden/0"), (b":method", b"GET"),
             (b"x-freehold-client", FORGED), (b"a\r\nb", b"c"), (b"a", b"b\r\nc: d"), (b"A", b"b"), (b":status", b"200"), (b"connection", b"close"))  # fmt: skip
_COMPRESSION = {
    "an index of nothing": b"\xff\x80\x01", "index 0": b"\x80", "an endless integer": b"\xff" + b"\xff" * 12, "a string beyond the block": b"\x10\x7f\xff\x7f",
    "a table too large": b"\x3f\xff\xff\x7f", "a late table size": b"\x82\x20", "bad Huffman": b"\x10\x81\xff\x81\xff", "the end in Huffman": b"\x10\x01a\x84\xff\xff\xff\xff",
}  # fmt: skip
_INTERJECTIONS = {
    "push": frame(h2.PUSH, END_HEADERS, 1, b"\0\0\0\x02" + block(pseudo(b"GET", b"/v1/hidden/0"))), "settings too short": frame(h2.SETTINGS, 0, 0, b"\0\x03\0"),
    "settings of a stream": frame(h2.SETTINGS, 0, 1), "settings' ack with more": frame(h2.SETTINGS, 1, 0, b"\0" * 6),
    "push enabled oddly": frame(h2.SETTINGS, 0, 0, b"\0\x02\0\0\0\x02"), "window too large": frame(h2.SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"),
    "frames too small": frame(h2.SETTINGS, 0, 0, b"\0\x05\0\0\0\x01"), "ping too short": frame(h2.PING, 0, 0, b"1234567"), "ping of a stream": frame(h2.PING, 0, 1, b"12345678"),
    "reset of nothing": frame(h2.RESET, 0, 9, b"\0\0\0\x08"), "reset too short": frame(h2.RESET, 0, 1, b"\0"), "window of 0": frame(h2.WINDOW, 0, 0, b"\0\0\0\0"),
    "window beyond": frame(h2.WINDOW, 0, 0, b"\x7f\xff\xff\xff"), "priority too short": frame(h2.PRIORITY, 0, 1, b"\0"),
    "goaway too short": frame(h2.GOAWAY, 0, 0, b"\0"), "goaway of a stream": frame(h2.GOAWAY, 0, 1, b"\0" * 8),
}  # fmt: skip


@dataclass(frozen=True)
class Vector:
    """`template` is its frames with the number left open. `plain` is what the strict reading of RFC 9113 finds.

    `mild`: the request without the odd rows may pass too. `breaks`: what follows the request ends the connection, so
    that an answer may be lost.
    """

    family: str
    what: str
    template: bytes
    plain: Meant | None = None
    mild: bool = False
    breaks: bool = False

    def make(self, number: int) -> bytes:
        """The frames of the vector of this number."""
        return self.template.replace(_NUMBER, b"%04d" % number)

    def meant(self, number: int) -> Meant | None:
        """What it means; None when it means nothing."""
        return None if self.plain is None else _filled(self.plain, number)


FIRST = Meant("POST", _PATH.decode(), _HIDDEN)


def first(number: int) -> Meant:
    """The request that a vector begins with: its body is a request that nobody must see."""
    return _filled(FIRST, number)


def fence(number: int) -> bytes:
    """A harmless request, sent behind every vector."""
    return head(FENCE, pseudo(b"GET", b"/v1/fence/%d" % number), end=True)


def vectors() -> list[Vector]:
    """All of them."""
    return [*_rows(), *_lengths(), *_trusted(), *_pseudo(), *_bodies(), *_heads(), *_interjected()]


def _filled(request: Meant, number: int) -> Meant:
    digits = b"%04d" % number
    target = request.target.replace(_NUMBER.decode(), digits.decode())
    return replace(request, target=target, body=request.body.replace(_NUMBER, digits))


def _sent(rows: Iterable[Row], tail: bytes = _BODY) -> bytes:
    return head(1, rows) + tail


def _row(family: str, name: bytes, value: bytes, *, fine: bool = False) -> Vector:
    what = f"{name!r}: {value[:60]!r}"
    return Vector(family, what, _sent([*_BASE, (name, value)]), FIRST if fine else None, mild=True)


def _rows() -> Iterator[Vector]:
    yield _row("plain", b"accept", b"a", fine=True)
    for odd in _ODD:
        for name in (b"acc" + odd + b"ept", odd + b"accept", b"accept" + odd):
            yield _row("octet in a name", name, b"a")
        harmless = odd > b" " and odd != b"\x7f"
        for value in (b"a" + odd + b"b", odd + b"a", b"a" + odd):
            yield _row("octet in a value", b"accept", value, fine=harmless)
        yield _row("octet before a row", b"accept", b"a" + odd + b"\r\nx-freehold-client: " + FORGED)
        yield _row("octet in a cookie", b"cookie", b"a=" + odd + b"b", fine=harmless)
        yield _row("octet in a credential", b"authorization", b"Bearer a" + odd, fine=harmless)
    for name in (b"Accept", b"ACCEPT", b"accePt", b"Content-Length", b"Transfer-Encoding", b"Host", b"Cookie"):
        yield _row("upper case", name, b"5")
    for name in _FORBIDDEN:
        for value in (b"chunked", b"close", b"websocket", b"", b"x-request-id", b"content-length", b"h2c"):
            yield _row("of the connection", name, value)
    for value in _TE:
        yield _row("te", b"te", value, fine=value == b"trailers")
    for value in (b"localhost", b"evil.example", b"", b"localhost, evil.example", b"localhost\r\nx: y"):
        yield _row("host", b"host", value, fine=value == b"localhost")


def _lengths() -> Iterator[Vector]:
    right = (b"content-length", _LENGTH)
    for value in _LENGTHS:
        yield Vector("length", repr(value), _sent([*_BASE, (b"content-length", value.replace(b"{n}", _LENGTH))]))
    yield Vector("length", "right", _sent([*_BASE, right]), FIRST)
    yield Vector("length", "twice", _sent([*_BASE, right, right]))
    yield Vector("length", "two", _sent([*_BASE, right, (b"content-length", b"3")]))
    yield Vector("length", "without a body", head(1, [*_BASE, right], end=True))
    yield Vector("length", "and chunks", _sent([*_BASE, right, (b"transfer-encoding", b"chunked")]))


def _trusted() -> Iterator[Vector]:
    for name in map(str.encode, TRUSTED):
        fine = name != b"te"
        yield _row("the edge's own", name, FORGED, fine=fine)
        twice = _sent([*_BASE, (name, FORGED), (name, FORGED + b", 7.7.7.7")])
        yield Vector("the edge's own, twice", repr(name), twice, FIRST if fine else None, mild=True)
        yield _row("the edge's own, in upper case", name.upper(), FORGED)
        yield _row("the edge's own, named in connection", b"connection", name)
        if b"-" in name:
            yield _row("the edge's own, underscored", name.replace(b"-", b"_"), FORGED)


def _changed(family: str, name: bytes, values: Iterable[bytes], *, mild: bool = False) -> Iterator[Vector]:
    for value in values:
        rows = [(key, value.replace(b"{t}", _PATH) if key == name else old) for key, old in _BASE]
        yield Vector(family, repr(value[:60]), _sent(rows), mild=mild)


def _pseudo() -> Iterator[Vector]:
    yield from _changed(":path", b":path", _PATHS)
    yield from _changed("path of two readings", b":path", map(str.encode, hostile()))
    yield from _changed(":authority", b":authority", _AUTHORITIES)
    yield from _changed(":method", b":method", _METHODS)
    yield from _changed(":scheme", b":scheme", _SCHEMES, mild=True)  # HTTP/1.1 has none: it is dropped
    for odd in _ODD[:33]:
        yield from _changed("octet in :path", b":path", (b"{t}" + odd + b"x", b"{t}?" + odd))
        yield from _changed("octet in :method", b":method", (b"PO" + odd + b"ST",))
        yield from _changed("octet in :authority", b":authority", (b"local" + odd + b"host",))
    for row in pseudo(b"GET", b"/v1/hidden/0", b"evil.example"):
        name = row[0]
        others, own = [one for one in _BASE if one[0] != name], [one for one in _BASE if one[0] == name]
        yield Vector("twice", repr(name), _sent([*_BASE, row]))
        yield Vector("twice, before", repr(name), _sent([row, *_BASE]))
        yield Vector("missing", repr(name), _sent(others))
        yield Vector("late", repr(name), _sent([*others, (b"accept", b"a"), *own]))
        yield Vector("upper case", repr(name), _sent([*others, (name.upper(), own[0][1])]))
    for name in (
        b":foo",
        b":",
        b":status",
        b":protocol",
        b":version",
        b":path ",
        b": path",
        b"::path",
        b":host",
        b":method:",
    ):
        yield Vector("unknown", repr(name), _sent([*_BASE, (name, b"200")]))
        yield Vector("unknown, before", repr(name), _sent([(name, b"200"), *_BASE]))


def _body(what: str, tail: bytes, plain: Meant | None = None, *, mild: bool = False, breaks: bool = False) -> Vector:
    return Vector("body", what, _sent(_BASE, tail), plain, mild, breaks)


def _trailer(row: Row) -> bytes:
    return frame(h2.HEADERS, END_HEADERS | END_STREAM, 1, block([row]))


def _bodies() -> Iterator[Vector]:
    size, end = bytes([len(_HIDDEN)]), frame(h2.DATA, END_STREAM, 1)
    padded = END_STREAM | PADDED
    yield _body("in two frames", frame(h2.DATA, 0, 1, _HIDDEN[:9]) + frame(h2.DATA, END_STREAM, 1, _HIDDEN[9:]), FIRST)
    yield _body("padded", frame(h2.DATA, padded, 1, b"\x05" + _HIDDEN + b"\0" * 5), FIRST)
    yield _body("padded with a request", frame(h2.DATA, padded, 1, size + _HIDDEN * 2), FIRST)
    yield _body("more padding than frame", frame(h2.DATA, padded, 1, b"\xff" + _HIDDEN))
    yield _body("after its end", _BODY + _BODY, FIRST, breaks=True)
    yield _body("after its end, a head", _BODY + _HIDDEN_HEAD, FIRST, breaks=True)
    yield _body("on stream 0", frame(h2.DATA, END_STREAM, 0, _HIDDEN))
    yield _body("on a stream that is not there", frame(h2.DATA, END_STREAM, 3, _HIDDEN))
    yield _body("on an even stream", frame(h2.DATA, END_STREAM, 2, _HIDDEN))
    yield _body("too large a frame", frame(h2.DATA, END_STREAM, 1, _HIDDEN * 2000))
    yield _body("no end", _HALF)
    yield _body("ended by a reset", _HALF + frame(h2.RESET, 0, 1, b"\0\0\0\x08"))
    yield _body("an unknown frame between", _HALF + frame(0x77, 0xFF, 1, _HIDDEN) + end, FIRST)
    yield _body("harmless trailers", _HALF + _trailer((b"x", b"y")), FIRST)
    for row in _TRAILERS:
        yield _body(f"trailer {row!r}", _HALF + _trailer(row), mild=True)
    yield _body("trailers without an end", _HALF + frame(h2.HEADERS, END_HEADERS, 1, block([(b"x", b"y")])) + _BODY)
    yield _body("a second head", _HIDDEN_HEAD)
    yield _body("a head between", _HALF + head(1, pseudo(b"GET", b"/v1/hidden/" + _NUMBER)) + _BODY)


def _heads() -> Iterator[Vector]:
    rows = block(_BASE)

    def vector(what: str, frames: bytes, plain: Meant | None = None) -> Vector:
        return Vector("frames", what, frames, plain)

    def begun(flags: int, payload: bytes) -> bytes:
        return frame(h2.HEADERS, flags, 1, payload)

    for at in (0, 1, 9, 40):
        half, rest = begun(0, rows[:at]), frame(h2.CONTINUATION, END_HEADERS, 1, rows[at:])
        elsewhere = frame(h2.CONTINUATION, END_HEADERS, 3, rows[at:])
        yield vector(f"continued at {at}", half + rest + _BODY, FIRST)
        yield vector(f"continued at {at} elsewhere", half + elsewhere + _BODY)
        yield vector(f"broken at {at} by a ping", half + frame(h2.PING, 0, 0, b"8" * 8) + rest + _BODY)
        yield vector(f"broken at {at} by a body", half + _BODY + rest + _BODY)
    yield vector("a continuation of nothing", frame(h2.CONTINUATION, END_HEADERS, 1, rows) + _BODY)
    yield vector("no end of the head", begun(0, rows) + _BODY)
    ranked = END_HEADERS | h2.WITH_PRIORITY
    yield vector("with a priority", begun(ranked, b"\0\0\0\0\x10" + rows) + _BODY, FIRST)
    yield vector("depends on itself", begun(ranked, b"\0\0\0\x01\x10" + rows) + _BODY)
    yield vector("padded head", begun(END_HEADERS | PADDED, b"\x03" + rows + b"\0" * 3) + _BODY, FIRST)
    yield vector("padding longer than the head", begun(END_HEADERS | PADDED, b"\xff" + rows) + _BODY)
    yield vector("an even stream", head(2, _BASE, end=True))
    yield vector("stream 0", head(0, _BASE, end=True))
    older = head(3, pseudo(b"GET", b"/v1/hidden/" + _NUMBER), end=True)
    yield vector(
        "an older stream", head(5, pseudo(b"GET", _PATH), end=True) + older, replace(FIRST, method="GET", body=b"")
    )
    for what, odd in _COMPRESSION.items():
        yield vector(what, begun(END_HEADERS, rows + odd) + _BODY)
    yield vector("HTTP/1.1 behind the preface", _HIDDEN)
    yield vector("the preface twice", h2.PREFACE + _sent(_BASE))


def _interjected() -> Iterator[Vector]:
    for what, odd in _INTERJECTIONS.items():
        yield Vector("frames", f"{what}, before", odd + _sent(_BASE))
        yield Vector("frames", f"{what}, between", _sent(_BASE, odd + _BODY))
