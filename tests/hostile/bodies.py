"""Lengths that are no plain numbers, chunks that are no plain chunks, and bodies where none is expected.

The families: odd and doubled lengths, CL.0 and 0.CL (a body that one side does not look for), TE.0, Expect, chunk
sizes, extensions, line ends, terminators and trailers.
"""

from collections.abc import Iterator

from tests.hostile.vectors import Vector, each, hidden, post

_METHODS = (b"GET", b"HEAD", b"DELETE", b"PUT", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"FOO")
_LENGTHS = (
    b"+{n}", b"-{n}", b"--{n}", b"+0", b"-0", b"-1", b"{n}, {n}", b"{n},{m}", b"{m},{n}", b"{n};{m}", b"{n} {m}", b"{n}\t{m}",
    b"0x{n}", b"0X10", b"0o7", b"0b1", b"{n}x", b"x{n}", b"{n}.0", b"{n}.", b".{n}", b"1e1", b"1E1", b"1_0", b"{n},", b",{n}",
    b",{n},", b'"{n}"', b"'{n}'", b"({n})", b"{n}\x00", b"\x00{n}", b"\x0b{n}", b"{n}\x0c", b"{n}\x0b", b"{n}\x7f", b"\xa0{n}",
    b"", b" ", b"\t", b"0", b"00", b"0{n}", b"000000000000000000000{n}", b"{n}\r\n {m}", b"\r\n {n}", b"{n}\r", b"\r{n}", b"{n}\n",
    b"99999999999999999999", b"18446744073709551616", b"18446744073709551617", b"9223372036854775808", b"4294967296",
    b"4294967297", b"340282366920938463463374607431768211456", b"\xef\xbc\x93", b"\xc2\xb2", b"\xd9\xa3", b"NaN", b"inf", b"null",
    b"true", b"{n}#", b"{n}/*", b"{n}%00", b"%34", b"{n}:", b"{n}=", b"~{n}", b"^{n}", b"{n}\r\nContent-Length: {m}",
    b"{m}\r\nContent-Length: {n}", b"{n}\r\nContent-Length: {n}", b"0\r\nContent-Length: {n}", b"{n}\r\nContent-Length: 0",
    b"{n}\r\ncontent-length: ", b"\r\ncontent-length: {n}", b"{n}\r\nX: y\r\nCONTENT-LENGTH: {m}", b"{n}\r\nContent_Length: {m}",
)  # fmt: skip
_LENGTH_NAMES = (
    b"Content-Length ", b"Content-Length\t", b" Content-Length", b"\tContent-Length", b"Content-Length\x00", b"\x00Content-Length",
    b"Content_Length", b"Content-\x0bLength", b"Content Length", b"CONTENT-LENGTH", b"content-length", b"Content-Length:",
    b"X\r\rContent-Length", b"X: y\nContent-Length", b"X: y\rContent-Length", b'"Content-Length"', b"Content-Length\xa0",
    b"X-Content-Length", b"Content-Lengt", b"ContentLength", b"Content-Length\r\n",
)  # fmt: skip
_EXPECTS = (
    b"100-continue", b"100-Continue", b"100-continue, 100-continue", b"100-continue\r\nExpect: 100-continue", b"200-ok", b"x",
    b"", b"100-continue;q=1", b"x 100-continue", b"100-continue\x00", b"\x0b100-continue", b"100-continu", b"100 continue",
    b"100-continue, x", b"y 100-continue\r\nExpect: 100-continue", b"\r\n 100-continue", b"'100-continue'",
)  # fmt: skip
_CHUNKS = (
    b"0x{n}{e}{b}{e}0{e}{e}", b"+{n}{e}{b}{e}0{e}{e}", b"-{n}{e}{b}{e}0{e}{e}", b"-1{e}{b}{e}0{e}{e}", b"g{e}{b}{e}0{e}{e}",
    b"{n}{b}{e}0{e}{e}", b"{n}{e}{b}0{e}{e}", b"{n}{e}{b}X{e}0{e}{e}", b"{n}{e}{b}{e}X0{e}{e}", b"{e}{n}{e}{b}{e}0{e}{e}",
    b" {n}{e}{b}{e}0{e}{e}", b"\t{n}{e}{b}{e}0{e}{e}", b"{n} {e}{b}{e}0{e}{e}", b"{n}\t{e}{b}{e}0{e}{e}", b"{n} {n}{e}{b}{e}0{e}{e}",
    b"{n},{n}{e}{b}{e}0{e}{e}", b"{n}.0{e}{b}{e}0{e}{e}", b"{n}_0{e}{b}{e}0{e}{e}", b"{n}h{e}{b}{e}0{e}{e}", b"{n}L{e}{b}{e}0{e}{e}",
    b'"{n}"{e}{b}{e}0{e}{e}', b"{n}\x00{e}{b}{e}0{e}{e}", b"\x00{n}{e}{b}{e}0{e}{e}", b"{n}\x0b{e}{b}{e}0{e}{e}",
    b"{n}\x0c{e}{b}{e}0{e}{e}", b"{n}\x85{e}{b}{e}0{e}{e}", b"{n}\xa0{e}{b}{e}0{e}{e}", b"0000{n}{e}{b}{e}0{e}{e}",
    b"00000000000000000{n}{e}{b}{e}0{e}{e}", b"fffffffffffffffff{n}{e}{b}{e}0{e}{e}", b"1000000000000000{n}{e}{b}{e}0{e}{e}",
    b"10000000000000000{n}{e}{b}{e}0{e}{e}", b"ffffffffffffffff{e}{b}{e}0{e}{e}", b"7fffffffffffffff{e}{b}{e}0{e}{e}",
    b"100000000{n}{e}{b}{e}0{e}{e}", b"{n};{e}{b}{e}0{e}{e}", b"{n};a{e}{b}{e}0{e}{e}", b"{n};a=b{e}{b}{e}0{e}{e}",
    b'{n};a="b"{e}{b}{e}0{e}{e}', b'{n};a="{e}{b}{e}0{e}{e}', b'{n};a="\r\n"{e}{b}{e}0{e}{e}', b"{n};a\nb{e}{b}{e}0{e}{e}",
    b"{n};a\rb{e}{b}{e}0{e}{e}", b"{n};a\r{e}{b}{e}0{e}{e}", b"{n};a\n{e}{b}{e}0{e}{e}", b"{n};\x00{e}{b}{e}0{e}{e}",
    b"{n};;{e}{b}{e}0{e}{e}", b"{n} ;a{e}{b}{e}0{e}{e}", b"{n}; a{e}{b}{e}0{e}{e}", b"{n};a=\x7f{e}{b}{e}0{e}{e}",
    b"{n}\n{b}\n0\n\n", b"{n}\n{b}{e}0{e}{e}", b"{n}{e}{b}\n0{e}{e}", b"{n}{e}{b}{e}0\n{e}", b"{n}{e}{b}{e}0{e}\n", b"{n}{e}{b}{e}0\n\n",
    b"{n}\r{b}\r0\r\r", b"{n}\r{b}{e}0{e}{e}", b"{n}{e}{b}\r0{e}{e}", b"{n}\r\r\n{b}{e}0{e}{e}", b"{n}\r\n\r\n{b}{e}0{e}{e}",
    b"{n}\n\r{b}{e}0{e}{e}", b"{n}{e}{b}\n\r0{e}{e}", b"{n}{e}{b}{e}0\r{e}", b"{n}{e}{b}{e}0\r\r\n\r\n", b"{n}{e}{b}{e}0{e}\r",
    b"{n}{e}{b}{e}00{e}{e}", b"{n}{e}{b}{e}000000000000000000{e}{e}", b"{n}{e}{b}{e}0;a{e}{e}", b"{n}{e}{b}{e}0;a\n{e}{e}",
    b"{n}{e}{b}{e}-0{e}{e}", b"{n}{e}{b}{e}+0{e}{e}", b"{n}{e}{b}{e}0x0{e}{e}", b"{n}{e}{b}{e}0 {e}{e}", b"{n}{e}{b}{e} 0{e}{e}",
    b"{n}{e}{b}{e}{e}", b"{n}{e}{b}{e}0{e}", b"{n}{e}{b}{e}0{e}{h}", b"{n}{e}{b}{e}{h}", b"{h}", b"{e}{h}", b"0{h}", b"0{e}{h}", b"0{e}{e}{e}",
    b"1{e}{b}{e}0{e}{e}", b"2{e}{b}{e}0{e}{e}", b"ff{e}{b}{e}0{e}{e}", b"{n}{e}{b}{e}0{e}A: b{e}{e}", b"{n}{e}{b}{e}0{e}A{e}{e}",
    b"{n}{e}{b}{e}0{e}A: b\n{e}{e}", b"{n}{e}{b}{e}0{e} A: b{e}{e}", b"{n}{e}{b}{e}0{e}A : b{e}{e}", b"{n}{e}{b}{e}0{e}: b{e}{e}",
    b"{n}{e}{b}{e}0{e}A: b\x00{e}{e}", b"{n}{e}{b}{e}0{e}Content-Length: 5{e}{e}", b"{n}{e}{b}{e}0{e}Transfer-Encoding: chunked{e}{e}",
    b"{n}{e}{b}{e}0{e}Host: evil.example{e}{e}", b"{n}{e}{b}{e}0{e}A: b{e} c{e}{e}", b"{n}{e}{b}{e}0{e}A: b\rc{e}{e}",
    b"{n}{e}{b}{e}0{e}A: {l}{e}{e}", b"{n};{l}{e}{b}{e}0{e}{e}", b"3{e}abc{e}{n}{e}{b}{e}0{e}{e}", b"0{e}{e}0{e}{e}",
    b"{N}{e}{b}{e}0{e}{e}", b"{n}{e}{b}{e}0{e}{e}",
)  # fmt: skip


