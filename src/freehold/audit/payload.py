"""What a person may want erased, beside the tree: sealed under a key of that person, which erasing destroys.

The log's entry carries only the payload's digest, salted inside the seal: with the key gone nobody can read it or try
guesses, and no proof changes. One folder a person, one file a payload, the key in a file of its own that no copy and no
export takes along. Rooms keep an e-mail or a name here that an auditor should see beside an event.
"""

import contextlib
import os
import secrets
import shutil
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from freehold.audit.events import Digest, Id
from freehold.audit.folder import PAYLOAD
from freehold.settings import Layout, write_private

_KEY = "key"
_SALT = 32
_NONCE = 12
_LARGEST = 64 << 10


class Payloads:
    """The payloads of one installation. Blocking: small files on the local disk."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.audit / PAYLOAD

    def keep(self, subject: Id, data: bytes) -> Digest:
        """Seal a payload; gives what goes into the event's `payload`. Raises OSError, ValueError when too large."""
        if len(data) > _LARGEST:
            raise ValueError("a payload is small")
        folder = self._of(subject)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        salted = secrets.token_bytes(_SALT) + data
        digest = Digest(sha256(salted).hexdigest())
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + AESGCM(self._key(folder)).encrypt(nonce, salted, f"{subject}\n{digest}".encode())
        write_private(folder / digest, sealed)
        return digest

    def read(self, subject: Id, digest: Digest) -> bytes | None:
        """The payload; None when it was erased, or is not what the event says."""
        folder = self._of(subject)
        try:
            key, sealed = (folder / _KEY).read_bytes(), (folder / digest).read_bytes()
            salted = AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], f"{subject}\n{digest}".encode())
        except (FileNotFoundError, InvalidTag, ValueError):
            return None
        return salted[_SALT:] if sha256(salted).hexdigest() == digest else None

    def erase(self, subject: Id) -> bool:
        """Destroy a person's key, then what it sealed. False when there was nothing. Raises OSError."""
        folder = self._of(subject)
        if not folder.exists():
            return False
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder / _KEY, os.O_WRONLY)
            try:
                os.pwrite(descriptor, bytes(32), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            (folder / _KEY).unlink()
        shutil.rmtree(folder)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def _of(self, subject: Id) -> Path:
        if "/" in subject or subject.startswith("."):
            raise ValueError("not an id")
        return self._folder / subject

    def _key(self, folder: Path) -> bytes:
        """The person's key, made once even if two ask for it together."""
        path = folder / _KEY
        with contextlib.suppress(FileExistsError):
            fresh = folder / f".{secrets.token_hex(4)}"
            write_private(fresh, secrets.token_bytes(32))
            try:
                os.link(fresh, path)
            finally:
                fresh.unlink()
        return path.read_bytes()
