"""Tokens that must not hold, made by rule from ones that do: the attacks of a decade, each with what it tries.

Used by `test_tokens` (the verifier alone) and by the gateway's tests (the same through the door).
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

ISSUER, AUDIENCE, CLIENT, NONCE = "https://login.example.org/realms/a", "freehold-api", "freehold", "n-0S6_WzA2Mj"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

Json = dict[str, Any]


class _Anything(JWSRegistry):
    """Signs with whatever it is told to: the forger's tool."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]

    def check_header(self, header: Any) -> None:
        pass


KEYS: dict[str, Any] = {
    "RS256": RSAKey.generate_key(2048),
    "PS256": RSAKey.generate_key(2048),
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "EdDSA": OKPKey.generate_key("Ed25519"),
}
OURS = "RS256"
STRANGER = RSAKey.generate_key(2048)
STRANGER_EC = ECKey.generate_key("P-256")


def jwks() -> list[Json]:
    """The provider's key set: a key for each algorithm, named by it."""
    return [
        {**key.as_dict(private=False), "kid": name, "use": "sig", "alg": name} for name, key in sorted(KEYS.items())
    ]


def part(value: Any) -> str:
    """One part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def access(now: float, **claims: Any) -> Json:
    """Claims of a good access token, changed; None takes a claim away."""
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada-1", "iat": int(now), "exp": int(now) + 300, "scope": "openid",
            "client_id": "cli", **claims}  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def identity(now: float, **claims: Any) -> Json:
    """Claims of a good ID token, changed."""
    said = {"iss": ISSUER, "aud": CLIENT, "sub": "ada-1", "iat": int(now), "exp": int(now) + 300, "nonce": NONCE,
            "email": "ada@example.org", "email_verified": True, **claims}  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def logout(now: float, **claims: Any) -> Json:
    """Claims of a good logout token, changed."""
    said = {"iss": ISSUER, "aud": CLIENT, "sub": "ada-1", "sid": "s-1", "iat": int(now), "exp": int(now) + 120,
            "jti": "j-1", "events": {LOGOUT_EVENT: {}}, **claims}  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def signed(claims: Json | bytes, header: Mapping[str, Any] | None = None, key: Any = None, alg: str = OURS) -> str:
    """A token signed with `key` (the provider's own for `alg`, unless given). None takes a header parameter away."""
    protected: Json = {"alg": alg, "kid": alg, "typ": "JWT", **(header or {})}
    protected = {name: value for name, value in protected.items() if value is not None}
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{part(protected)}.{part(body)}"
    made = key if key is not None else KEYS[alg]
    return f"{text}.{part(_Anything.algorithms[alg].sign(text.encode(), made))}"


def hmac_signed(claims: Json, secret: bytes, name: str = "sha256", **header: Any) -> str:
    """A token whose signature is a MAC under `secret`: key confusion."""
    text = f"{part({'alg': 'HS' + name[3:], 'kid': OURS, 'typ': 'JWT', **header})}.{part(claims)}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), name))}"


def forgeries(now: float, good: Callable[..., Json] = access) -> Iterator[tuple[str, str]]:
    """Every forgery with its name. `good` makes the claims that it starts from."""
    yield from _unsigned(now, good)
    yield from _confused(now, good)
    yield from _brought(now, good)
    yield from _wrong_key(now, good)
    yield from _wrong_claims(now, good)
    yield from _misshapen(now, good)
    yield from _signatures(now, good)


def _unsigned(now: float, good: Callable[..., Json]) -> Iterator[tuple[str, str]]:
    body = part(good(now))
    real = signed(good(now)).rpartition(".")[2]
    for name in ("none", "None", "NONE", "nOnE", "nonE", "none ", "", "null"):  # CVE-2015-9235, CVE-2018-1000531, …
        for signature in ("", real, "AA"):
            header = {"alg": name, "kid": OURS, "typ": "JWT"}
            yield f"CVE-2015-9235 alg {name!r} signature {signature[:4]!r}", f"{part(header)}.{body}.{signature}"
    odds: tuple[Any, ...] = (
        None,
        1,
        True,
        ["RS256"],
        {"RS256": 1},
        "RS256\0",
        "rs256",
        "RS256 ",
        "RSA",
        "SHA256withRSA",
    )
    for odd in odds:
        yield f"alg {odd!r}", f"{part({'alg': odd, 'kid': OURS, 'typ': 'JWT'})}.{body}.{real}"
    yield "no alg", f"{part({'kid': OURS})}.{body}.{real}"


def _confused(now: float, good: Callable[..., Json]) -> Iterator[tuple[str, str]]:
    """The public key as a MAC's secret: CVE-2016-5431, CVE-2022-29217, CVE-2023-48238, CVE-2024-33663."""
    for name in ("RS256", "ES256", "EdDSA"):
        public = KEYS[name].public_key
        spki = [
            public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
            for encoding in (Encoding.PEM, Encoding.DER)
        ]
        forms = [*spki, spki[0].strip(), spki[0].replace(b"\n", b"\r\n"),
                 json.dumps(KEYS[name].as_dict(private=False)).encode()]  # fmt: skip
        if name == "RS256":
            forms += [public.public_bytes(e, PublicFormat.PKCS1) for e in (Encoding.PEM, Encoding.DER)]
            forms += [KEYS[name].as_dict(private=False)["n"].encode()]
        if name != "RS256":
            forms += [public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)]  # CVE-2022-29217, CVE-2024-33663
        for number, secret in enumerate(forms):
            for digest in ("sha256", "sha512"):
                yield f"key confusion {name} form {number} {digest}", hmac_signed(good(now), secret, digest, kid=name)
    for secret in (b"", b"\0", b"secret", OURS.encode(), hashlib.sha256(b"").digest()):
        yield f"MAC with {secret!r}", hmac_signed(good(now), secret)
        yield f"MAC with {secret!r}, no kid", hmac_signed(good(now), secret, kid="")


