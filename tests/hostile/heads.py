"""Request lines and header rows that parsers are known to read differently: line ends, control characters, targets.

Each family breaks one rule of the grammar in every place where it can be broken: the sweeps go over all octets that a
name, a value, a method or a target must not hold.
"""

from collections.abc import Iterator

from tests.hostile.vectors import Vector, each, hidden, post

_TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_NOT_IN_A_NAME = [bytes([code]) for code in range(256) if code not in _TCHAR]
_CONTROLS = [bytes([code]) for code in (*range(0x20), 0x7F)]
_LINES = (
    b"POST  {t} HTTP/1.1", b"POST {t}  HTTP/1.1", b"POST\t{t} HTTP/1.1", b"POST {t}\tHTTP/1.1", b"POST {t} HTTP/1.1 ", b"POST {t} HTTP/1.1\t",
    b" POST {t} HTTP/1.1", b"\tPOST {t} HTTP/1.1", b"\r\nPOST {t} HTTP/1.1", b"\nPOST {t} HTTP/1.1", b"\rPOST {t} HTTP/1.1",
    b"\r\n\r\nPOST {t} HTTP/1.1", b"POST\x0b{t} HTTP/1.1", b"POST\x0c{t} HTTP/1.1", b"POST\xa0{t} HTTP/1.1", b"POST\r{t} HTTP/1.1",
    b"POST {t}\rHTTP/1.1", b"POST {t} HTTP/1.1\r", b"POST {t}", b"POST {t} ", b"POST {t} HTTP", b"POST {t} HTTP/", b"POST {t} HTTP/1",
    b"POST {t} HTTP/1.", b"POST {t} HTTP/1.0", b"POST {t} HTTP/1.2", b"POST {t} HTTP/1.9", b"POST {t} HTTP/0.9", b"POST {t} HTTP/2.0",
    b"POST {t} HTTP/2", b"POST {t} HTTP/3", b"POST {t} HTTP/1.10", b"POST {t} HTTP/1.01", b"POST {t} HTTP/01.1", b"POST {t} HTTP/+1.1",
    b"POST {t} HTTP/1,1", b"POST {t} HTTP/ 1.1", b"POST {t} HTTP /1.1", b"POST {t} http/1.1", b"POST {t} Http/1.1", b"POST {t} HTTPS/1.1",
    b"POST {t} RTSP/1.0", b"POST {t} ICE/1.0", b"POST {t} HTTP/1.1x", b"POST {t} HTTP/1.1 HTTP/1.1", b"POST {t} {t} HTTP/1.1",
    b"{t} HTTP/1.1", b"POST HTTP/1.1", b" {t} HTTP/1.1", b"HTTP/1.1 200 OK", b"HTTP/1.1 {t} POST", b"PO\x00ST {t} HTTP/1.1",
    b"POST: {t} HTTP/1.1", b"P(ST {t} HTTP/1.1", b"post {t} HTTP/1.1", b"PRI * HTTP/2.0", b"SOURCE {t} ICE/1.0", b"POST {t} HTTP/1.1\x00",
)  # fmt: skip
_TARGETS = (
    b"http://localhost{t}", b"https://localhost{t}", b"http://evil.example{t}", b"//evil.example{t}", b"ftp://localhost{t}",
    b"localhost{t}", b"{t}#fragment", b"{t}?#", b"{t}?a=b#c", b"*", b"{t}\\x", b"{t}/..", b"{t}/../../x", b"/.{t}", b"//v1/x", b"{t}%00",
    b"{t}%0d%0aX:%20y", b"{t}%", b"{t}%zz", b"{t}%2f..", b"{t};x=y", b"{t}?\x7f", b"{t}\x80", b"{t}?\xff", b'{t}"', b"{t}<x>", b"{t}{}", b"{t}|",
    b"{t}^", b"{t}`", b"{t}?{}", b"{t}?<", b"{t}@evil.example", b"@evil.example{t}", b":443{t}", b"?{t}", b"#{t}", b"\\{t}", b".{t}", b"{t}?a b",
    b"{t}?a\tb", b"{t}?" + b"x" * 40000, b"javascript:{t}", b"localhost:443", b"/", b"", b"http://", b"http:{t}", b"http:/{t}", b"http:///v1/x",
)  # fmt: skip
_ENDS = (
    b"\n",
    b"\r",
    b"\n\r",
    b"\r\r\n",
    b"\r\n\n",
    b"\x85",
    b"\xe2\x80\xa8",
    b"\x0b",
    b"\x00\r\n",
    b"\r\x00\n",
    b"\x0c",
    b"\x1c",
)
_HOSTS = (
    b"", b"Host: localhost\r\nHost: localhost", b"Host: localhost\r\nHost: evil.example", b"Host: evil.example\r\nHost: localhost",
    b"Host: localhost, evil.example", b"Host: localhost evil.example", b"Host:", b"Host: ", b"Host : localhost", b"Host: local\x00host",
    b"Host: localhost@evil.example", b"Host: evil.example#localhost", b"Host: localhost/", b"Host: localhost:x", b"Host: localhost:",
    b"Host: localhost:0x1bb", b"Host: localhost:443:443", b"Host: [localhost]", b"Host: [::1", b"Host: localhost.", b"Host: LOCALHOST",
    b"Host: localhost\r\n evil.example", b"Host:\tlocalhost", b"Host: localhost\rX: y", b" Host: localhost", b"Host: localhost%00",
    b"Host: local host", b"Host: http://localhost", b"X: y\r\nHost: localhost", b"host: localhost\r\nHOST: localhost", b"Host: \xff",
    b"Host: localhost\x7f", b"Host: xn--", b"Host: localhost\\evil", b"Host: user:pw@localhost",
)  # fmt: skip
_HOPS = (
    b"content-length", b"Content-Length, close", b"transfer-encoding", b"host", b"close, content-length", b"keep-alive, host", b"x-request-id",
    b"authorization", b"cookie, authorization", b"upgrade", b"te", b"trailer", b":path", b"x, y, z", b"close", b"keep-alive", b"\x00", b",", b"",
    b"close close", b"content-length\r\nConnection: close", b"upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    b"Upgrade\r\nUpgrade: websocket", b"Upgrade\r\nUpgrade: TLS/1.2", b"Upgrade, content-length\r\nUpgrade: h2c",
)  # fmt: skip
_ROWS = (
    b"X", b"X y", b":", b": x", b" : x", b"X:y:z", b"X:", b"X: ", b"X : y", b"X\t: y", b" X: y", b"\tX: y", b"X: y\r\n z", b"X: y\r\n\tz", b"X:\r\n y",
    b"X: y\r\n \r\n z", b"X: y\r\n: z", b"X: y\r\n\x00", b"X: \"y\r\n", b"\"X\": y", b"X=y", b"X;y: z", b"(X): y", b"X: y\\\r\n z", b"X\xc3\xa9: y",
    b"X: \xc3\xa9", b"X: \xff\xfe", b"\xef\xbb\xbfX: y", b":method: GET", b":path: /v1/hidden/0", b":authority: evil.example", b"x" * 40000 + b": y",
    b"X: " + b"y" * 40000, b"\r\n".join(b"A%d: b" % n for n in range(150)), b"Content-Encoding: gzip", b"Trailer: content-length",
    b"TE: trailers", b"TE: chunked", b"Proxy-Connection: close", b"Keep-Alive: 5", b"X-HTTP-Method-Override: DELETE", b"Max-Forwards: 0",
    b"Range: bytes=0-,0-,0-", b"X_Y: z", b"Content-Type: multipart/byteranges", b"Accept: a\r\nAccept: b", b"Via: 1.1 x", b"Forwarded: for=x",
)  # fmt: skip