def vectors() -> Iterator[Vector]:
    """All of them."""
    yield from each("length", _LENGTHS, _length)
    yield from each("length beside a plain one", _LENGTHS[:72], _second_length)
    yield from each("name of the length", _LENGTH_NAMES, _named_length)
    for method in _METHODS:
        note = f" {method.decode()}"
        yield from each("CL.0", [b"Content-Length: {n}", b"Content-Length: 0", b""], _bodiless(method), note)
        yield from each("0.CL", [b"Content-Length: 500", b"Transfer-Encoding: chunked"], _bodiless(method), note)
        yield from each("TE.0", [b"{n}{e}{b}{e}0{e}{e}", b"0{e}{e}{h}"], _chunked_with(method), note)
    yield from each("Expect", _EXPECTS, _expect_length)
    yield from each("Expect, chunked", _EXPECTS, _expect_chunks)
    yield from each("chunks", _CHUNKS, _chunked_with(b"POST"))


def _fill(template: bytes, number: int) -> bytes:
    body = hidden(number)
    marks = {
        b"{n}": b"%x" % len(body), b"{N}": b"%X" % len(body), b"{e}": b"\r\n", b"{b}": body, b"{h}": body, b"{l}": b"x" * 9000,
    }  # fmt: skip
    for mark, value in marks.items():
        template = template.replace(mark, value)
    return template


