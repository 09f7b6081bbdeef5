"""What bytes mean as HTTP/1.1 requests, by the letter of RFC 9112: the referee between the edge and its upstream.

It is written from the grammar alone and shares nothing with Envoy, with our own parsers or with the recording upstream.
`read` gives the requests up to the first byte that has no single meaning. With `LENIENT` it also knows the few
readings in which Envoy's parser is milder than the grammar; each of them still means one thing only.
"""

import re
from dataclasses import dataclass

LENIENT = frozenset(
    {
        "folded line", "bare CR in a value", "spaces in the request line", "tail of a chunk size", "zeros before a chunk size",
        "bare LF, and empty lines before a request", "trailers about framing",
    }
)  # fmt: skip
"""Where Envoy's parser takes what the grammar does not know: such a request is written anew, without it."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.1")
_SPACED_LINE = re.compile(rb"[\r]*(" + _TOKEN + rb")[ \t\r]+([!-~]+)[ \t\r]+HTTP/1\.1[ \t\r]*")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t !-~\x80-\xff]*)?")
_TAILED_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t;][^\r\n]*)?")


@dataclass(frozen=True)
class Meant:
    """One request."""

    method: str
    target: str
    body: bytes


class _Unclear(Exception):
    """The next bytes are no request, or not one only."""


def read(raw: bytes, lenient: frozenset[str] = frozenset()) -> tuple[list[Meant], bool]:
    """The requests in `raw`, and whether that is all of it: False when it goes on with something unclear or cut off."""
    meant: list[Meant] = []
    while raw:
        try:
            request, raw = _one(raw, lenient)
        except _Unclear:
            return meant, False
        meant.append(request)
    return meant, True


def _one(raw: bytes, lenient: frozenset[str]) -> tuple[Meant, bytes]:
    if "bare LF, and empty lines before a request" in lenient:
        raw = _with_crlf(raw)
    head, end, rest = raw.partition(b"\r\n\r\n")
    if not end:
        raise _Unclear
    line, *rows = _unfolded(head, lenient).split(b"\r\n")
    match = (_SPACED_LINE if "spaces in the request line" in lenient else _LINE).fullmatch(line)
    if match is None:
        raise _Unclear
    fields = [_field(row, lenient) for row in rows]
    if len(_values(fields, b"host")) != 1:
        raise _Unclear
    body, rest = _body(fields, rest, lenient)
    return Meant(match[1].decode(), match[2].decode(), body), rest


def _with_crlf(raw: bytes) -> bytes:
    """The head with each of its lines ended by CRLF, where a lone LF ends a line too; the body is left as it is."""
    lines: list[bytes] = []
    at = 0
    while (end := raw.find(b"\n", at)) >= 0:
        line = raw[at:end].removesuffix(b"\r")
        at = end + 1
        if line:
            lines.append(line)
        elif lines:
            return b"\r\n".join(lines) + b"\r\n\r\n" + raw[at:]
    return raw


def _unfolded(head: bytes, lenient: frozenset[str]) -> bytes:
    return re.sub(rb"[ \t]*\r\n[ \t]+", b" ", head) if "folded line" in lenient else head


def _field(row: bytes, lenient: frozenset[str]) -> tuple[bytes, bytes]:
    if "bare CR in a value" in lenient:
        row = row.replace(b"\r", b"")
    match = _FIELD.fullmatch(row)
    if match is None:
        raise _Unclear
    return match[1].lower(), match[2]


def _values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]


def _body(fields: list[tuple[bytes, bytes]], rest: bytes, lenient: frozenset[str]) -> tuple[bytes, bytes]:
    codings, lengths = _values(fields, b"transfer-encoding"), _values(fields, b"content-length")
    if codings:
        if lengths or [coding.lower() for coding in codings] != [b"chunked"]:
            raise _Unclear
        return _chunks(rest, lenient)
    if not lengths:
        return b"", rest
    if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]) or len(rest) < int(lengths[0]):
        raise _Unclear
    return rest[: int(lengths[0])], rest[int(lengths[0]) :]


def _chunks(rest: bytes, lenient: frozenset[str]) -> tuple[bytes, bytes]:
    body = b""
    size_line = _TAILED_SIZE if "tail of a chunk size" in lenient else _SIZE
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if "zeros before a chunk size" in lenient:
            line = re.sub(rb"^0+(?=[0-9A-Fa-f])", b"", line)
        match = size_line.fullmatch(line)
        if match is None or not end:
            raise _Unclear
        size = int(match[1], 16)
        if size == 0:
            return body, _after_trailers(rest, lenient)
        if rest[size : size + 2] != b"\r\n":
            raise _Unclear
        body, rest = body + rest[:size], rest[size + 2 :]


def _after_trailers(rest: bytes, lenient: frozenset[str]) -> bytes:
    if rest.startswith(b"\r\n"):
        return rest[2:]
    if "bare LF, and empty lines before a request" in lenient and rest.startswith(b"\n"):
        return rest[1:]
    if "bare LF, and empty lines before a request" in lenient:
        rest = _with_crlf(rest)
    trailers, end, rest = rest.partition(b"\r\n\r\n")
    if not end:
        raise _Unclear
    for row in _unfolded(trailers, lenient).split(b"\r\n"):
        name, _ = _field(row, lenient)
        if name in (b"content-length", b"transfer-encoding", b"host") and "trailers about framing" not in lenient:
            raise _Unclear
    return rest
