"""Whether a signed token of a provider holds: pure decisions over its bytes, the provider's keys and the time.

Each key has one algorithm and takes no other (BAR-16); a token names its key, and only keys of the provider's own set
are looked at: nothing in a token can bring a key, name an address or switch a check off. What is cheap is looked at
first and the signature last, so that nonsense costs little. Three kinds of token are told apart, so that none passes
for another: access tokens (the gateway's door), ID tokens and logout tokens (the console). The signature itself is
joserfc's work.
"""

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from freehold.protocol.errors import Refused
from freehold.protocol.json import parse_object

LEEWAY = 60
"""Seconds by which the clocks of a provider and this machine may differ."""

LONGEST = 24 * 3600
"""No token that lives longer is taken, in seconds."""

MOST_BYTES = 8 << 10
_MOST_KEYS = 50
_MOST_DEPTH = 16
_HEADERS = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})  # thumbprints name no key here: they are not looked at
_PART = re.compile(r"[A-Za-z0-9_-]+")
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_EDWARDS = ("EdDSA", "Ed25519")
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_OF_ACCESS = ("scope", "scp", "client_id", "cid", "appid", "azpacr", "appidacr")
_OF_OTHERS = ("nonce", "at_hash", "c_hash", "s_hash", "events")
_LOGOUT = "http://schemas.openid.net/event/backchannel-logout"

Reason = Literal[
    "malformed", "header", "kind", "key_unknown", "algorithm", "issuer", "audience", "subject", "expired", "not_yet",
    "lifetime", "nonce", "event", "signature",
]  # fmt: skip
"""Why a token does not hold; told to nobody who sent one."""


class TokenInvalid(Refused):
    """The token does not hold. The text is one for every `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__("The token is not valid.", status=401, code="token_invalid")
        self.reason: Reason = reason


class _OneAlgorithm(JWSRegistry):
    """joserfc's registry with one algorithm in it. EdDSA, with Ed25519 keys only, is taken without its warning."""

    def get_alg(self, name: str) -> Any:
        if self.allowed is None or name not in self.allowed:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


_REGISTRIES = {name: _OneAlgorithm(algorithms=[name]) for name in (*_RSA, *_CURVES.values(), *_EDWARDS)}


@dataclass(frozen=True)
class Key:
    """One public key of a provider, with the one algorithm that it verifies."""

    id: str
    algorithm: str
    value: RSAKey | ECKey | OKPKey


class Keyring:
    """A provider's keys by their ids. What is no public signing key of a known kind is left out, and two of one id."""

    def __init__(self, keys: Iterable[Mapping[str, Any]]) -> None:
        self._keys: dict[str, Key] = {}
        twice: set[str] = set()
        for number, jwk in enumerate(keys):
            key = _key(jwk) if number < _MOST_KEYS else None
            if key is None:
                continue
            if key.id in self._keys:
                twice.add(key.id)
            self._keys[key.id] = key
        for key_id in twice:
            del self._keys[key_id]

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._keys

    def key_of(self, token: "Token") -> Key:
        """The key that the token names, if the token's algorithm is the key's. Raises TokenInvalid."""
        key = self._keys.get(token.key_id)
        if key is None:
            raise TokenInvalid("key_unknown")
        if token.algorithm != key.algorithm:
            raise TokenInvalid("algorithm")
        return key


@dataclass(frozen=True)
class Token:
    """A token taken apart, nothing in it believed yet."""

    text: str
    key_id: str
    algorithm: str
    kind: str
    claims: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> "Token":
        """Take a token apart: three parts in canonical base64url, two JSON objects, no header parameter that is not on
        the list. Raises TokenInvalid."""
        if len(text) > MOST_BYTES:
            raise TokenInvalid("malformed")
        parts = text.split(".")
        if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
            raise TokenInvalid("malformed")
        header = _object(parts[0])
        algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not header.keys() <= _HEADERS or not isinstance(algorithm, str) or not isinstance(kind, str):
            raise TokenInvalid("header")
        if not isinstance(key_id, str) or not key_id:
            raise TokenInvalid("key_unknown")
        _decoded(parts[2])
        return cls(text, key_id, algorithm, kind.lower().removeprefix("application/"), _object(parts[1]))


