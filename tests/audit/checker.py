"""An independent checker of proofs and checkpoints: shares no code with the product, follows the specifications.

RFC 6962 by its recursive definitions, C2SP signed-note and tlog-proof by their text. Slow and plain on purpose.
"""

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(bytes([0]) + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(bytes([1]) + left + right).digest()


def split(size: int) -> int:
    half = 1
    while half * 2 < size:
        half *= 2
    return half


def mth(leaves: list[bytes]) -> bytes:
    """MTH(D[n]) of RFC 6962, 2.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    half = split(len(leaves))
    return node(mth(leaves[:half]), mth(leaves[half:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    half = split(len(leaves))
    if index < half:
        return [*path(index, leaves[:half]), mth(leaves[half:])]
    return [*path(index - half, leaves[half:]), mth(leaves[:half])]


def proof(old: int, leaves: list[bytes]) -> list[bytes]:
    """PROOF(m, D[n]) of RFC 6962, 2.1.2."""
    return [] if old in (0, len(leaves)) else _subproof(old, leaves, True)


def _subproof(old: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [mth(leaves)]
    half = split(len(leaves))
    if old <= half:
        return [*_subproof(old, leaves[:half], whole), mth(leaves[half:])]
    return [*_subproof(old - half, leaves[half:], False), mth(leaves[:half])]


def root_from(leaf_hash: bytes, index: int, size: int, steps: list[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to, walking the definition of PATH from the top."""
    if size == 1:
        return leaf_hash if not steps else None
    if not steps:
        return None
    half = split(size)
    if index < half:
        below = root_from(leaf_hash, index, half, steps[:-1])
        return None if below is None else node(below, steps[-1])
    below = root_from(leaf_hash, index - half, size - half, steps[:-1])
    return None if below is None else node(steps[-1], below)


def open_note(note: str, verifier_line: str) -> tuple[str, int, bytes]:
    """(origin, size, root) of a checkpoint that the key signed. Raises ValueError."""
    name, key_hash, encoded = verifier_line.strip().split("+", 2)
    key = base64.b64decode(encoded)
    assert key[0] == 1
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_hash
    text, signatures = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 :]
    for line in signatures.splitlines():
        dash, signer, value = line.split(" ")
        signature = base64.b64decode(value)
        if dash == "—" and signer == name and signature[:4].hex() == key_hash:
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
            except InvalidSignature:
                raise ValueError("bad signature") from None
            origin, size, root = text.splitlines()[:3]
            return origin, int(size), base64.b64decode(root)
    raise ValueError("not signed")


def check_proof_file(text: str, verifier_line: str) -> tuple[int, bytes]:
    """(index, entry) that a tlog-proof file proves. Raises ValueError."""
    lines = text.split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1":
        raise ValueError("not a proof")
    entry = base64.b64decode(lines[1].removeprefix("extra "))
    index = int(lines[2].removeprefix("index "))
    gap = lines.index("", 3)
    steps = [base64.b64decode(line) for line in lines[3:gap]]
    _, size, root = open_note("\n".join(lines[gap + 1 :]), verifier_line)
    if not index < size or root_from(leaf(entry), index, size, steps) != root:
        raise ValueError("the proof does not hold")
    return index, entry
