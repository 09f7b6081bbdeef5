"""The relay's way to sign-in providers: a socket that no box contains, and behind it their declared endpoints only.

The console reaches a provider's discovery document, keys, token and userinfo endpoints here, each by exact host, method
and path; everything else is refused and logged as an engine's traffic is. One server is trusted in one way: two
providers at one server with different certificate authorities cannot be declared.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from freehold.edge.envoy import Message
from freehold.edge.servers import Server, cluster
from freehold.protocol.errors import Misconfigured, Problem

NAME = "identity"
"""What the listener, its folder and its lines in the log are called. No workspace's id looks like it."""

REQUEST_HEADERS = ("accept", "authorization", "content-length", "content-type")
_TARGET = re.compile(r"(?:/[A-Za-z0-9_~:@+,=.-]+)*/?(?:\?[A-Za-z0-9._~=&-]+)?")


@dataclass(frozen=True)
class SignIn:
    """A sign-in provider: (method, URL) of each endpoint that is asked; `ca`: PEM, none: the system's authorities."""

    name: str
    endpoints: tuple[tuple[str, str], ...]
    ca: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """A declared endpoint, taken apart and checked."""

    id: str
    server: Server
    method: str
    target: str
    ca: str | None

    @classmethod
    def of(cls, provider: SignIn, method: str, url: str) -> "Endpoint":
        """Raises Misconfigured when the address is not one that can be declared."""
        server = Server.of(url)
        parts = urlsplit(url) if server is not None else None
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "") if parts is not None else ""
        if server is None or not _TARGET.fullmatch(target) or ".." in target or method not in ("GET", "POST"):
            raise Misconfigured(
                Problem(f"an endpoint of the provider {provider.name} is not one that can be declared", "Remove it.")
            )
        digest = hashlib.sha256(f"{server.host}\n{server.port}\n{server.tls}".encode()).hexdigest()[:16]
        return cls(f"{NAME}-{digest}", server, method, target, provider.ca)


def endpoints_of(providers: Sequence[SignIn]) -> list[Endpoint]:
    """Every declared endpoint. Raises Misconfigured with a problem for each provider that cannot be declared so."""
    found: list[Endpoint] = []
    trusted: dict[str, str | None] = {}
    problems: list[Problem] = []
    for provider in providers:
        try:
            mine = [Endpoint.of(provider, method, url) for method, url in provider.endpoints]
        except Misconfigured as error:
            problems += error.problems
            continue
        if any(trusted.setdefault(endpoint.id, endpoint.ca) != endpoint.ca for endpoint in mine):
            problems.append(
                Problem(
                    f"the provider {provider.name} shares a server with another one but not its --ca-file",
                    "Give all providers at one server the same certificate authorities.",
                )
            )
        found += mine
    if problems:
        raise Misconfigured(*problems)
    return found


def clusters(declared: Sequence[Endpoint], trust: Message | None) -> list[Message]:
    """One cluster a server. `trust` is the system's store, for those without authorities of their own."""
    one = {endpoint.id: endpoint for endpoint in declared}
    return [
        cluster(name, endpoint.server, {"inline_string": endpoint.ca} if endpoint.ca else trust)
        for name, endpoint in one.items()
    ]


def virtual_hosts(declared: Sequence[Endpoint]) -> list[Message]:
    """One virtual host a server, one route an endpoint; what is refused is added by the relay."""
    by_server: dict[str, list[Endpoint]] = {}
    for endpoint in declared:
        by_server.setdefault(endpoint.id, []).append(endpoint)
    return [
        {
            "name": name,
            "domains": list(those[0].server.authorities),
            "routes": [_allowed(name, method, target) for method, target in _asked(those)],
        }
        for name, those in by_server.items()
    ]


def _asked(those: Sequence[Endpoint]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((endpoint.method, endpoint.target) for endpoint in those))


def _allowed(name: str, method: str, target: str) -> Message:
    return {
        "name": "egress",
        "match": {
            "prefix": "/",
            "headers": [
                {"name": ":method", "string_match": {"exact": method}},
                {"name": ":path", "string_match": {"exact": target}},
            ],
        },
        "route": {"cluster": name, "timeout": "15s"},
        "request_headers_to_remove": ["x-forwarded-proto"],
    }
