"""Secrets that must be read again (an authenticator's seed, a provider's client secret), sealed for the database.

AES-256-GCM under a key that HKDF-SHA256 derives from the installation's key, one per purpose. The place is bound in:
a sealed value that is copied to another row does not open there. Called by factors and the providers.
"""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12
_VERSION = b"\x01"


class Sealer:
    """Seals for one purpose, such as `totp`. `key` is the installation's (`layout.secret("credentials")`)."""

    def __init__(self, key: bytes, purpose: str) -> None:
        info = b"freehold sealing " + purpose.encode()
        self._aead = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key))

    def seal(self, plain: bytes, place: str) -> bytes:
        """The sealed value: a version, a nonce, the cipher text. `place` is whose it is, such as a user's id."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes | None:
        """What was sealed; None when it was changed, belongs elsewhere or was sealed under another key."""
        if sealed[:1] != _VERSION:
            return None
        try:
            return self._aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], place.encode())
        except (InvalidTag, ValueError):
            return None
