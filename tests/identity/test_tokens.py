"""The token verifier: hundreds of forgeries and not one let in; what is good is let in; bad keys are none."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from freehold.identity import tokens
from freehold.identity.tokens import Keyring, Token, TokenInvalid
from tests.identity import forged
from tests.identity.forged import AUDIENCE, CLIENT, ISSUER, KEYS, NONCE

NOW = time.time()
RING = Keyring(forged.jwks())


def access(text: str, *, now: float = NOW, ring: Keyring = RING) -> dict[str, Any]:
    return tokens.access_claims(Token.read(text), ring, issuer=ISSUER, audience=AUDIENCE, now=now)


def identity(text: str, *, now: float = NOW, access_token: str | None = None) -> dict[str, Any]:
    return tokens.identity_claims(
        Token.read(text), RING, issuer=ISSUER, client_id=CLIENT, nonce=NONCE, now=now, access_token=access_token
    )


def logout(text: str, *, now: float = NOW) -> dict[str, Any]:
    return tokens.logout_claims(Token.read(text), RING, issuer=ISSUER, client_id=CLIENT, now=now)


def reason(work: Callable[..., Any], *given: Any, **more: Any) -> str | None:
    try:
        work(*given, **more)
    except TokenInvalid as error:
        assert (error.status, error.message) == (401, "The token is not valid.")
        return error.reason
    return None


@pytest.mark.parametrize("name", KEYS)
def test_a_good_token_of_each_algorithm_holds(name: str) -> None:
    assert access(forged.signed(forged.access(NOW), alg=name))["sub"] == "ada-1"
    assert identity(forged.signed(forged.identity(NOW), alg=name))["email"] == "ada@example.org"
    assert logout(forged.signed(forged.logout(NOW), alg=name))["sid"] == "s-1"


FORGERIES = list(forged.forgeries(NOW))


def test_no_forgery_is_let_in() -> None:
    assert len(FORGERIES) >= 300
    assert len({text for _, text in FORGERIES}) >= 290
    let_in = [name for name, text in FORGERIES if reason(access, text) is None]
    assert let_in == []
    for cve in ("2015-9235", "2018-0114", "2022-21449"):
        assert any(cve in name for name, _ in FORGERIES)


@pytest.mark.parametrize(
    ("good", "check", "harmless"),
    [(forged.identity, identity, []), (forged.logout, logout, ["exp 'None'", "sub 'None'"])],
    ids=["identity", "logout"],
)
def test_no_forgery_is_an_id_token_or_a_logout_token(
    good: Callable[..., Any], check: Callable[..., Any], harmless: list[str]
) -> None:
    let_in = [name for name, text in forged.forgeries(NOW, good) if reason(check, text) is None]
    assert let_in == harmless, "a logout token may name the session alone, and say only when it was made"


def test_nothing_fails_by_another_error_than_ours() -> None:
    for _, text in FORGERIES:
        for check in (access, identity, logout):
            reason(check, text)


@given(st.text(max_size=300) | st.lists(st.text(alphabet="ABCabc-_012=.", max_size=40), max_size=5).map(".".join))
@settings(max_examples=150, deadline=None)
def test_any_text_is_refused_quietly(text: str) -> None:
    assert reason(access, text) is not None


@pytest.mark.parametrize("place", range(3))
def test_a_change_of_any_character_is_noticed(place: int) -> None:
    parts = forged.signed(forged.access(NOW), alg="ES256").split(".")
    for at in range(len(parts[place])):
        changed = list(parts)
        changed[place] = f"{parts[place][:at]}{'A' if parts[place][at] != 'A' else 'B'}{parts[place][at + 1 :]}"
        assert reason(access, ".".join(changed)) is not None


def test_a_token_has_one_spelling() -> None:
    """Else one bad token would be many in every memory of bad ones."""
    said = dict(FORGERIES)["another spelling of the same bytes"]
    assert reason(Token.read, said) == "malformed"
    assert reason(Token.read, forged.signed(forged.access(NOW))) is None


# --- one kind of token is not another
@pytest.mark.parametrize(
    "claims",
    [
        forged.identity(NOW, aud=AUDIENCE), forged.identity(NOW, aud=AUDIENCE, nonce=None),
        forged.identity(NOW, aud=AUDIENCE, nonce=None, at_hash="x"), forged.identity(NOW, aud=[CLIENT, AUDIENCE]),
        forged.access(NOW, nonce="x"), forged.access(NOW, at_hash="x"), forged.access(NOW, c_hash="x"),
        forged.access(NOW, scope=None, client_id=None), forged.access(NOW, typ="ID"), forged.access(NOW, typ="Refresh"),
        forged.access(NOW, typ=["Bearer"]), forged.access(NOW, token_use="id"), forged.logout(NOW, aud=AUDIENCE),
        forged.access(NOW, events={}),
    ],
)  # fmt: skip
def test_what_is_no_access_token_does_not_open_the_api(claims: dict[str, Any]) -> None:
    assert reason(access, forged.signed(claims)) in ("kind", "audience")


@pytest.mark.parametrize("kind", ["logout+jwt", "id+jwt", "refresh+jwt", "dpop+jwt", "JOSE", "", "secevent+jwt"])
def test_a_token_of_another_declared_kind_is_refused(kind: str) -> None:
    assert reason(access, forged.signed(forged.access(NOW), {"typ": kind})) == "kind"
    assert reason(identity, forged.signed(forged.identity(NOW), {"typ": kind})) == "kind"


def test_what_says_that_it_is_an_access_token_is_one() -> None:
    bare = forged.access(NOW, scope=None, client_id=None)
    for header in ({"typ": "at+jwt"}, {"typ": "application/at+jwt"}, {"typ": "AT+JWT"}):
        assert access(forged.signed(bare, header))
    for said in (
        {"typ": "Bearer"},
        {"scp": "x"},
        {"cid": "x"},
        {"azpacr": "1"},
        {"appid": "x"},
    ):  # Keycloak, Okta, Entra
        assert access(forged.signed({**bare, **said}))
    assert access(forged.signed(bare | {"scp": "x"}, {"x5t": "thumb", "x5t#S256": "thumb"}))
    assert reason(identity, forged.signed(forged.access(NOW, aud=CLIENT), {"typ": "at+jwt"})) == "kind"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"nonce": None}, "nonce"), ({"nonce": "other"}, "nonce"), ({"nonce": [NONCE]}, "nonce"),
        ({"nonce": ""}, "nonce"), ({"azp": "other"}, "audience"), ({"aud": [CLIENT, "other"]}, "audience"),
        ({"aud": [CLIENT, "other"], "azp": "other"}, "audience"), ({"typ": "Bearer"}, "kind"),
        ({"typ": "Logout"}, "kind"), ({"events": {}}, "kind"), ({"iat": None}, "lifetime"),
        ({"at_hash": "wrong"}, "nonce"), ({"at_hash": 1}, "nonce"),
    ],
)  # fmt: skip
def test_an_id_token_must_answer_our_question(changed: dict[str, Any], why: str) -> None:
    assert reason(identity, forged.signed(forged.identity(NOW, **changed)), access_token="x") == why


def test_an_id_token_for_several_says_that_we_asked() -> None:
    assert identity(forged.signed(forged.identity(NOW, aud=[CLIENT, "other"], azp=CLIENT)))


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": NONCE}, {"events": None}, {"events": {}}, {"events": []}, {"events": {forged.LOGOUT_EVENT: None}},
        {"events": {forged.LOGOUT_EVENT: 1}}, {"events": {"x": {}}}, {"jti": None}, {"jti": 1}, {"jti": ""},
        {"sub": None, "sid": None}, {"sid": 1}, {"sid": ""}, {"iat": None}, {"typ": "ID"}, {"typ": "Bearer"},
        {"exp": None, "iat": int(NOW) - 200},
    ],
)  # fmt: skip
def test_a_logout_token_must_be_one(changed: dict[str, Any]) -> None:
    assert reason(logout, forged.signed(forged.logout(NOW, **changed))) is not None


def test_an_id_token_signs_nobody_out_and_a_logout_token_nobody_in() -> None:
    assert reason(logout, forged.signed(forged.identity(NOW))) == "event"
    assert reason(identity, forged.signed(forged.logout(NOW, nonce=NONCE))) == "kind"


# --- time
def test_the_clocks_may_differ_by_a_minute_and_no_more() -> None:
    text = forged.signed(forged.access(NOW, exp=int(NOW) + 10, nbf=int(NOW), iat=int(NOW)))
    held = [reason(access, text, now=int(NOW) + offset) for offset in (-60, 0, 69)]
    assert held == [None, None, None]
    assert reason(access, text, now=int(NOW) - 61) == "not_yet"
    assert reason(access, text, now=int(NOW) + 70) == "expired"


def test_a_token_without_end_is_none() -> None:
    assert reason(access, forged.signed(forged.access(NOW, exp=int(NOW) + tokens.LONGEST))) is None
    assert reason(access, forged.signed(forged.access(NOW, exp=int(NOW) + tokens.LONGEST + 1))) == "lifetime"
    assert (
        reason(access, forged.signed(forged.access(NOW, iat=None, exp=int(NOW) + tokens.LONGEST + 100))) == "lifetime"
    )


# --- keys
def _jwk(key: Any, **more: Any) -> dict[str, Any]:
    said = {**key.as_dict(private=False), "kid": "k", **more}
    return {name: value for name, value in said.items() if value is not None}


RSA, EC = KEYS["RS256"], KEYS["ES256"]
NO_KEYS = [
    {}, {"kty": "RSA", "kid": "k"}, {"kty": ["RSA"], "kid": "k"}, _jwk(RSA, kid=None), _jwk(RSA, kid=1),
    _jwk(RSA, kid=""), _jwk(RSA, use="enc"), _jwk(RSA, key_ops=["encrypt"]), _jwk(RSA, key_ops="verify"),
    _jwk(RSA, alg="HS256"),
    _jwk(RSA, alg="none"), _jwk(RSA, alg="RSA-OAEP"), _jwk(RSA, alg="ES256"), _jwk(RSA, alg="RS1"), _jwk(RSA, alg=1),
    _jwk(RSA, n="AQAB"), _jwk(RSA, e="AA"), _jwk(RSA, e="Ag"), _jwk(RSA, e="AQ"), _jwk(RSA, n=None),
    _jwk(RSA, n="!!"), _jwk(RSA, n="_" * 100_000),
    _jwk(RSA, d="AQAB"), RSA.as_dict(private=True) | {"kid": "k"}, EC.as_dict(private=True) | {"kid": "k"},
    _jwk(EC, alg="ES384"), _jwk(EC, alg="RS256"), _jwk(EC, crv="P-384"), _jwk(EC, crv="secp256k1"),
    _jwk(EC, crv=["P-256"]),
    _jwk(EC, x="AAAA"), _jwk(EC, y=EC.as_dict()["x"]), _jwk(EC, kty="oct", k="AAAA"),
    {"kty": "oct", "k": "AAAA", "kid": "k", "alg": "HS256"}, OctKey.generate_key(256).as_dict() | {"kid": "k"},
    _jwk(OKPKey.generate_key("X25519")), _jwk(OKPKey.generate_key("Ed448")), _jwk(KEYS["EdDSA"], alg="RS256"),
    _jwk(ECKey.generate_key("secp256k1")),
]  # fmt: skip


@pytest.mark.parametrize("jwk", NO_KEYS, ids=range(len(NO_KEYS)))
def test_what_is_no_key_for_signatures_is_left_out(jwk: dict[str, Any]) -> None:
    assert len(Keyring([jwk])) == 0


def test_a_short_key_is_left_out() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    short = rsa.generate_private_key(65537, 1024).public_key().public_numbers()  # noqa: S505
    n = forged.part(short.n.to_bytes(128, "big"))
    assert len(Keyring([{"kty": "RSA", "kid": "k", "n": n, "e": "AQAB"}])) == 0


def test_a_key_without_alg_has_the_usual_one_of_its_kind() -> None:
    for jwk, right, wrong in ((_jwk(RSA, alg=None), "RS256", "PS256"), (_jwk(EC, alg=None), "ES256", "ES384")):
        ring = Keyring([jwk])
        key = RSA if right == "RS256" else EC
        assert access(forged.signed(forged.access(NOW), {"kid": "k"}, key, right), ring=ring)
        text = forged.signed(forged.access(NOW), {"kid": "k", "alg": wrong}, key, right)
        assert reason(access, text, ring=ring) == "algorithm"


def test_two_keys_of_one_id_are_none() -> None:
    ring = Keyring([_jwk(RSA), _jwk(EC), _jwk(KEYS["ES384"], kid="other")])
    assert len(ring) == 1
    assert reason(access, forged.signed(forged.access(NOW), {"kid": "k"}), ring=ring) == "key_unknown"


def test_a_set_of_many_keys_is_cut() -> None:
    many = [_jwk(EC, kid=f"k{number}") for number in range(500)]
    assert len(Keyring(many)) == 50


def test_a_key_of_a_stranger_is_unknown() -> None:
    ring = Keyring([_jwk(RSAKey.generate_key(2048), kid="RS256")])
    assert reason(access, forged.signed(forged.access(NOW)), ring=ring) == "signature"
