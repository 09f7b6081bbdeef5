"""Registered values as keyed fingerprints: what is kept of a customer's name, an account number, a canary.

A value is folded (case, marks, look-alikes, spaces and punctuation taken away) and only an HMAC-SHA256 of that is
kept, under a key that belongs to the workspace. Two tags of 16 bits, keyed too, tell of its first and last four
characters: by them a stream knows early that text is no registered value. From none of it can the value be read
without the key. Called by the command line and the console to register, by `exact` to search.
"""

import functools
import hmac
import unicodedata

import msgspec

from freehold.guard.reading import CAPITAL, OTHER_LETTER, SMALL, read
from freehold.protocol.errors import Refused

HEAD = 4
"""How many folded characters a tag is of."""
LEAST, MOST = 5, 64
"""How many folded characters (letters and digits) a value has."""
_PRINT = 16


class Known(msgspec.Struct, frozen=True):
    """What is kept of one value. `length` in folded characters; `label` says to people which value it is."""

    kind: str
    label: str
    length: int
    fingerprint: bytes
    head: int
    tail: int


def workspace_key(secret: bytes, workspace_id: str) -> bytes:
    """The key of a workspace's values, from the installation's secret for the guard."""
    return hmac.digest(secret, b"freehold registered values\0" + workspace_id.encode(), "sha256")


class _Folding(dict[int, str]):
    """Code point → one folded character; a space for what separates."""

    def __missing__(self, point: int) -> str:
        char = chr(point).casefold()[:1]
        seen = read(char)
        if seen and seen[0] < 128:
            plain = chr(seen[0]).lower()
        elif seen and seen[0] in (CAPITAL, SMALL, OTHER_LETTER):
            plain = unicodedata.normalize("NFKC", char)[:1]
        else:
            plain = " "
        self[point] = plain = plain if plain.isalnum() or point < 128 else " "
        if len(self) > 20_000:
            self.clear()
        return plain


_folding = _Folding()


def fold(text: str) -> str:
    """The text with each letter and digit in its plain small form; as long as it was."""
    return text.lower() if text.isascii() else text.translate(_folding)


def folded(value: str) -> str:
    """The letters and digits of a value alone."""
    return "".join(char for char in fold(value) if char.isalnum())


def register(key: bytes, value: str, kind: str, label: str) -> Known:
    """What to keep of a value. Raises Refused when it is too short to be found without false alarms, or too long."""
    plain = folded(value)
    if not LEAST <= len(plain) <= MOST:
        raise Refused(f"A registered value has {LEAST} to {MOST} letters and digits.", code="invalid_value")
    return Known(
        kind, label, len(plain), fingerprint(key, plain), tag(key, plain[:HEAD]), tag(key, plain[: -HEAD - 1 : -1])
    )


def fingerprint(key: bytes, plain: str) -> bytes:
    """Of a folded value."""
    return hmac.digest(key, b"value\0" + plain.encode(), "sha256")[:_PRINT]


@functools.lru_cache(maxsize=4096)
def tag(key: bytes, begin: str) -> int:
    """Of four folded characters."""
    return int.from_bytes(hmac.digest(key, b"tag\0" + begin.encode(), "sha256")[:2], "big")
