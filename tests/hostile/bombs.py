"""Request bodies of the largest size that the edge lets through, each made to cost as much as it can to be read."""

SIZE = 4 << 20


def _filled(start: bytes, unit: bytes, end: bytes) -> bytes:
    return start + unit * ((SIZE - len(start) - len(end)) // len(unit)) + end


_DEPTH = SIZE // 2 - 16
BOMBS: dict[str, bytes] = {
    "deep lists, never closed": b"[" * SIZE,
    "deep lists": b'{"model":' + b"[" * _DEPTH + b"]" * _DEPTH + b"}",
    "deep objects": _filled(b"", b'{"a":', b""),
    "deep objects, closed": b'{"a":' * (SIZE // 6) + b"1" + b"}" * (SIZE // 6),
    "many lists of depth 60": _filled(b'{"a":[', b"[" * 60 + b"]" * 60 + b",", b"1]}"),
    "empty lists": _filled(b'{"a":[', b"[],", b"[]]}"),
    "empty objects": _filled(b'{"a":[', b"{},", b"{}]}"),
    "small objects": _filled(b'{"a":[', b'{"a":1},', b"1]}"),
    "one name again and again": _filled(b"{", b'"a":1,', b'"a":1}'),
    "many names": b"{" + b",".join(b'"%x":1' % number for number in range(SIZE // 10)) + b"}",
    "many empty strings": _filled(b'{"a":[', b'"",', b"1]}"),
    "many digits": _filled(b'{"max_tokens":', b"9", b"}"),
    "many numbers of many digits": _filled(b'{"a":[', b"9" * 4000 + b",", b"1]}"),
    "a long exponent": _filled(b'{"temperature":1e', b"9", b"}"),
    "many floats": _filled(b'{"a":[', b"1e9,", b"1]}"),
    "many numbers": _filled(b'{"a":[', b"1,", b"1]}"),
    "escapes": _filled(b'{"model":"', b"\\u0041", b'"}'),
    "escaped quotes": _filled(b'{"model":"', b'\\"', b'"}'),
    "escaped quotes, no end": _filled(b'{"model":"', b'\\"', b""),
    "escaped backslashes": _filled(b'{"model":"', b"\\\\", b'"}'),
    "half a pair again and again": _filled(b'{"model":"', b"\\ud800", b'"}'),
    "quotes": b'"' * SIZE,
    "white space": _filled(b"{", b" ", b"}"),
    "nothing but zeros": b"\0" * SIZE,
    "no UTF-8": b"\xff" * SIZE,
    "one wide letter": _filled(b'{"model":"' + "\U0001f600".encode(), b"a", b'"}'),
    "many messages": _filled(b'{"model":"m","messages":[', b'{"role":"user","content":""},', b'{"role":"user","content":""}]}'),
    "many parts": _filled(
        b'{"model":"m","messages":[{"role":"user","content":[', b'{"type":"text","text":""},', b'{"type":"text","text":""}]}]}'
    ),
    "many inputs": _filled(b'{"model":"e","input":[', b'"a",', b'"a"]}'),
    "many tools": _filled(
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"tools":[', b'{"type":"function","function":{"name":"f"}},',
        b'{"type":"function","function":{"name":"f"}}]}',
    ),
    "a wide schema": _filled(
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"enum":[',
        b"1,", b"1]}}}}",
    ),
}  # fmt: skip