def _brought(now: float, good: Callable[..., Json]) -> Iterator[tuple[str, str]]:
    """CVE-2018-0114 and its kin: the token brings its key, or says where to find it, or asks for something odd."""
    own = STRANGER.as_dict(private=False)
    brought = {
        "jwk": own, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/cert", "x5c": ["MIIB"],
        "crit": ["exp"], "b64": False, "zip": "DEF", "cty": "JWT", "enc": "A256GCM", "epk": own, "apu": "x",
        "p2c": 10**9, "p2s": "x", "iv": "x", "tag": "x", "url": "https://evil.example", "nonce": "x", "keys": [own],
        "jwks": {"keys": [own]}, "secret": "x", "unknown": 1, "iss": ISSUER, "exp": int(now) + 300,
    }  # fmt: skip
    for name, value in brought.items():
        yield f"header {name}, the provider's signature", signed(good(now), {name: value})
        yield f"CVE-2018-0114 header {name}, a stranger's signature", signed(good(now), {name: value}, STRANGER)
    yield "critical b64", signed(good(now), {"crit": ["b64"], "b64": False})
    yield "a stranger's key without kid", signed(good(now), {"jwk": own, "kid": None}, STRANGER)
    kids: tuple[Any, ...] = (
        "../../../dev/null", "/dev/null", "' UNION SELECT 'x", "x;ls", "", "RS256\0", "rs256", " RS256", "*",
        "a" * 4000, "http://evil.example", "${jndi:ldap://x}", None, 0, True, ["RS256"], {"$ne": ""},
    )  # fmt: skip
    for kid in kids:
        yield f"kid {str(kid)[:24]!r}", signed(good(now), {"kid": kid})
        if isinstance(kid, str) and kid:
            yield f"MAC of nothing for kid {kid[:24]!r}", hmac_signed(good(now), b"", kid=kid)


def _wrong_key(now: float, good: Callable[..., Json]) -> Iterator[tuple[str, str]]:
    for name in KEYS:
        for other in KEYS:
            if name != other:
                yield f"{name} signed, kid of {other}", signed(good(now), {"kid": other}, alg=name)
                yield (
                    f"{name} signed, kid and alg of {other}",
                    signed(good(now), {"kid": other, "alg": other}, alg=name),
                )
    for name in ("RS384", "RS512", "PS256", "PS384", "PS512"):
        yield f"{name} with the key for RS256", signed(good(now), {"kid": OURS}, KEYS[OURS], name)
    yield "ES256K", signed(good(now), {"kid": "ES256", "alg": "ES256K"}, alg="ES256")
    yield "Ed25519 with the key for EdDSA", signed(good(now), {"kid": "EdDSA", "alg": "Ed25519"}, alg="EdDSA")
    yield "a stranger's key", signed(good(now), key=STRANGER)
    yield "a stranger's curve key", signed(good(now), {"kid": "ES256"}, STRANGER_EC, "ES256")


def _wrong_claims(now: float, good: Callable[..., Json]) -> Iterator[tuple[str, str]]:
    at = int(now)
    wrong: dict[str, tuple[Any, ...]] = {
        "iss": (None, "", "https://evil.example", ISSUER + "/", ISSUER.upper(), ISSUER[:-1], [ISSUER], 1, True,
                "http://login.example.org/realms/a", f"{ISSUER}@evil.example", f" {ISSUER}"),
        "aud": (None, "", "other", [], ["other"], {"x": 1}, 1, True, "freehold-api ", "freehold-apix", [None],
                ["freehold-api", 1], ["freehold", ["freehold-api"]], "FREEHOLD-API"),
        "exp": (None, at - 61, at - 3600, 0, -1, "9999999999", True, False, [at + 300], {"x": 1}, at + 90_000, 10**30,
                1e308, 99999999999999),
        "nbf": (at + 120, "0", True, [0], -1, 10**30),
        "iat": (at + 120, "0", True, [0], -1, 10**30, at - 90_000),
        "sub": (None, "", 1, True, ["ada-1"], {"x": 1}, "a" * 256, "ada\n1", "ada\0"),
    }  # fmt: skip
    for name, values in wrong.items():
        for value in values:
            yield f"{name} {str(value)[:30]!r}", signed(good(now, **{name: value}))


