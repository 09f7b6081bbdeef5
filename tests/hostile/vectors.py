"""Attacks on where one HTTP/1.1 request ends and the next begins, each made by rule from the grammar it breaks.

A vector is the bytes of one connection. Every vector carries its number in its targets: `/v1/first/N` is the request
that a parser should see, `/v1/hidden/N` one that it sees only when it takes the framing in another way. `framing()`
gives them all; `test_framing` sends them and `test_meaning` shows what came through to other servers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

HOST = "localhost"


@dataclass(frozen=True)
class Vector:
    """`make` turns the vector's number into its bytes. `pieces`: sent in that many parts."""

    family: str
    what: str
    make: Callable[[int], bytes]
    pieces: int = 1


def framing() -> list[Vector]:
    """All HTTP/1.1 vectors."""
    from tests.hostile import bodies, heads, transfer_encoding  # they are made of `post` and `hidden`

    whole = [*transfer_encoding.vectors(), *bodies.vectors(), *heads.vectors()]
    return [*whole, *(_in_pieces(vector) for vector in whole[::12])]


def _in_pieces(vector: Vector) -> Vector:
    return Vector(f"{vector.family}, in pieces", vector.what, vector.make, pieces=5)


def hidden(number: int) -> bytes:
    """The request that must not be seen."""
    return b"GET /v1/hidden/%d HTTP/1.1\r\nhost: localhost\r\n\r\n" % number


def fence(number: int) -> bytes:
    """What is sent behind every vector: a harmless last request, which whatever is left over would spoil."""
    return b"GET /v1/fence/%d HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % number


def post(number: int, rows: Iterable[bytes], body: bytes = b"", *, method: bytes = b"POST") -> bytes:
    """A request with exactly these header rows after its Host."""
    return b"\r\n".join([b"%s /v1/first/%d HTTP/1.1" % (method, number), b"host: localhost", *rows, b"", body])


def each(family: str, items: Iterable[bytes], build: Callable[[int, bytes], bytes], note: str = "") -> Iterator[Vector]:
    """One vector for each item."""
    for item in items:
        yield Vector(family, f"{item!r}{note}", lambda number, item=item: build(number, item))  # type: ignore[misc]
