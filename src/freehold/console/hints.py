"""The ID token by which a session was opened, kept so that signing out can show it to the provider.

Some providers ask for it at their sign-out, others ask the person once more without it. It names a person, so it stays
in this process's memory and is never written; when there are too many, or after a restart, signing out goes without.
"""

import hashlib
from collections import OrderedDict

_MOST = 1000
_LONGEST = 4 << 10  # it becomes a part of an address


class Hints:
    """ID tokens by the digest of their session's secret."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[bytes, str] = OrderedDict()

    def keep(self, secret: str, token: str) -> None:
        """Remember the ID token of a session."""
        if len(token) <= _LONGEST:
            self._tokens[_digest(secret)] = token
            if len(self._tokens) > _MOST:
                self._tokens.popitem(last=False)

    def take(self, secret: str) -> str | None:
        """The ID token of a session, and forget it."""
        return self._tokens.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