def access_claims(token: Token, keys: Keyring, *, issuer: str, audience: str, now: float) -> dict[str, Any]:
    """The claims of an access token for us; an ID, logout or refresh token is none. Raises TokenInvalid."""
    key = keys.key_of(token)
    check_access(token, issuer=issuer, audience=audience, now=now)
    return _signed(token, key)


def check_access(token: Token, *, issuer: str, audience: str, now: float) -> None:
    """All that an access token must say, but for its signature. Raises TokenInvalid."""
    claims = token.claims
    kind = claims.get("typ", "Bearer")
    said = token.kind == "at+jwt" or "typ" in claims or any(name in claims for name in _OF_ACCESS)
    if (
        token.kind not in ("jwt", "at+jwt")
        or not said
        or not isinstance(kind, str)
        or kind.lower() != "bearer"
        or claims.get("token_use", "access") != "access"
        or any(name in claims for name in _OF_OTHERS)
    ):
        raise TokenInvalid("kind")
    _check_place(claims, issuer, audience)
    _check_time(claims, now)
    _subject(claims)


def identity_claims(
    token: Token, keys: Keyring, *, issuer: str, client_id: str, nonce: str, now: float, access_token: str | None = None
) -> dict[str, Any]:
    """The claims of the ID token that answers our `nonce`. Raises TokenInvalid."""
    key, claims = keys.key_of(token), token.claims
    if token.kind != "jwt" or claims.get("typ", "ID") != "ID" or claims.get("token_use", "id") != "id":
        raise TokenInvalid("kind")
    if "events" in claims:
        raise TokenInvalid("kind")
    _check_place(claims, issuer, client_id)
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client_id) != client_id:
        raise TokenInvalid("audience")
    _check_time(claims, now)
    _subject(claims)
    if not isinstance(claims.get("iat"), int | float):
        raise TokenInvalid("lifetime")
    if not _same(claims.get("nonce"), nonce):
        raise TokenInvalid("nonce")
    if access_token is not None and "at_hash" in claims:
        _check_hash(claims["at_hash"], access_token, key.algorithm)
    return _signed(token, key)


def logout_claims(token: Token, keys: Keyring, *, issuer: str, client_id: str, now: float) -> dict[str, Any]:
    """The claims of a logout token (OpenID Connect Back-Channel Logout 1.0, 2.6) but for `jti` being new. Raises
    TokenInvalid."""
    key, claims = keys.key_of(token), token.claims
    events = claims.get("events")
    if token.kind not in ("jwt", "logout+jwt") or claims.get("typ", "Logout") != "Logout":
        raise TokenInvalid("kind")
    if not isinstance(events, dict) or not isinstance(events.get(_LOGOUT), dict) or "nonce" in claims:
        raise TokenInvalid("event")
    _check_place(claims, issuer, client_id)
    _check_time({"exp": _number(claims, "iat") + 2 * LEEWAY, **claims}, now)
    if not isinstance(claims.get("jti"), str) or not 1 <= len(claims["jti"]) <= 300:
        raise TokenInvalid("event")
    if "sub" not in claims and "sid" not in claims:
        raise TokenInvalid("subject")
    if "sub" in claims:
        _subject(claims)
    if "sid" in claims and (not isinstance(claims["sid"], str) or not 1 <= len(claims["sid"]) <= 300):
        raise TokenInvalid("subject")
    return _signed(token, key)


def _key(jwk: Mapping[str, Any]) -> Key | None:
    """The key if it is a public one for signatures that we verify, None for anything else."""
    kind, key_id = jwk.get("kty"), jwk.get("kid")
    if not isinstance(kind, str) or kind not in _PUBLIC or not isinstance(key_id, str) or not 1 <= len(key_id) <= 300:
        return None
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    if _PRIVATE & jwk.keys():  # a key that everybody can sign with
        return None
    algorithm = _algorithm(jwk)
    public = {name: jwk.get(name) for name in _PUBLIC[kind]}
    if algorithm is None or not all(isinstance(value, str) for value in public.values()):
        return None
    try:
        if kind == "RSA" and not _sound(_decoded(jwk["n"]), _decoded(jwk["e"])):
            return None
        value = _imported(kind, {"kty": kind, **public})
    except (TokenInvalid, JoseError, ValueError, TypeError):
        return None
    return Key(key_id, algorithm, value)


