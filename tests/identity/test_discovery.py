"""What a discovery document and a key set may say, and that a provider stays at the servers that were declared."""

import json
from typing import Any

import msgspec
import pytest

from freehold.edge.identity import SignIn, endpoints_of
from freehold.identity import providers as identity
from freehold.protocol.errors import Misconfigured

ISSUER = "https://login.example.org/realms/a"


def document(**changed: Any) -> bytes:
    said = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/auth",
        "token_endpoint": "https://token.example.org/token",
        "jwks_uri": f"{ISSUER}/keys?p=b2c_1",
        "userinfo_endpoint": "https://login.example.org:8443/userinfo",
        **changed,
    }
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def test_a_document_is_read() -> None:
    found = identity.declared(ISSUER, identity.read_discovery(ISSUER, document()))
    assert found.origins == (
        "https://login.example.org:443",
        "https://login.example.org:8443",
        "https://token.example.org:443",
    )
    assert identity.outward(ISSUER, found) == (
        ("GET", f"{ISSUER}/.well-known/openid-configuration"), ("GET", f"{ISSUER}/keys?p=b2c_1"),
        ("POST", "https://token.example.org/token"), ("GET", "https://login.example.org:8443/userinfo"),
    )  # fmt: skip
    assert found.token_auth == "client_secret_basic"
    assert msgspec.json.decode(identity.stored(found), type=identity.Metadata) == found


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": f"{ISSUER}/"}, {"issuer": "https://evil.example"}, {"issuer": None}, {"issuer": [ISSUER]},
        {"issuer": "https://login.example.org/{tenantid}/v2.0"}, {"authorization_endpoint": None},
        {"token_endpoint": None}, {"jwks_uri": None}, {"token_endpoint": "http://login.example.org/token"},
        {"token_endpoint": "http://127.0.0.1/token"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": 1},
        {"jwks_uri": "https://u:p@login.example.org/keys"}, {"jwks_uri": "https://login.example.org/keys#x"},
        {"jwks_uri": "https://login.example.org/a/../keys"}, {"jwks_uri": "https://login.example.org/%2e%2e/keys"},
        {"jwks_uri": "https://login.example.org\\@evil.example/"}, {"jwks_uri": "https://[::1/keys"},
        {"jwks_uri": "https://login.example.org:0/keys"}, {"jwks_uri": "https://login.example.org:99999/keys"},
        {"jwks_uri": "https:///keys"}, {"jwks_uri": "//login.example.org/keys"}, {"jwks_uri": "https://exa mple.org/"},
        {"jwks_uri": "https://login.example.org/keys\r\nx: y"}, {"jwks_uri": "https://*.example.org/keys"},
        {"jwks_uri": f"https://login.example.org/{'a' * 600}"}, {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "data:text/html,x"}, {"end_session_endpoint": "http://x.example/"},
        {"response_types_supported": ["id_token"]}, {"code_challenge_methods_supported": ["plain"]},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
        {"token_endpoint_auth_methods_supported": "client_secret_basic"},
    ],
)  # fmt: skip
def test_a_document_that_is_not_taken(changed: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured) as caught:
        identity.read_discovery(ISSUER, document(**changed))
    said = str(caught.value)
    assert not any(str(value) in said for value in changed.values() if isinstance(value, str))


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"issuer": 1, "issuer": 2}', b"\xff", b"<html>"])
def test_what_is_no_document(body: bytes) -> None:
    with pytest.raises(Misconfigured):
        identity.read_discovery(ISSUER, body)
    with pytest.raises(Misconfigured):
        identity.read_keys(body)


@pytest.mark.parametrize(
    "issuer",
    ["http://login.example.org", "ftp://x.org", "https://", "x", "", "https://x.org?a=b", "https://x.org#a", "https://u@x.org",
     "http://127.0.0.1.evil.example", "http://10.0.0.1", "http://localhost.evil.example", "https://x.org/../y"],
)  # fmt: skip
def test_what_is_no_issuer(issuer: str) -> None:
    with pytest.raises(Misconfigured):
        identity.check_issuer(issuer)


ISSUERS = (
    "https://x.org", "https://X.org/a/", "http://127.0.0.1:8080/realms/a", "http://[::1]:8080", "http://localhost:3000",
    "https://192.0.2.7:8443", "https://login.microsoftonline.com/0-1/v2.0",
)  # fmt: skip


@pytest.mark.parametrize("issuer", ISSUERS)
def test_what_is_an_issuer(issuer: str) -> None:
    assert identity.check_issuer(issuer) == issuer