def _decimal(template: bytes, length: int) -> bytes:
    return template.replace(b"{n}", b"%d" % length).replace(b"{m}", b"3")


def _length(number: int, value: bytes) -> bytes:
    body = hidden(number)
    return post(number, [b"Content-Length: " + _decimal(value, len(body))], body)


def _second_length(number: int, value: bytes) -> bytes:
    body = hidden(number)
    return post(number, [b"Content-Length: %d" % len(body), b"Content-Length: " + _decimal(value, len(body))], body)


def _named_length(number: int, name: bytes) -> bytes:
    body = hidden(number)
    return post(number, [b"%s: %d" % (name, len(body))], body)


def _bodiless(method: bytes):  # type: ignore[no-untyped-def]
    def build(number: int, row: bytes) -> bytes:
        body = hidden(number)
        return post(number, [_decimal(row, len(body))] if row else [], body, method=method)

    return build


def _chunked_with(method: bytes):  # type: ignore[no-untyped-def]
    def build(number: int, chunks: bytes) -> bytes:
        return post(number, [b"Transfer-Encoding: chunked"], _fill(chunks, number), method=method)

    return build


def _expect_length(number: int, value: bytes) -> bytes:
    body = hidden(number)
    return post(number, [b"Expect: " + value, b"Content-Length: %d" % len(body)], body)


def _expect_chunks(number: int, value: bytes) -> bytes:
    return post(number, [b"Expect: " + value, b"Transfer-Encoding: chunked"], _fill(b"{n}{e}{b}{e}0{e}{e}", number))