def _misshapen(now: float, good: Callable[..., Json]) -> Iterator[tuple[str, str]]:
    real = signed(good(now))
    head, body, signature = real.split(".")
    yield "empty", ""
    yield "dots", ".."
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{real}.x"
    yield "five parts", f"{head}.x.x.{body}.{signature}"
    yield "no head", f".{body}.{signature}"
    yield "no body", f"{head}..{signature}"
    yield "no signature", f"{head}.{body}."
    yield "padding", f"{head}.{body}.{signature}=="
    yield "padded head", f"{head}=.{body}.{signature}"
    yield "a space", f" {real}"
    yield "a line end", f"{real}\n"
    yield "a null", f"{real}\0"
    yield "standard base64", f"{head}.{body}.{signature[:-4]}+/+/"
    yield "an accent", f"{head}.{body}.{signature[:-1]}é"
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = last[(last.index(signature[-1]) & ~3) | ((last.index(signature[-1]) + 1) & 3)]
    yield "another spelling of the same bytes", f"{head}.{body}.{signature[:-1]}{loose}"
    yield "as JSON", json.dumps({"payload": body, "protected": head, "signature": signature})
    yield "encrypted", ".".join([part({"alg": "dir", "enc": "A256GCM"}), "", part(b"iv"), part(b"x"), part(b"tag")])
    for text in (b"", b"null", b"[]", b'"x"', b"1", b"{", b"{}x", b"\xff", b"\xef\xbb\xbf{}", b'{"a":NaN}'):
        yield f"claims {text!r}", signed(text)
    twice = json.dumps(good(now))[:-1].encode() + f', "exp": {int(now) + 301}}}'.encode()
    yield "a claim twice", signed(twice)
    yield "an issuer twice", signed(b'{"iss": "https://evil.example", ' + json.dumps(good(now))[1:].encode())
    header = json.dumps({"alg": "RS256", "kid": OURS, "typ": "JWT"})
    for odd in (header[:-1] + ', "alg": "none"}', '{"alg": "none", ' + header[1:], "[]", "null", "{}", '"RS256"'):
        start = f"{part(odd.encode())}.{body}"
        mark = _Anything.algorithms[OURS].sign(start.encode(), KEYS[OURS])
        yield f"header {odd[:24]}", f"{start}.{part(mark)}"
    yield "deep", signed(json.dumps(good(now))[:-1].encode() + b', "x": ' + b"[" * 500 + b"]" * 500 + b"}")
    yield "huge", signed(good(now, x="a" * 9000))
    yield "huge and zipped", signed(good(now, x="a" * 9000), {"zip": "DEF"})
    yield "a megabyte", signed(good(now)) + "A" * (1 << 20)


_ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


def _signatures(now: float, good: Callable[..., Json]) -> Iterator[tuple[str, str]]:
    """CVE-2022-21449 (r = s = 0) and other signatures that are none; a signature of other bytes."""
    for name, size in (("ES256", 32), ("ES384", 48)):
        head, body, signature = signed(good(now), alg=name).split(".")
        n, zero, one = _ORDERS[name].to_bytes(size, "big"), bytes(size), b"\1".rjust(size, b"\0")
        psychic = {
            "0 0": zero + zero, "0 1": zero + one, "1 0": one + zero, "n n": n + n, "0 n": zero + n, "n 0": n + zero,
            "empty DER": b"0\6\2\1\0\2\1\0", "short": zero, "long": bytes(4 * size),
        }  # fmt: skip
        for label, value in psychic.items():
            yield f"CVE-2022-21449 {name} {label}", f"{head}.{body}.{part(value)}"
        raw = base64.urlsafe_b64decode(signature + "==")
        yield f"{name} with a byte more", f"{head}.{body}.{part(raw + b'0')}"
        yield f"{name} with a byte less", f"{head}.{body}.{part(raw[:-1])}"
    for name in KEYS:
        head, body, signature = signed(good(now), alg=name).split(".")
        other = part(good(now, sub="eve"))
        yield f"{name}, other claims", f"{head}.{other}.{signature}"
        yield f"{name}, another header", f"{part({'alg': name, 'kid': name})}.{body}.{signature}"
        yield f"{name}, zeros", f"{head}.{body}.{part(bytes(64))}"
        bent = bytearray(base64.urlsafe_b64decode(signature + "=="))
        bent[len(bent) // 2] ^= 1
        yield f"{name}, one bit", f"{head}.{body}.{part(bytes(bent))}"


def clock() -> float:
    """Now."""
    return time.time()
