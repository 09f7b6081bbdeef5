"""The egress relay: a second Envoy with no TCP listener, through which a runner reaches a declared outside engine.

Each workspace has a Unix socket of its own that its runners' boxes contain; behind it only that workspace's engines
exist, by exact host, under their base path, for GET and POST. Anything else gets a fixed 403 and one line in the log.
The relay adds the engine's API key and speaks TLS, so a runner holds neither a key nor a trust store. A socket that no
box contains leads to the sign-in providers (`identity`). Listeners, clusters and keys are watched files: the supervisor
calls `write` when an engine or a provider is added, and nothing restarts.
"""

import hashlib
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from freehold.edge import identity
from freehold.edge.config import RUNTIME, admin, overload, replace
from freehold.edge.connection import drop, log_file
from freehold.edge.envoy import Message, discovery, extension, pipe, seconds, text, typed, watched
from freehold.edge.headers import outside
from freehold.edge.identity import SignIn
from freehold.edge.replies import own_answers
from freehold.edge.servers import SEGMENT, Server, cluster
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Layout

BOOTSTRAP, LISTENERS, CLUSTERS = "relay-bootstrap.json", "relay-listeners.json", "relay-clusters.json"
ACCESS_LOG = "egress.jsonl"

_BASE_PATH = re.compile(rf"(/{SEGMENT})*")
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TRUST_STORES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_STREAM_IDLE = 600.0
_MAX_CONNECTIONS = 1024
_MAX_HEAP = 256 << 20
_LONGEST_LOGGED_HOST = 100


@dataclass(frozen=True)
class OutsideEngine:
    """An OpenAI-compatible server outside. `url` is its base (`https://HOST[:PORT]/v1`), `authorization` the file with
    its API key (one line), or None."""

    name: str
    url: str
    authorization: Path | None = None


Workspaces = Mapping[str, Sequence[OutsideEngine]]
"""Workspace id → its engines."""


def relay_socket(layout: Layout, workspace: str) -> Path:
    """Where a workspace's runners find the relay. The folder is what a box contains."""
    return layout.egress / workspace / "relay.sock"


def admin_socket(layout: Layout) -> Path:
    """The relay's admin interface: for `process.ready` and `process.drain`."""
    return layout.run / "relay.sock"


def write(layout: Layout, workspaces: Workspaces, providers: Sequence[SignIn] = ()) -> frozenset[str]:
    """Write what changed, read keys and the trust store for it; returns the names of the files that changed.

    Raises Misconfigured with one problem for each engine or provider that cannot be declared so. Nothing is written
    then.
    """
    routes, asked = routes_of(workspaces), identity.endpoints_of(providers)
    keys = {route.id: _key(route.engine) for route in routes if route.engine.authorization is not None}
    secure = any(route.server.tls for route in routes) or any(one.server.tls and not one.ca for one in asked)
    files = render(layout, workspaces, keys, trust_store() if secure else None, providers)
    for socket in (*(relay_socket(layout, workspace) for workspace in workspaces), layout.identity_relay):
        socket.parent.mkdir(mode=0o700, exist_ok=True)
    changed = frozenset(name for name, content in files.items() if replace(layout.edge / name, content))
    for stale in layout.edge.glob(_key_file("*")):
        if stale.name not in files:
            stale.unlink()
    return changed


def render(
    layout: Layout,
    workspaces: Workspaces,
    keys: Mapping[str, str],
    trust: Path | None,
    providers: Sequence[SignIn] = (),
) -> dict[str, str]:
    """File name (in `layout.edge`) → text. `keys` maps an engine's id to its API key; clusters come first."""
    every, asked = routes_of(workspaces), identity.endpoints_of(providers)
    system: Message | None = {"filename": str(trust)} if trust is not None else None
    listeners = [
        _listener(layout, name, relay_socket(layout, name), 0o660, _virtual_hosts(routes_of({name: engines})))
        for name, engines in workspaces.items()
    ]
    if asked:
        hosts = [{**host, "routes": [*host["routes"], _REFUSED]} for host in identity.virtual_hosts(asked)]
        there = layout.identity_relay
        listeners.append(_listener(layout, identity.NAME, there, 0o600, [*hosts, _UNDECLARED], _PROVIDERS_HEADERS))
    outside_servers = [*(_cluster(layout, route, system) for route in every), *identity.clusters(asked, system)]
    return {
        **{_key_file(name): text(discovery(_secret(name, key))) for name, key in sorted(keys.items())},
        CLUSTERS: text(discovery(*outside_servers)),
        LISTENERS: text(discovery(*listeners)),
        BOOTSTRAP: text(bootstrap(layout)),
    }


