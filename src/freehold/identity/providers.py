"""What a sign-in provider is told to us to be: the operator's options, and what its discovery document says.

Pure: reads and checks, fetches nothing. `cli/provider.py` declares providers with it, `supervisor/prepare.py` asks
which endpoints the relay must let through, the console refreshes. A provider may later move within the servers that
were declared, never to another one: such a document is not taken.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from freehold.protocol.errors import Misconfigured, Problem, Refused
from freehold.protocol.json import parse_object
from freehold.storage.providers import Provider

MOST_BYTES = 256 << 10
"""The longest answer of a provider that is read."""

SEALED_FOR = "provider"
"""The purpose under which client secrets are sealed, each for its provider's id."""

_SUFFIX = "/.well-known/openid-configuration"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_TARGET = re.compile(r"(?:/[A-Za-z0-9_~:@+,=.-]+)*/?(?:\?[A-Za-z0-9._~=&-]+)?")
_KEPT = ("kty", "kid", "use", "key_ops", "alg", "crv", "n", "e", "x", "y")


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator decided. `groups`: a value of the claim → the id of a group; `ca`: PEM, none: the system's.

    `trust_email`: its addresses count as verified though it does not say so. `subject_claim`: what names a person.
    """

    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    groups: dict[str, str] = {}
    email_domains: tuple[str, ...] = ()
    create: bool = True
    link_by_email: bool = False
    trust_email: bool = False
    subject_claim: str = "sub"
    ca: str | None = None


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a provider says of itself. `origins` were declared by the operator; `undeclared`: what it named besides."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_auth: str = "client_secret_basic"  # noqa: S105 - the name of a method
    says_issuer: bool = False
    keys: tuple[dict[str, Any], ...] = ()
    origins: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every address that the document names."""
        named = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri, self.userinfo_endpoint,
                 self.end_session_endpoint)  # fmt: skip
        return tuple(one for one in named if one is not None)


def options_of(provider: Provider) -> Options:
    """What the operator decided for this provider."""
    return msgspec.json.decode(provider.options, type=Options)


def metadata_of(provider: Provider) -> Metadata | None:
    """What this provider said of itself, None when it was never asked."""
    return msgspec.json.decode(provider.metadata, type=Metadata) if provider.metadata else None


def stored(value: Options | Metadata) -> str:
    """As the database keeps it."""
    return msgspec.json.encode(value).decode()


def discovery_url(issuer: str) -> str:
    """Where an issuer's discovery document lies."""
    return issuer.rstrip("/") + _SUFFIX


def outward(issuer: str, metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """What this machine itself asks of the provider, as (method, URL). The rest is the browser's way."""
    asked = [("GET", discovery_url(issuer)), ("GET", metadata.jwks_uri), ("POST", metadata.token_endpoint)]
    if metadata.userinfo_endpoint is not None:
        asked.append(("GET", metadata.userinfo_endpoint))
    return tuple(asked)


def check_issuer(issuer: str) -> str:
    """The issuer as it is written. Raises Misconfigured unless it is https, or http on this machine."""
    if not _is_address(issuer, plain=_is_loopback(issuer)) or "?" in issuer:
        raise Misconfigured(
            Problem("that is no issuer", "Give the https address that the provider's tokens say as 'iss', unchanged.")
        )
    return issuer


def read_discovery(issuer: str, document: bytes) -> Metadata:
    """What a discovery document says, without keys. Raises Misconfigured with every problem."""
    try:
        said = parse_object(document, max_depth=8)
    except Refused:
        raise Misconfigured(Problem("the discovery document is not valid JSON", "Check the issuer.")) from None
    problems: list[Problem] = []
    if said.get("issuer") != issuer:
        problems.append(Problem("the provider calls itself by another issuer than the one that was given",
                                "Give the issuer exactly as its discovery document says it."))  # fmt: skip
    plain = _is_loopback(issuer)
    found: dict[str, str | None] = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"):
        value, needed = said.get(name), name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if value is not None and not _is_address(value, plain=plain):
            problems.append(Problem(f"the provider's {name} cannot be used", "It must be a plain https address."))
        elif value is None and needed:
            problems.append(Problem(f"the provider names no {name}", "It cannot be used for sign-in."))
        found[name] = value
    if "code" not in said.get("response_types_supported", ["code"]):
        problems.append(Problem("the provider does not offer the authorization code flow", "Turn it on there."))
    if "S256" not in said.get("code_challenge_methods_supported", ["S256"]):
        problems.append(Problem("the provider does not offer PKCE with S256", "Turn it on there."))
    offered = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    methods = ("client_secret_basic", "client_secret_post", "none")
    method = next((one for one in methods if isinstance(offered, list) and one in offered), None)
    if method is None:
        problems.append(Problem("the provider takes no client secret at its token endpoint", "Turn one of its methods "
                                "client_secret_basic and client_secret_post on."))  # fmt: skip
    if problems:
        raise Misconfigured(*problems)
    said_issuer = said.get("authorization_response_iss_parameter_supported") is True
    return Metadata(**found, token_auth=method, says_issuer=said_issuer)  # type: ignore[arg-type]


def read_keys(document: bytes) -> tuple[dict[str, Any], ...]:
    """The keys of a JWKS, each with only the members that a public key has. Raises Misconfigured."""
    try:
        keys = parse_object(document, max_depth=8).get("keys")
    except Refused:
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise Misconfigured(Problem("the provider's key set is not one", "Check its jwks_uri."))
    public = ("d" not in key and "k" not in key for key in keys)  # what is secret is no key of ours to keep
    return tuple({n: key[n] for n in _KEPT if n in key} for key, kept in zip(keys, public, strict=True) if kept)


def declared(issuer: str, fresh: Metadata) -> Metadata:
    """With the servers that it names now as the declared ones: for the operator only."""
    return msgspec.structs.replace(fresh, origins=_origins(issuer, fresh), undeclared=())


def kept_within(issuer: str, before: Metadata, fresh: Metadata) -> Metadata:
    """What is to be kept of a refreshed document: itself, or, if it names a server that was not declared, what was
    there before with a note of that."""
    strange = tuple(sorted(set(_origins(issuer, fresh)) - set(before.origins)))
    if strange:
        return msgspec.structs.replace(before, undeclared=strange[:8])
    return msgspec.structs.replace(fresh, origins=before.origins, undeclared=())


def origin(url: str) -> str:
    """Scheme, host and port of an address that was checked."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _origins(issuer: str, metadata: Metadata) -> tuple[str, ...]:
    return tuple(sorted({origin(url) for url in (issuer, *metadata.endpoints)}))


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(url: Any, *, plain: bool) -> bool:
    """An address without user, fragment, escapes or dot segments; https, or http on this machine where `plain`."""
    if not isinstance(url, str) or len(url) > 500 or not url.isascii() or url != url.strip():
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    whole = f"{parts.scheme}://{shown}{f':{port}' if port is not None else ''}{target}"
    if url.replace(parts.netloc, parts.netloc.lower(), 1) != whole or ".." in parts.path or "/./" in parts.path:
        return False
    if not _TARGET.fullmatch(target) or not _is_host(host) or port == 0:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and plain and _is_loopback(url))


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and _HOST.fullmatch(host) is not None
    return True