def test_a_plain_issuer_of_this_machine_may_not_lead_away_from_it() -> None:
    issuer = "http://127.0.0.1:9000"
    said = {"issuer": issuer, "authorization_endpoint": f"{issuer}/a", "token_endpoint": f"{issuer}/t"}
    assert identity.read_discovery(issuer, json.dumps({**said, "jwks_uri": f"{issuer}/k"}).encode())
    with pytest.raises(Misconfigured):
        identity.read_discovery(issuer, json.dumps({**said, "jwks_uri": "http://192.0.2.1/k"}).encode())


@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"]
)
def test_a_server_that_was_not_declared_is_not_taken_and_noted(name: str) -> None:
    before = identity.declared(ISSUER, identity.read_discovery(ISSUER, document()))
    for strange in (
        "https://evil.example/x",
        "https://login.example.org:444/x",
        "https://login.example.org.evil.example/x",
    ):
        fresh = identity.read_discovery(ISSUER, document(**{name: strange}))
        kept = identity.kept_within(ISSUER, before, fresh)
        assert kept == msgspec.structs.replace(before, undeclared=(identity.origin(strange),))
    moved = identity.read_discovery(ISSUER, document(**{name: "https://token.example.org/moved"}))
    assert getattr(identity.kept_within(ISSUER, before, moved), name) == "https://token.example.org/moved"


def test_keys_are_kept_without_what_is_secret_or_superfluous() -> None:
    keys = [{"kty": "RSA", "kid": "a", "n": "x", "e": "y", "x5c": ["z"], "extra": 1}, {"kty": "oct", "k": "secret"},
            {"kty": "RSA", "kid": "b", "d": "secret"}]  # fmt: skip
    found = identity.read_keys(json.dumps({"keys": keys}).encode())
    assert found == ({"kty": "RSA", "kid": "a", "n": "x", "e": "y"},)


def _of(issuer: str, **named: str) -> dict[str, Any]:
    return {"issuer": issuer, **named}


REAL = {
    "keycloak": _of(
        "https://sso.example.org/realms/staff",
        authorization_endpoint="https://sso.example.org/realms/staff/protocol/openid-connect/auth",
        token_endpoint="https://sso.example.org/realms/staff/protocol/openid-connect/token",
        jwks_uri="https://sso.example.org/realms/staff/protocol/openid-connect/certs",
        userinfo_endpoint="https://sso.example.org/realms/staff/protocol/openid-connect/userinfo",
        end_session_endpoint="https://sso.example.org/realms/staff/protocol/openid-connect/logout",
    ),
    "entra": _of(
        "https://login.microsoftonline.com/0f1e2d3c-0000-4000-8000-00000000000a/v2.0",
        authorization_endpoint="https://login.microsoftonline.com/0f1e2d3c-0000-4000-8000-00000000000a/oauth2/v2.0/authorize",
        token_endpoint="https://login.microsoftonline.com/0f1e2d3c-0000-4000-8000-00000000000a/oauth2/v2.0/token",
        jwks_uri="https://login.microsoftonline.com/0f1e2d3c-0000-4000-8000-00000000000a/discovery/v2.0/keys",
        userinfo_endpoint="https://graph.microsoft.com/oidc/userinfo",
    ),
    "google": _of(
        "https://accounts.google.com",
        authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth",
        token_endpoint="https://oauth2.googleapis.com/token",
        jwks_uri="https://www.googleapis.com/oauth2/v3/certs",
        userinfo_endpoint="https://openidconnect.googleapis.com/v1/userinfo",
    ),
    "okta": _of(
        "https://dev-1.okta.com",
        authorization_endpoint="https://dev-1.okta.com/oauth2/v1/authorize",
        token_endpoint="https://dev-1.okta.com/oauth2/v1/token",
        jwks_uri="https://dev-1.okta.com/oauth2/v1/keys",
        userinfo_endpoint="https://dev-1.okta.com/oauth2/v1/userinfo",
        end_session_endpoint="https://dev-1.okta.com/oauth2/v1/logout",
    ),
    "authentik": _of(
        "https://auth.example.org/application/o/freehold/",
        authorization_endpoint="https://auth.example.org/application/o/authorize/",
        token_endpoint="https://auth.example.org/application/o/token/",
        jwks_uri="https://auth.example.org/application/o/freehold/jwks/",
        userinfo_endpoint="https://auth.example.org/application/o/userinfo/",
        end_session_endpoint="https://auth.example.org/application/o/freehold/end-session/",
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_addresses_of_the_shapes_that_real_providers_use_can_be_declared(name: str) -> None:
    said = REAL[name]
    found = identity.declared(said["issuer"], identity.read_discovery(said["issuer"], json.dumps(said).encode()))
    asked = SignIn(name, identity.outward(said["issuer"], found))
    assert [f"{one.method} {one.target}" for one in endpoints_of([asked])]
    assert identity.discovery_url(said["issuer"]).count("//") == 1
