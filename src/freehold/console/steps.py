"""What the console remembers between the two requests of a sign-in or a passkey ceremony. In memory, for minutes.

The browser holds a random secret in a `__Host-` cookie of its own; what it stands for never leaves this process. A step
is good for a few tries and then gone; when there are too many, the oldest is forgotten. The way to a sign-in provider
and back has steps, and a cookie, of its own: the browser is sent back by another site, where it keeps a Strict cookie
to itself, so that one is Lax. It stands for nothing but the one sign-in that this browser began.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "__Host-freehold-step"
CROSSING = "__Host-freehold-crossing"
LAST_SECONDS = 300
_MOST = 10_000


class _Step(msgspec.Struct):
    kind: str
    value: Any
    until: float
    tries: int


class Steps:
    """Steps by the digest of their secret. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        cookie: str = COOKIE,
        same_site: Literal["strict", "lax"] = "strict",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cookie = cookie
        self._same_site = same_site
        self._clock = clock
        self._steps: OrderedDict[bytes, _Step] = OrderedDict()

    def begin(self, response: Response, kind: str, value: Any, *, tries: int = 1) -> None:
        """Remember `value` for the browser that gets this response."""
        secret = secrets.token_urlsafe(32)
        self._steps[_digest(secret)] = _Step(kind, value, self._clock() + LAST_SECONDS, tries)
        while len(self._steps) > _MOST:
            self._steps.popitem(last=False)
        response.set_cookie(
            self._cookie,
            secret,
            max_age=LAST_SECONDS,
            path="/",
            secure=True,
            httponly=True,
            samesite=self._same_site,
        )

    def take(self, request: Request, kind: str) -> Any:
        """What was remembered for this browser, using up one of its tries. None: nothing of this kind, or too late."""
        digest = _digest(request.cookies.get(self._cookie, ""))
        step = self._steps.get(digest)
        if step is None or step.kind != kind:
            return None
        step.tries -= 1
        if step.tries <= 0 or step.until < self._clock():
            del self._steps[digest]
        return step.value if step.until >= self._clock() else None

    def end(self, request: Request, response: Response) -> None:
        """Forget what was remembered for this browser."""
        self._steps.pop(_digest(request.cookies.get(self._cookie, "")), None)
        response.delete_cookie(self._cookie, path="/", secure=True, httponly=True, samesite=self._same_site)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
