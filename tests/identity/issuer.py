"""A real OpenID provider for tests, made with Authlib, in a process of its own: code flow with PKCE, signed tokens,
keys that rotate, groups, back-channel logout. `issuing()` starts one; what it should do is told to it over its port.

Run as `python -m tests.identity.issuer`, it reads a line of JSON (`certificate` and `key` for TLS) and writes one with
its address. `/-/` is the tests' way to command it, not a part of a provider.
"""

import base64
import contextlib
import http.client
import json
import secrets
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

CLIENT, SECRET, AUDIENCE = "freehold&co", "s3cret/with:signs", "freehold-api"
ADA: dict[str, Any] = {
    "sub": "ada-1", "email": "ada@example.org", "email_verified": True, "name": "Ada Lovelace", "groups": ["staff"],
}  # fmt: skip
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class Issuer:
    """A running provider, as tests see it."""

    url: str
    ca: str | None = None
    process: "subprocess.Popen[bytes] | None" = None

    def tell(self, **command: Any) -> Any:
        """Command it: what `_Provider.command` knows."""
        with contextlib.closing(self._connection()) as connection:
            connection.request("POST", "/-/", json.dumps(command))
            return json.loads(connection.getresponse().read())

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=10)
        context = ssl.create_default_context(cadata=self.ca)
        return http.client.HTTPSConnection(host, port, context=context, timeout=10)

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token with its newest key."""
        return str(self.tell(do="sign", claims=claims, header=header))

    def access_token(self, **claims: Any) -> str:
        """An access token for Ada, unless `claims` say otherwise. None takes a claim away."""
        now = int(time.time())
        said = {"iss": self.url, "aud": AUDIENCE, "sub": ADA["sub"], "iat": now, "exp": now + 300, "scope": "openid",
                "client_id": "cli", "jti": secrets.token_hex(8), **claims}  # fmt: skip
        return self.sign({name: value for name, value in said.items() if value is not None}, typ="at+jwt")

    def logout_token(self, **claims: Any) -> str:
        """A logout token for our client."""
        now = int(time.time())
        said = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": secrets.token_hex(8),
                "events": {LOGOUT_EVENT: {}}, **claims}  # fmt: skip
        return self.sign({name: value for name, value in said.items() if value is not None}, typ="logout+jwt")

    def authorize(self, address: str, person: str = "") -> str:
        """What a browser does at the provider where the person is signed in: the address that it is sent back to."""
        parts = urlsplit(address)
        with contextlib.closing(self._connection()) as connection:
            query = parts.query + (f"&{urlencode({'person': person})}" if person else "")
            connection.request("GET", f"{parts.path}?{query}")
            answer = connection.getresponse()
            assert answer.status == 302, (answer.status, answer.read())
            return answer.headers["location"]


@contextlib.contextmanager
def issuing(*, certificate: Path | None = None, key: Path | None = None, ca: Path | None = None) -> Iterator[Issuer]:
    """A provider that runs while the block does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.identity.issuer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        order = {"certificate": str(certificate) if certificate else None, "key": str(key) if key else None}
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        yield Issuer(json.loads(line)["url"], ca.read_text() if ca else None, process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait(10)
        process.stdout.close()


# --- the process
@dataclass
class _Code:
    """An authorization code, as Authlib asks for it."""

    code: str
    person: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str | None
    code_challenge_method: str | None
    auth_time: int
    sid: str
    acr: None = None
    amr: None = None

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class _Client:
    """The one client: us."""

    client_id = CLIENT

    def __init__(self, provider: "_Provider") -> None:
        self.provider = provider

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> None:
        return None

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        return urlsplit(uri).path.startswith("/sign-in/back/")

    def check_client_secret(self, secret: str) -> bool:
        return secrets.compare_digest(secret, SECRET)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.provider.auth_method

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


@dataclass
class _Provider:
    """What the provider knows and does."""

    url: str = ""
    people: dict[str, dict[str, Any]] = field(default_factory=lambda: {"ada": dict(ADA)})
    person: str = "ada"
    keys: list[tuple[str, str, Any]] = field(default_factory=list)  # id, algorithm, key; the newest last
    published: list[str] = field(default_factory=list)
    codes: dict[str, _Code] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)
    twist: dict[str, Any] = field(default_factory=dict)
    back: dict[str, Any] = field(default_factory=dict)
    auth_method: str = "client_secret_basic"
    thin: bool = False
    away: bool = False

    def reset(self) -> None:
        """As it was at the start, but for the keys."""
        fresh = _Provider()
        for name in ("people", "person", "document", "twist", "back", "auth_method", "thin", "away", "seen", "codes"):
            setattr(self, name, getattr(fresh, name))
        self.published = [key_id for key_id, _, _ in self.keys]

    def rotate(self, algorithm: str = "RS256", *, publish: bool = True, alone: bool = False) -> str:
        """A new key to sign with."""
        from joserfc.jwk import ECKey, OKPKey, RSAKey

        key_id = secrets.token_hex(6)
        made: Any
        if algorithm.startswith("ES"):
            made = ECKey.generate_key({"ES256": "P-256", "ES384": "P-384"}[algorithm])
        elif algorithm in ("EdDSA", "Ed25519"):
            made = OKPKey.generate_key("Ed25519")
        else:
            made = RSAKey.generate_key(2048)
        if alone:
            self.published.clear()
        self.keys.append((key_id, algorithm, made))
        if publish:
            self.published.append(key_id)
        return key_id

    def jwks(self) -> dict[str, Any]:
        """The published keys."""
        return {
            "keys": [
                {**key.as_dict(private=False), "kid": key_id, "alg": algorithm, "use": "sig"}
                for key_id, algorithm, key in self.keys
                if key_id in self.published
            ]
        }

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token with the newest key."""
        from joserfc import jws

        key_id, algorithm, key = self.keys[-1]
        protected = {"alg": algorithm, "kid": key_id, "typ": "JWT", **header}
        return jws.serialize_compact(protected, json.dumps(claims).encode(), key, algorithms=[algorithm])

    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "end_session_endpoint": f"{self.url}/logout",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [self.auth_method],
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            **self.document,
        }
        return {name: value for name, value in said.items() if value is not None}

    def command(self, order: dict[str, Any]) -> Any:
        """What tests tell it."""
        match order.pop("do"):
            case "reset":
                self.reset()
            case "set":
                for name, value in order.items():
                    setattr(self, name, value)
            case "rotate":
                return self.rotate(**order)
            case "sign":
                return self.sign(order["claims"], **order["header"])
            case "seen":
                return self.seen
            case "private_key":
                return self.keys[-1][2].as_dict(private=True)
            case "tell":  # back-channel logout, as a provider sends it
                context = ssl.create_default_context(cafile=order["ca"])
                body = urlencode({"logout_token": order["token"]}).encode()
                with urllib.request.urlopen(order["to"], body, 10, context=context) as answer:  # noqa: S310
                    return answer.status
        return None


def _server(provider: _Provider) -> Any:
    """Authlib's authorization server with our one client."""
    from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Payload, OAuth2Request  # type: ignore[import-untyped]
    from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant  # type: ignore[import-untyped]
    from authlib.oauth2.rfc6750 import BearerTokenGenerator  # type: ignore[import-untyped]
    from authlib.oauth2.rfc7636 import CodeChallenge  # type: ignore[import-untyped]
    from authlib.oidc.core import OpenIDCode  # type: ignore[import-untyped]
    from authlib.oidc.core.grants.util import create_half_hash  # type: ignore[import-untyped]

    class Payload(OAuth2Payload):  # type: ignore[misc]
        def __init__(self, pairs: list[tuple[str, str]]) -> None:
            self._pairs = pairs

        @property
        def data(self) -> dict[str, str]:
            return dict(self._pairs)

        @property
        def datalist(self) -> dict[str, list[str]]:
            found: dict[str, list[str]] = defaultdict(list)
            for name, value in self._pairs:
                found[name].append(value)
            return found

    class Request(OAuth2Request):  # type: ignore[misc]
        def __init__(self, method: str, uri: str, headers: Any, body: str) -> None:
            super().__init__(method, uri, headers=headers)
            pairs = parse_qsl(body if method == "POST" else urlsplit(uri).query, keep_blank_values=True)
            self.payload = Payload(pairs)
            self._values = dict(pairs)

        @property
        def args(self) -> dict[str, str]:
            return self._values

        @property
        def form(self) -> dict[str, str]:
            return self._values

    class Server(AuthorizationServer):  # type: ignore[misc]
        def query_client(self, client_id: str) -> _Client | None:
            return _Client(provider) if client_id == CLIENT else None

        def save_token(self, token: Any, request: Any) -> None:
            pass

        def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
            pass

        def create_oauth2_request(self, request: Any) -> Any:
            return request if isinstance(request, OAuth2Request) else Request(*request)

        def handle_response(self, status: int, body: Any, headers: Any) -> Any:
            return status, body, list(headers)

    class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]  # noqa: RUF012

        def save_authorization_code(self, code: str, request: Any) -> None:
            said = request.payload.data
            provider.codes[code] = _Code(
                code, request.user, request.payload.redirect_uri, request.payload.scope, said.get("nonce"),
                said.get("code_challenge"), said.get("code_challenge_method"), int(time.time()), secrets.token_hex(8),
            )  # fmt: skip

        def query_authorization_code(self, code: str, client: Any) -> _Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code: _Code) -> None:
            provider.codes.pop(authorization_code.code, None)

        def authenticate_user(self, authorization_code: _Code) -> str:
            return authorization_code.person

    class Identity(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return False

        def encode_id_token(self, token: Any, request: Any) -> str:
            now, code = int(time.time()), request.authorization_code
            algorithm = provider.keys[-1][1]
            person = provider.people[request.user]
            half = create_half_hash(token["access_token"], "ES512" if algorithm in ("EdDSA", "Ed25519") else algorithm)
            claims = {
                "iss": provider.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": code.nonce, "sid": code.sid,
                "at_hash": half.decode(), "auth_time": code.auth_time,
                **({"sub": person["sub"]} if provider.thin else person), **provider.twist,
            }  # fmt: skip
            header = claims.pop("header", {})
            return provider.sign({name: value for name, value in claims.items() if value is not None}, **header)

    def access(client: Any, grant_type: str, user: str, scope: str) -> str:
        now = int(time.time())
        claims = {"iss": provider.url, "aud": AUDIENCE, "sub": provider.people[user]["sub"], "iat": now,
                  "exp": now + 300, "scope": scope, "client_id": CLIENT, "jti": secrets.token_hex(8)}  # fmt: skip
        return provider.sign(claims, typ="at+jwt")

    server = Server()
    server.register_token_generator("default", BearerTokenGenerator(access))
    server.register_grant(Grant, [Identity(require_nonce=True), CodeChallenge(required=True)])
    return server


def _handler(provider: _Provider) -> type[BaseHTTPRequestHandler]:
    server = _server(provider)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            provider.seen.append(f"GET {path}")
            if provider.away:
                self.answer(503, {})
            elif path == "/.well-known/openid-configuration":
                self.answer(200, provider.discovery())
            elif path == "/jwks":
                self.answer(200, provider.jwks())
            elif path == "/userinfo":
                self.userinfo()
            elif path == "/authorize":
                self.authorize()
            elif path == "/favicon.ico":
                self.answer(200, "")
            elif path == "/logout":
                self.answer(200, "<h1>Signed out of the provider</h1>")
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            if self.path == "/-/":
                self.answer(200, json.dumps(provider.command(json.loads(body))))
            elif provider.away:
                self.answer(503, {})
            elif self.path == "/token":
                provider.seen.append("POST /token")
                answer = server.create_token_response(("POST", provider.url + self.path, self.headers, body))
                self.answer(*answer)
            else:
                self.answer(404, {})

        def authorize(self) -> None:
            from authlib.oauth2.base import OAuth2Error  # type: ignore[import-untyped]

            query = parse_qs(urlsplit(self.path).query)
            person = query.get("person", [provider.person])[0]
            if person == "ask":  # a page on which somebody signs in: for real browsers
                links = "".join(
                    f'<p><a href="{self.path}&amp;person={name}">Go on as {name}</a></p>' for name in provider.people
                )
                self.answer(200, f"<h1>The provider</h1>{links}")
                return
            request = server.create_oauth2_request(("GET", provider.url + self.path, self.headers, ""))
            try:
                grant = server.get_consent_grant(request, person)
                status, body, headers = server.create_authorization_response(
                    request, grant_user=None if person == "nobody" else person, grant=grant
                )
            except OAuth2Error as error:
                self.answer(400, {"error": error.error, "error_description": error.description})
                return
            location = dict(headers)["Location"]
            pairs = {**dict(parse_qsl(urlsplit(location).query)), "iss": provider.url, **provider.back}
            kept = urlencode({name: value for name, value in pairs.items() if value is not None})
            self.answer(status, body, [("Location", f"{location.partition('?')[0]}?{kept}")])

        def userinfo(self) -> None:
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            part = token.split(".")[1] if token.count(".") == 2 else "e30"
            subject = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))).get("sub")
            found = [person for person in provider.people.values() if person["sub"] == subject]
            self.answer(200 if found else 401, {**found[0], **provider.twist.get("userinfo", {})} if found else {})

        def answer(self, status: int, body: Any, headers: Any = ()) -> None:
            page = isinstance(body, str) and body.startswith("<")
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-type", "content-length"):
                    self.send_header(name, value)
            self.send_header("content-type", "text/html" if page else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _main() -> None:
    order = json.loads(sys.stdin.readline())
    provider = _Provider()
    provider.rotate()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    scheme = "http"
    if order["certificate"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(order["certificate"], order["key"])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    provider.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(json.dumps({"url": provider.url}), flush=True)
    sys.stdin.read()  # until whoever started it is gone


if __name__ == "__main__":
    _main()