def bootstrap(layout: Layout) -> Message:
    """The static part: where the watched files lie, and the admin socket."""
    return {
        "node": {"id": "relay", "cluster": "freehold"},
        "admin": admin(admin_socket(layout)),
        "dynamic_resources": {
            "lds_config": watched(layout.edge / LISTENERS),
            "cds_config": watched(layout.edge / CLUSTERS),
        },
        "overload_manager": overload(_MAX_HEAP, _MAX_CONNECTIONS),
        "layered_runtime": {"layers": [{"name": "relay", "static_layer": RUNTIME}]},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"prefix": p} for p in _STATS]}}},
    }


_STATS = ("http.relay.", "listener_manager.", "cluster_manager.", "server.")


def trust_store() -> Path:
    """The system's certificate authorities. Raises Misconfigured when it has none."""
    candidates = (ssl.get_default_verify_paths().cafile, *_TRUST_STORES)
    for path in candidates:
        if path is not None and Path(path).is_file():
            return Path(path)
    raise Misconfigured(
        Problem(
            "this machine has no store of certificate authorities, so no https server can be verified",
            "Install the package ca-certificates, or set SSL_CERT_FILE.",
        )
    )


def routes_of(workspaces: Workspaces) -> "list[Route]":
    """Every declared engine, checked. Raises Misconfigured with a problem for each that cannot be declared so."""
    found: list[Route] = []
    problems: list[Problem] = []
    for workspace, engines in workspaces.items():
        for engine in engines:
            try:
                found.append(Route.of(workspace, engine))
            except Misconfigured as error:
                problems += error.problems
    if problems:
        raise Misconfigured(*problems)
    return found


@dataclass(frozen=True)
class Route:
    """An engine's URL, taken apart and checked."""

    id: str
    engine: OutsideEngine
    server: Server
    base: str

    @classmethod
    def of(cls, workspace: str, engine: OutsideEngine) -> "Route":
        if not _WORKSPACE.fullmatch(workspace) or workspace == identity.NAME:
            raise Misconfigured(Problem("a workspace's id is not one that can name a folder", "Restore the database."))
        server = Server.of(engine.url)
        if server is None:
            raise Misconfigured(_no_url(engine))
        url = urlsplit(engine.url)
        base = url.path.rstrip("/")
        if not _BASE_PATH.fullmatch(base) or url.query or ".." in base:
            raise Misconfigured(_no_url(engine))
        digest = hashlib.sha256(f"{workspace}\n{engine.name}".encode()).hexdigest()[:16]
        return cls(f"engine-{digest}", engine, server, base)


def _no_url(engine: OutsideEngine) -> Problem:
    return Problem(
        f"the URL of the engine {engine.name} is not one that can be declared",
        "Give http(s)://HOST[:PORT]/PATH without user, query, fragment or escapes.",
    )


def _key(engine: OutsideEngine) -> str:
    path = engine.authorization
    try:
        key = path.read_text().strip() if path is not None else ""
    except (OSError, UnicodeDecodeError):
        key = ""
    if not key or not key.isascii() or not key.isprintable():
        raise Misconfigured(
            Problem(f"the API key of the engine {engine.name} cannot be read from {path}", "Add the engine again.")
        )
    return key


def _key_file(name: str) -> str:
    return f"relay-key-{name}.json"


def _secret(name: str, key: str) -> Message:
    return typed(
        "transport_sockets.tls.v3.Secret", name=name, generic_secret={"secret": {"inline_string": f"Bearer {key}"}}
    )


_ENGINES_HEADERS = outside(("accept", "content-length", "content-type"))
_PROVIDERS_HEADERS = outside(identity.REQUEST_HEADERS)


