"""The write-ahead journal: what is durable first, and what tiles are made from.

A segment holds the entries [4096·n, 4096·(n+1)) as frames, one for each batch. A frame says where it begins, when it
was written by which clock, carries the entries, the root after them and a signature over all of it, so that nobody can
add one; and a checksum, by which a frame that a killed writer left half written is told from a whole one. The writer
appends frames; the writer, the verifier and the readers read them.
"""

import struct
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from freehold.audit.note import Signer, Verifier
from freehold.audit.tiles import bundle, unbundle

SEGMENT = 4096
"""Entries of one segment."""
FOLDER = "journal"

_MAGIC = b"FHJ1"
_DOMAIN = b"freehold audit journal frame\n"
_HEAD = struct.Struct(">4sIQIQQI")  # magic, bytes of entries, first, count, wall ms, uptime ms, boot
_TAIL = struct.Struct(">32s64sI")  # root, signature, checksum
_LARGEST = 256 * 65537


class Moment(msgspec.Struct, frozen=True):
    """What the clocks said: the wall's, the machine's since it started, and which start that was."""

    wall: int
    uptime: int
    boot: int


class Frame(msgspec.Struct, frozen=True):
    """One batch as it lies in the journal. `signed`: the bytes that the signature is over."""

    first: int
    entries: list[bytes]
    moment: Moment
    root: bytes
    signature: bytes
    signed: bytes

    @property
    def end(self) -> int:
        """The sequence of the entry after the last."""
        return self.first + len(self.entries)

    def genuine(self, verifier: Verifier) -> bool:
        """Whether the log's key signed it."""
        return verifier.holds(self.signature, self.signed)


class Broken(Exception):
    """No whole frame begins here. `torn`: it looks like the beginning of one that was never finished."""

    def __init__(self, torn: bool) -> None:
        super().__init__("no whole frame")
        self.torn = torn


def segment_name(sequence: int) -> str:
    """The file of the segment that holds an entry."""
    return f"{FOLDER}/{sequence // SEGMENT:016d}"


def segments(folder: Path) -> list[int]:
    """The first sequence of each segment that is there, oldest first."""
    try:
        names = [p.name for p in (folder / FOLDER).iterdir() if p.name.isdigit() and len(p.name) == 16]
    except FileNotFoundError:
        return []
    return sorted(int(name) * SEGMENT for name in names)


def encode(first: int, entries: list[bytes], moment: Moment, root: bytes, signer: Signer) -> bytes:
    """A frame."""
    body = bundle(entries)
    head = _HEAD.pack(_MAGIC, len(body), first, len(entries), moment.wall, moment.uptime, moment.boot)
    signature = signer.sign(_signed(head, body, root))
    whole = head + body + root + signature
    return whole + struct.pack(">I", zlib.crc32(whole))


def read(data: bytes, place: int, first: int) -> tuple[Frame, int]:
    """The frame that begins at `place` and must begin with entry `first`, and where it ends. Raises Broken."""
    rest = len(data) - place
    if rest < _HEAD.size:
        raise Broken(torn=_MAGIC.startswith(data[place : place + 4]) or data[place : place + 4] == _MAGIC)
    magic, length, begins, count, wall, uptime, boot = _HEAD.unpack_from(data, place)
    if magic != _MAGIC or begins != first or not 1 <= count <= SEGMENT or not 2 * count <= length <= _LARGEST:
        raise Broken(torn=False)
    body_at = place + _HEAD.size
    end = body_at + length + _TAIL.size
    if end > len(data):
        raise Broken(torn=True)
    root, signature, checksum = _TAIL.unpack_from(data, body_at + length)
    if zlib.crc32(memoryview(data)[place : end - 4]) != checksum:
        raise Broken(torn=False)
    body = data[body_at : body_at + length]
    try:
        entries = unbundle(body)
    except ValueError:
        raise Broken(torn=False) from None
    if len(entries) != count:
        raise Broken(torn=False)
    signed = _signed(data[place:body_at], body, root)
    return Frame(first, entries, Moment(wall, uptime, boot), root, signature, signed), end


def frames(data: bytes, first: int) -> Iterator[tuple[Frame, int]]:
    """Each frame of a segment with where it ends. Raises Broken where something is no frame."""
    place = 0
    while place < len(data):
        frame, place = read(data, place, first)
        first = frame.end
        yield frame, place


def _signed(head: bytes, body: bytes, root: bytes) -> bytes:
    return _DOMAIN + head + sha256(body).digest() + root
