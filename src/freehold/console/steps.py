"""What the console remembers between the two requests of a sign-in or a passkey ceremony. In memory, for minutes.

The browser holds a random secret in a `__Host-` cookie of its own; what it stands for never leaves this process. A step
is good for a few tries and then gone; when there are too many, the oldest is forgotten.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "__Host-freehold-step"
LAST_SECONDS = 300
_MOST = 10_000


class _Step(msgspec.Struct):
    kind: str
    value: Any
    until: float
    tries: int


class Steps:
    """Steps by the digest of their secret. `clock` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: OrderedDict[bytes, _Step] = OrderedDict()

    def begin(self, response: Response, kind: str, value: Any, *, tries: int = 1) -> None:
        """Remember `value` for the browser that gets this response."""
        secret = secrets.token_urlsafe(32)
        self._steps[_digest(secret)] = _Step(kind, value, self._clock() + LAST_SECONDS, tries)
        while len(self._steps) > _MOST:
            self._steps.popitem(last=False)
        response.set_cookie(
            COOKIE, secret, max_age=LAST_SECONDS, path="/", secure=True, httponly=True, samesite="strict"
        )

    def take(self, request: Request, kind: str) -> Any:
        """What was remembered for this browser, using up one of its tries. None: nothing of this kind, or too late."""
        digest = _digest(request.cookies.get(COOKIE, ""))
        step = self._steps.get(digest)
        if step is None or step.kind != kind:
            return None
        step.tries -= 1
        if step.tries <= 0 or step.until < self._clock():
            del self._steps[digest]
        return step.value if step.until >= self._clock() else None

    def end(self, request: Request, response: Response) -> None:
        """Forget what was remembered for this browser."""
        self._steps.pop(_digest(request.cookies.get(COOKIE, "")), None)
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
