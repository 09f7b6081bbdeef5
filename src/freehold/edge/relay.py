"""The egress relay: a second Envoy with no TCP listener, through which a runner reaches a declared outside engine.

Each workspace has a Unix socket of its own that its runners' boxes contain; behind it only that workspace's engines
exist, by exact host, under their base path, for GET and POST. Anything else gets a fixed 403 and one line in the log.
The relay adds the engine's API key and speaks TLS, so a runner holds neither a key nor a trust store. Listeners,
clusters and keys are watched files: the supervisor calls `write` when an engine is added, and nothing restarts.
"""

import hashlib
import ipaddress
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from freehold.edge.config import RUNTIME, admin, overload, replace
from freehold.edge.connection import drop, log_file
from freehold.edge.envoy import Message, discovery, endpoints, extension, pipe, seconds, text, typed, watched
from freehold.edge.headers import outside
from freehold.edge.replies import own_answers
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Layout

BOOTSTRAP, LISTENERS, CLUSTERS = "relay-bootstrap.json", "relay-listeners.json", "relay-clusters.json"
ACCESS_LOG = "egress.jsonl"

_SEGMENT = r"[A-Za-z0-9_~:@+,=-][A-Za-z0-9_~:@+,=.-]*"
_BASE_PATH = re.compile(rf"(/{_SEGMENT})*")
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,40}")
_REQUEST_HEADERS = ("accept", "content-length", "content-type")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
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


def write(layout: Layout, workspaces: Workspaces) -> frozenset[str]:
    """Write what changed, read keys and the trust store for it; returns the names of the files that changed.

    Raises Misconfigured with one problem for each engine that cannot be declared so. Nothing is written then.
    """
    routes = routes_of(workspaces)
    keys = {route.id: _key(route.engine) for route in routes if route.engine.authorization is not None}
    files = render(layout, workspaces, keys, trust_store() if any(route.tls for route in routes) else None)
    for workspace in workspaces:
        relay_socket(layout, workspace).parent.mkdir(mode=0o700, exist_ok=True)
    changed = frozenset(name for name, content in files.items() if replace(layout.edge / name, content))
    for stale in layout.edge.glob(_key_file("*")):
        if stale.name not in files:
            stale.unlink()
    return changed


