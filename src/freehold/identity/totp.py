"""Time-based one-time passwords (RFC 6238): pure functions over a secret and a time. Called by factors.

HMAC-SHA-1, six digits, 30 seconds: what every authenticator app reads. A code of the step before or after is taken too,
for clocks that differ; that each step counts once is for the caller to remember.
"""

import base64
import hmac
import secrets
from urllib.parse import quote, urlencode

import segno

STEP_SECONDS = 30
DIGITS = 6
_NEIGHBOURS = (0, -1, 1)


def new_secret() -> bytes:
    """160 random bits, as RFC 4226 recommends."""
    return secrets.token_bytes(20)


def code(secret: bytes, step: int) -> str:
    """The six digits of a time step (RFC 4226, 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 0xF
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 10**DIGITS:0{DIGITS}}"


def matching_step(secret: bytes, given: str, now: float) -> int | None:
    """The time step whose code this is, of the three around `now` (seconds since 1970); compared in constant time."""
    present = int(now // STEP_SECONDS)
    found = None
    for step in (present + neighbour for neighbour in _NEIGHBOURS):
        if hmac.compare_digest(code(secret, step).encode(), given.encode("utf-8", "replace")):
            found = step
    return found


def shown(secret: bytes) -> str:
    """The secret in base32, for typing it in."""
    return base64.b32encode(secret).decode()


def address(secret: bytes, issuer: str, account: str) -> str:
    """The otpauth address that an authenticator app scans."""
    query = urlencode({"secret": shown(secret), "issuer": issuer, "digits": DIGITS, "period": STEP_SECONDS})
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='@')}?{query.replace('+', '%20')}"


def drawn(text: str) -> dict[str, int | str]:
    """A QR code of the text as an SVG path over a square of `size` units, with the quiet zone around it."""
    border = 4
    rows = [bytes(row) for row in segno.make(text, error="m", micro=False).matrix]
    path = [f"M{x + border} {y + border}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark]
    return {"size": len(rows) + 2 * border, "path": "".join(path)}