def _imported(kind: str, public: dict[str, Any]) -> RSAKey | ECKey | OKPKey:
    if kind == "RSA":
        return RSAKey.import_key(public)
    return ECKey.import_key(public) if kind == "EC" else OKPKey.import_key(public)


def _algorithm(jwk: Mapping[str, Any]) -> str | None:
    """The one algorithm of a key: as it says, if that fits its kind, else the usual one of its kind."""
    said, curve = jwk.get("alg"), jwk.get("crv")
    match jwk["kty"]:
        case "RSA":
            fitting: tuple[str, ...] = _RSA
        case "EC":
            fitting = (_CURVES[curve],) if isinstance(curve, str) and curve in _CURVES else ()
        case _:
            fitting = _EDWARDS if curve == "Ed25519" else ()
    if said is None:
        return fitting[0] if fitting else None
    return said if said in fitting else None


def _sound(modulus: bytes, exponent: bytes) -> bool:
    """Whether an RSA key is neither weak nor so large that it costs us more than its owner."""
    n, e = int.from_bytes(modulus[:2048], "big"), int.from_bytes(exponent[:64], "big")
    return 2048 <= n.bit_length() <= 8192 and e % 2 == 1 and 3 <= e < 1 << 32


def _signed(token: Token, key: Key) -> dict[str, Any]:
    try:
        found = jws.deserialize_compact(token.text, key.value, registry=_REGISTRIES[key.algorithm])
    except (JoseError, ValueError, TypeError):
        raise TokenInvalid("signature") from None
    if found.protected.get("alg") != key.algorithm:
        raise TokenInvalid("signature")
    return token.claims


def _check_place(claims: Mapping[str, Any], issuer: str, audience: str) -> None:
    if claims.get("iss") != issuer:
        raise TokenInvalid("issuer")
    said = claims.get("aud")
    several = said if isinstance(said, list) else [said]
    if not all(isinstance(one, str) for one in several) or audience not in several:
        raise TokenInvalid("audience")


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    until = _number(claims, "exp")
    begun = _number(claims, "iat") if "iat" in claims else now
    start = _number(claims, "nbf") if "nbf" in claims else begun
    if until + LEEWAY <= now:
        raise TokenInvalid("expired")
    if max(begun, start) - LEEWAY > now:
        raise TokenInvalid("not_yet")
    if until - begun > LONGEST or until - now > LONGEST + LEEWAY:
        raise TokenInvalid("lifetime")


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11 or math.isnan(value):
        raise TokenInvalid("lifetime")
    return value


def _subject(claims: Mapping[str, Any]) -> None:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or not subject.isprintable():
        raise TokenInvalid("subject")


def _check_hash(said: Any, access_token: str, algorithm: str) -> None:
    name = "sha512" if algorithm in _EDWARDS else f"sha{algorithm[2:]}"
    digest = hashlib.new(name, access_token.encode()).digest()
    if not _same(said, base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")):
        raise TokenInvalid("nonce")


def _same(said: Any, wanted: str) -> bool:
    return isinstance(said, str) and hmac.compare_digest(said.encode("utf-8", "replace"), wanted.encode())


def _object(part: str) -> dict[str, Any]:
    try:
        return parse_object(_decoded(part), max_depth=_MOST_DEPTH)
    except TokenInvalid:
        raise
    except Refused:
        raise TokenInvalid("malformed") from None


def _decoded(part: str) -> bytes:
    """The bytes of a part that is written as base64url writes them: one token has one spelling."""
    try:
        value = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenInvalid("malformed") from None
    if base64.urlsafe_b64encode(value).rstrip(b"=") != part.encode():
        raise TokenInvalid("malformed")
    return value