def render(layout: Layout, workspaces: Workspaces, keys: Mapping[str, str], trust: Path | None) -> dict[str, str]:
    """File name (in `layout.edge`) → text. `keys` maps an engine's id to its API key; clusters come first."""
    every = routes_of(workspaces)
    listeners = [_listener(layout, name, routes_of({name: engines})) for name, engines in workspaces.items()]
    return {
        **{_key_file(name): text(discovery(_secret(name, key))) for name, key in sorted(keys.items())},
        CLUSTERS: text(discovery(*(_cluster(layout, route, trust) for route in every))),
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
            "this machine has no store of certificate authorities, so no https engine can be verified",
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
    host: str
    port: int
    tls: bool
    base: str

    @classmethod
    def of(cls, workspace: str, engine: OutsideEngine) -> "Route":
        if not _WORKSPACE.fullmatch(workspace):
            raise Misconfigured(Problem("a workspace's id is not one that can name a folder", "Restore the database."))
        try:
            url = urlsplit(engine.url)
            host, port = (url.hostname or "").lower(), url.port
        except ValueError:
            raise Misconfigured(_no_url(engine)) from None
        base = url.path.rstrip("/")
        if url.scheme not in ("http", "https") or not _is_host(host) or not _BASE_PATH.fullmatch(base):
            raise Misconfigured(_no_url(engine))
        if url.query or url.fragment or url.username is not None or url.password is not None or ".." in base:
            raise Misconfigured(_no_url(engine))
        tls = url.scheme == "https"
        digest = hashlib.sha256(f"{workspace}\n{engine.name}".encode()).hexdigest()[:16]
        return cls(f"engine-{digest}", engine, host, port or (443 if tls else 80), tls, base)

    @property
    def authorities(self) -> tuple[str, ...]:
        """What a request may say in Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        plain = (host,) if self.port == (443 if self.tls else 80) else ()
        return (*plain, f"{host}:{self.port}")


def _no_url(engine: OutsideEngine) -> Problem:
    return Problem(
        f"the URL of the engine {engine.name} is not one that can be declared",
        "Give http(s)://HOST[:PORT]/PATH without user, query, fragment or escapes.",
    )


def _is_host(host: str) -> bool:
    if _is_address(host):
        return True
    return len(host) <= 253 and _HOST.fullmatch(host) is not None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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


def _listener(layout: Layout, workspace: str, routes: Sequence[Route]) -> Message:
    manager = extension(
        "http",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="relay",
        codec_type="HTTP1",
        route_config={"name": workspace, "virtual_hosts": _virtual_hosts(routes), "validate_clusters": False},
        http_filters=[
            extension("router", "filters.http.router.v3.Router", suppress_envoy_headers=True),
        ],
        access_log=_access_log(layout.logs / ACCESS_LOG, workspace),
        local_reply_config=own_answers({}),
        server_header_transformation="PASS_THROUGH",
        generate_request_id=False,
        use_remote_address=True,
        skip_xff_append=True,
        early_header_mutation_extensions=[
            extension(
                "runners_headers",
                "http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[drop(outside(_REQUEST_HEADERS))],
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
        name=workspace,
        address=pipe(relay_socket(layout, workspace), mode=0o660),
        per_connection_buffer_limit_bytes=64 << 10,
        filter_chains=[{"filters": [manager]}],
    )


def _virtual_hosts(routes: Sequence[Route]) -> list[Message]:
    """One virtual host for each server; under it one route for each base path, the longest first."""
    by_server: dict[tuple[str, ...], list[Route]] = {}
    for route in routes:
        by_server.setdefault(route.authorities, []).append(route)
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
    return [*hosts, {"name": "undeclared", "domains": ["*"], "routes": [_REFUSED_CONNECT, _REFUSED]}]


_REFUSED = {"name": "egress_refused", "match": {"prefix": ""}, "direct_response": {"status": 403}}
_REFUSED_CONNECT = {**_REFUSED, "match": {"connect_matcher": {}}}


def _allowed(route: Route) -> Message:
    below = rf"{re.escape(route.base)}(?:/{_SEGMENT})+/?(?:\?.*)?"
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


def _cluster(layout: Layout, route: Route, trust: Path | None) -> Message:
    address = {"socket_address": {"address": route.host, "port_value": route.port}}
    filters = [extension("codec", "filters.http.upstream_codec.v3.UpstreamCodec")]
    if route.engine.authorization is not None:
        filters.insert(0, _credential(layout, route))
    options = typed(
        "upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": "30s"},
        explicit_http_config={"http_protocol_options": {}},
        http_filters=filters,
    )
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=route.id,
        type="STATIC" if _is_address(route.host) else "LOGICAL_DNS",  # one address after the other until one answers
        dns_lookup_family="ALL",
        wait_for_warm_on_init=False,
        connect_timeout="10s",
        per_connection_buffer_limit_bytes=64 << 10,
        load_assignment=endpoints(route.id, address),
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        **({"transport_socket": _tls(route, trust)} if route.tls else {}),
    )


def _credential(layout: Layout, route: Route) -> Message:
    secret = {"name": route.id, "sds_config": watched(layout.edge / _key_file(route.id))}
    return extension(
        "credential",
        "filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential=extension("key", "http.injected_credentials.generic.v3.Generic", credential=secret),
    )


def _tls(route: Route, trust: Path | None) -> Message:
    kind: Literal["IP_ADDRESS", "DNS"] = "IP_ADDRESS" if _is_address(route.host) else "DNS"
    name = {} if kind == "IP_ADDRESS" else {"sni": route.host}
    return extension(
        "tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "validation_context": {
                "trusted_ca": {"filename": str(trust)},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": route.host}}],
            },
        },
        **name,
    )


def _access_log(path: Path, workspace: str) -> list[Message]:
    """One line for each request that was let out, and one for each refusal with the host that was asked for, cut."""
    fields = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "workspace": workspace,
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