def _listener(
    layout: Layout, name: str, socket: Path, mode: int, hosts: Sequence[Message], dropped: str = _ENGINES_HEADERS
) -> Message:
    manager = extension(
        "http",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="relay",
        codec_type="HTTP1",
        route_config={"name": name, "virtual_hosts": list(hosts), "validate_clusters": False},
        http_filters=[
            extension("router", "filters.http.router.v3.Router", suppress_envoy_headers=True),
        ],
        access_log=_access_log(layout.logs / ACCESS_LOG, name),
        local_reply_config=own_answers({}),
        server_header_transformation="PASS_THROUGH",
        generate_request_id=False,
        use_remote_address=True,
        skip_xff_append=True,
        early_header_mutation_extensions=[
            extension(
                "runners_headers",
                "http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[drop(dropped)],
            )
        ],
        path_with_escaped_slashes_action="REJECT_REQUEST",
        max_request_headers_kb=32,
        stream_idle_timeout=seconds(_STREAM_IDLE),
        request_headers_timeout="10s",
        http_protocol_options={"allow_absolute_url": False},
        common_http_protocol_options={"headers_with_underscores_action": "REJECT_REQUEST"},
    )
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address=pipe(socket, mode=mode),
        per_connection_buffer_limit_bytes=64 << 10,
        filter_chains=[{"filters": [manager]}],
    )


def _virtual_hosts(routes: Sequence[Route]) -> list[Message]:
    """One virtual host for each server; under it one route for each base path, the longest first."""
    by_server: dict[tuple[str, ...], list[Route]] = {}
    for route in routes:
        by_server.setdefault(route.server.authorities, []).append(route)
    for server, those in by_server.items():
        if len({route.base for route in those}) < len(those):
            raise Misconfigured(
                Problem(f"two engines share the address {server[-1]} and path", "Give one of them another URL.")
            )
    hosts = [
        {
            "name": those[0].id,
            "domains": list(server),
            "routes": [*map(_allowed, sorted(those, key=lambda route: len(route.base), reverse=True)), _REFUSED],
        }
        for server, those in by_server.items()
    ]
    return [*hosts, _UNDECLARED]


_REFUSED = {"name": "egress_refused", "match": {"prefix": ""}, "direct_response": {"status": 403}}
_REFUSED_CONNECT = {**_REFUSED, "match": {"connect_matcher": {}}}
_UNDECLARED = {"name": "undeclared", "domains": ["*"], "routes": [_REFUSED_CONNECT, _REFUSED]}


def _allowed(route: Route) -> Message:
    below = rf"{re.escape(route.base)}(?:/{SEGMENT})+/?(?:\?.*)?"
    return {
        "name": "egress",
        "match": {
            "prefix": f"{route.base}/",
            "headers": [
                {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|POST"}}},
                {"name": ":path", "string_match": {"safe_regex": {"regex": below}}},
            ],
        },
        "route": {"cluster": route.id, "timeout": "0s"},
        "request_headers_to_remove": ["x-forwarded-proto"],
    }


def _cluster(layout: Layout, route: Route, trust: Message | None) -> Message:
    filters = [_credential(layout, route)] if route.engine.authorization is not None else []
    return cluster(route.id, route.server, trust, filters)


def _credential(layout: Layout, route: Route) -> Message:
    secret = {"name": route.id, "sds_config": watched(layout.edge / _key_file(route.id))}
    return extension(
        "credential",
        "filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential=extension("key", "http.injected_credentials.generic.v3.Generic", credential=secret),
    )


def _access_log(path: Path, name: str) -> list[Message]:
    """One line for each request that was let out, and one for each refusal with the host that was asked for, cut."""
    fields = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "workspace": name,
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
    }
    host = f"%REQ(:AUTHORITY):{_LONGEST_LOGGED_HOST}%"
    return [
        log_file(path, {**fields, "event": "egress", "engine": "%UPSTREAM_CLUSTER%"}, _was(let_out=True)),
        log_file(path, {**fields, "event": "egress_refused", "host": host}, _was(let_out=False)),
    ]


def _was(*, let_out: bool) -> Message:
    routed = "has(xds.route_name) && xds.route_name == 'egress'"  # no route at all: Envoy refused it by itself
    expression = routed if let_out else f"!({routed})"
    return {
        "extension_filter": extension("cel", "access_loggers.filters.cel.v3.ExpressionFilter", expression=expression)
    }