def vectors() -> Iterator[Vector]:
    """All of them. Each carries a hidden request as its body, with a plain length."""
    yield from each("request line", _LINES, _line)
    yield from each("target", _TARGETS, lambda number, target: _line(number, b"POST " + target + b" HTTP/1.1"))
    yield from each("Host", _HOSTS, _host)
    yield from each("Connection", _HOPS, lambda number, value: _row(number, b"Connection: " + value))
    yield from each("header row", _ROWS, _row)
    yield from each("octet in a name", _NOT_IN_A_NAME, lambda number, odd: _row(number, b"Ac" + odd + b"cept: a"))
    yield from each("octet at the end of a name", _CONTROLS, lambda number, odd: _row(number, b"Accept" + odd + b": a"))
    yield from each("octet in a value", _CONTROLS, lambda number, odd: _row(number, b"Accept: a" + odd + b"b"))
    yield from each("octet in a method", _CONTROLS, lambda number, odd: _line(number, b"PO" + odd + b"ST {t} HTTP/1.1"))
    yield from each(
        "octet in a target", _CONTROLS, lambda number, odd: _line(number, b"POST {t}?" + odd + b"x HTTP/1.1")
    )
    yield from each(
        "octet in a version", _CONTROLS, lambda number, odd: _line(number, b"POST {t} HTTP/1" + odd + b".1")
    )
    yield from each("line end", _ENDS, _line_end)
    yield from each("line end, before a hidden header", _ENDS, _hidden_header)
    yield from each("end of the head", _ENDS, _head_end)


def _line(number: int, line: bytes) -> bytes:
    body, line = hidden(number), line.replace(b"{t}", b"/v1/first/%d" % number)
    return b"\r\n".join([line, b"host: localhost", b"content-length: %d" % len(body), b"", body])


def _host(number: int, rows: bytes) -> bytes:
    body = hidden(number)
    head = [b"POST /v1/first/%d HTTP/1.1" % number, *([rows] if rows else []), b"content-length: %d" % len(body)]
    return b"\r\n".join([*head, b"", body])


def _row(number: int, row: bytes) -> bytes:
    body = hidden(number)
    return post(number, [row, b"content-length: %d" % len(body)], body)


def _line_end(number: int, end: bytes) -> bytes:
    body = hidden(number)
    head = [b"POST /v1/first/%d HTTP/1.1" % number, b"host: localhost", b"content-length: %d" % len(body), b"", b""]
    return end.join(head) + body


def _hidden_header(number: int, end: bytes) -> bytes:
    body = b"0\r\n\r\n" + hidden(number)
    return post(number, [b"X: y" + end + b"Transfer-Encoding: chunked", b"content-length: %d" % len(body)], body)


def _head_end(number: int, end: bytes) -> bytes:
    body = hidden(number)
    rows = [b"POST /v1/first/%d HTTP/1.1" % number, b"host: localhost", b"content-length: %d" % len(body)]
    return b"\r\n".join(rows) + end + end + body
