"""Proofs that a third party checks without the log: that an entry is in it, that it only grew since a checkpoint.

An inclusion proof carries entry, path and signed checkpoint; as text it is C2SP's tlog-proof, which other programs
read. `freehold audit prove` makes them, `check` reads one again with the public key alone.
"""

import base64
import re

import msgspec

from freehold.audit.events import as_json, decode
from freehold.audit.folder import Snapshot
from freehold.audit.note import Checkpoint, Verifier
from freehold.audit.tree import consistency, extends, holds_entry, inclusion, leaf_hash, root_of
from freehold.protocol.errors import Refused

_HEAD = "c2sp.org/tlog-proof@v1"
_LINES = re.compile(r"(?:extra ([A-Za-z0-9+/=]+)\n)?index (0|[1-9][0-9]{0,18})\n((?:[A-Za-z0-9+/]{43}=\n)*)\n")


class Inclusion(msgspec.Struct, frozen=True):
    """`entry`: the bytes that are hashed; `path`: hashes from the leaf's sibling up; `checkpoint`: the signed note."""

    index: int
    size: int
    entry: bytes
    path: list[bytes]
    checkpoint: bytes

    def text(self) -> str:
        """As a tlog-proof file. The entry rides along as its extra data."""
        lines = [_HEAD, f"extra {_base64(self.entry)}", f"index {self.index}", *map(_base64, self.path)]
        return "\n".join(lines) + "\n\n" + self.checkpoint.decode()

    def as_json(self) -> dict[str, object]:
        """As plain values. `leaf` is the entry's hash."""
        return {
            "index": self.index,
            "size": self.size,
            "entry": as_json(decode(self.entry)),
            "entry_bytes": _base64(self.entry),
            "leaf": _base64(leaf_hash(self.entry)),
            "path": [_base64(step) for step in self.path],
            "checkpoint": self.checkpoint.decode(),
        }


class Growth(msgspec.Struct, frozen=True):
    """The proof that the tree of `size` entries begins with the one of `old` entries."""

    old: int
    size: int
    path: list[bytes]
    checkpoint: bytes

    def as_json(self) -> dict[str, object]:
        """As plain values."""
        path = [_base64(step) for step in self.path]
        return {"old": self.old, "size": self.size, "path": path, "checkpoint": self.checkpoint.decode()}


def prove(snapshot: Snapshot, index: int) -> Inclusion:
    """The proof that an entry is under the published checkpoint.

    Raises Refused 404 when there is no such entry, 409 when no checkpoint covers it yet, 410 when it was pruned.
    """
    published = _published(snapshot)
    entry = snapshot.entry(index)
    if entry is None:
        raise Refused("This entry was pruned. Its hash is still in the log.", status=410)
    if index >= published.size:
        raise Refused("No checkpoint covers this entry yet. One is published every few seconds.", status=409)
    path = inclusion(snapshot.read, index, published.size)
    return Inclusion(index, published.size, entry, path, published.note)


def prove_growth(snapshot: Snapshot, old: Checkpoint) -> Growth:
    """The proof that the log only grew since `old`. Raises Refused 409 when it did not."""
    published = _published(snapshot)
    if old.size > published.size or root_of(snapshot.read, old.size) != old.root:
        raise Refused("The log does not continue that checkpoint: it was rolled back or replaced.", status=409)
    return Growth(old.size, published.size, consistency(snapshot.read, old.size, published.size), published.note)


def check(text: str, key: Verifier) -> Inclusion:
    """Read a tlog-proof file and check it. Raises ValueError when it proves nothing."""
    head, _, rest = text.partition("\n")
    match = _LINES.match(rest)
    if head != _HEAD or match is None or match[1] is None:
        raise ValueError("not a proof")
    entry = _bytes(match[1])
    path = [_bytes(line) for line in match[3].split()]
    note = rest[match.end() :].encode()
    signed = key.open(note)
    index = int(match[2])
    if not holds_entry(leaf_hash(entry), index, signed.size, path, signed.root):
        raise ValueError("the proof does not lead to the signed root")
    return Inclusion(index, signed.size, entry, path, note)


def check_growth(proof: Growth, old: Checkpoint, key: Verifier) -> Checkpoint:
    """The new checkpoint, if the proof leads to it from `old`. Raises ValueError when it does not."""
    new = key.open(proof.checkpoint)
    if not extends(old.size, old.root, new.size, new.root, proof.path):
        raise ValueError("the log does not continue that checkpoint")
    return new


def _published(snapshot: Snapshot) -> Checkpoint:
    if snapshot.checkpoint is None:
        raise Refused("No checkpoint was published yet. One is every few seconds.", status=409)
    return snapshot.checkpoint


def _bytes(text: str) -> bytes:
    """What Base64 says, if it says it in the one right way."""
    data = base64.b64decode(text, validate=True)
    if _base64(data) != text:
        raise ValueError("not a proof")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
