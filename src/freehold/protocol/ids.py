"""Identifiers and secrets: how they look, how they are made. Random, typed by prefix, safe in URLs and logs.

An identifier is `PREFIX_` and 96 random bits in base64url. A secret (`fh_…` API key, `fhs_…` session, `fhc_…` claim,
`fhp_…` provisioning client) is the prefix, 256 random bits and six characters of CRC-32: the check lets us refuse a
typing error or a guess without a look-up, and lets secret scanners recognise a leaked key.
"""

import base64
import re
import secrets
import zlib

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET = re.compile(r"(fh|fhs|fhc|fhp)_([A-Za-z0-9_-]{43})([0-9A-Za-z]{6})", re.ASCII)


def new_id(prefix: str) -> str:
    """A fresh identifier such as `exg_3Jq…` (96 bits: no two in the life of an installation)."""
    return f"{prefix}_{base64.urlsafe_b64encode(secrets.token_bytes(12)).decode()}"


def new_secret(prefix: str) -> str:
    """A fresh secret: 256 random bits and a check value. `prefix` is `fh`, `fhs`, `fhc` or `fhp`."""
    body = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return f"{prefix}_{body}{_check(f'{prefix}_{body}')}"


def secret_kind(secret: str) -> str | None:
    """The prefix of a well-formed secret with a right check value, else None. Says nothing about its validity."""
    match = _SECRET.fullmatch(secret)
    if match is None:
        return None
    prefix, body, check = match.groups()
    return prefix if _check(f"{prefix}_{body}") == check else None


def _check(text: str) -> str:
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        value, rest = divmod(value, 62)
        digits = _ALPHABET[rest] + digits
    return digits
