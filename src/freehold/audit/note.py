"""Signed notes and checkpoints as C2SP writes them (signed-note, tlog-checkpoint), with Ed25519.

A checkpoint is a tree's size and root under the log's name, signed. The log's name is made of its key, so that another
key is another log. `Verifier` is the public half, one line of text (`NAME+HASH+KEY`) that an auditor keeps elsewhere.
"""

import base64
import binascii
import re
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_MARK = "\u2014 "
_BODY = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n((?:[^\n]+\n)*)")
_LARGEST = 16 << 10


class Checkpoint(msgspec.Struct, frozen=True):
    """A signed tree head. `note` is the text with its signature, byte for byte as it was signed."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...]
    note: bytes


class Verifier:
    """The public half of the log's key."""

    def __init__(self, name: str, public: bytes) -> None:
        self.name = name
        self.public = public
        self.key_id = sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, line: str) -> "Verifier":
        """Read `NAME+HASH+KEY`. Raises ValueError for anything else, or a hash that is not this key's."""
        parts = line.strip().split("+", 2)
        if len(parts) != 3 or not parts[0] or any(c.isspace() for c in parts[0]):
            raise ValueError("not a verifier line")
        key = base64.b64decode(parts[2], validate=True)
        if len(key) != 33 or key[:1] != _ED25519:
            raise ValueError("not an Ed25519 verifier line")
        found = cls(parts[0], key[1:])
        if found.key_id.hex() != parts[1]:
            raise ValueError("the verifier line's hash is not its key's")
        return found

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def holds(self, signature: bytes, data: bytes) -> bool:
        """Whether the log's key signed this."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def open(self, note: bytes) -> Checkpoint:
        """The checkpoint in a signed note. Raises ValueError when it is none of this log."""
        if len(note) > _LARGEST:
            raise ValueError("not a signed note")
        try:
            whole = note.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("not a signed note") from None
        text, gap, signatures = whole.rpartition("\n\n")
        if not gap or any(ord(c) < 32 and c != "\n" for c in whole):
            raise ValueError("not a signed note")
        text += "\n"
        if not self._signed(text.encode(), signatures):
            raise ValueError("not signed by this key")
        match = _BODY.fullmatch(text)
        if match is None or match[1] != self.name:
            raise ValueError("not a checkpoint of this log")
        root = base64.b64decode(match[3], validate=True)
        if base64.b64encode(root).decode() != match[3]:
            raise ValueError("not a checkpoint of this log")
        return Checkpoint(match[1], int(match[2]), root, tuple(match[4].splitlines()), note)

    def _signed(self, text: bytes, signatures: str) -> bool:
        """Whether one signature is this key's and right; one of this key that is wrong spoils all."""
        if not signatures.endswith("\n"):
            return False
        right = False
        for line in signatures[:-1].split("\n"):
            if not line.startswith(_MARK):
                return False
            name, _, encoded = line[len(_MARK) :].partition(" ")
            try:
                value = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                return False
            if base64.b64encode(value).decode() != encoded:
                return False
            if name == self.name and value[:4] == self.key_id:
                if right or not self.holds(value[4:], text):
                    return False
                right = True
        return right


class Signer:
    """The log's key. `seed` is the installation's (`layout.secret("audit-sign")`)."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes_raw()
        self.verifier = Verifier(f"freehold.audit/{sha256(public).hexdigest()[:16]}", public)

    def sign(self, data: bytes) -> bytes:
        """64 bytes of Ed25519."""
        return self._key.sign(data)

    def checkpoint(self, size: int, root: bytes, *extensions: str) -> bytes:
        """The signed note of a tree head."""
        lines = (self.verifier.name, str(size), base64.b64encode(root).decode(), *extensions)
        text = "".join(f"{line}\n" for line in lines)
        value = base64.b64encode(self.verifier.key_id + self.sign(text.encode())).decode()
        return f"{text}\n{_MARK}{self.verifier.name} {value}\n".encode()
