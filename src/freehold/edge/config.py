"""The edge's whole configuration as a pure function of the settings: what `render` returns is what Envoy reads.

The bootstrap is read once; listener, routes and secrets are watched, so a new certificate, domain or workspace takes
effect on new connections while streams go on. The supervisor calls `write` at start and whenever names, certificates or
workspaces change. `check.json` is the same with the listener in it: what Envoy's validation mode looks at, since it
does not follow files. `render` is golden-tested.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from freehold.edge.certificates import Certificate
from freehold.edge.envoy import Message, discovery, endpoints, extension, pipe, text, typed, watched
from freehold.edge.listener import OWN, listener
from freehold.edge.names import Names
from freehold.edge.routes import gateway_cluster, route_configuration
from freehold.edge.sites import Site
from freehold.settings import Edge, Layout, write_private

BOOTSTRAP, LISTENER, ROUTES, CHECK = "bootstrap.json", "listener.json", "routes.json", "check.json"
ACCESS_LOG = "edge-access.jsonl"

_ADMIN_PATHS = ("/ready", "/drain_listeners", "/stats")
_UPSTREAM_IDLE = "30s"  # our processes close an idle connection after 65 s: the edge must be the first to let go


def secret_file(chain: str) -> str:
    """The file that says which certificate a filter chain shows; Envoy takes one secret a file."""
    return f"secret-{chain}.json"


def render(
    edge: Edge,
    layout: Layout,
    names: Names,
    certificate: Certificate,
    sites: Sequence[Site] = (),
    *,
    workers: int = 1,
    worker: int = 0,
) -> dict[str, str]:
    """File name (in `layout.edge`) → text. `worker` of the gateway's `workers` serves the installation's own names."""
    own = listener(
        edge,
        names,
        sites,
        layout.edge / ROUTES,
        lambda chain: layout.edge / secret_file(chain),
        layout.logs / ACCESS_LOG,
    )
    watched_listener = {"dynamic_resources": {"lds_config": watched(layout.edge / LISTENER)}}
    static_listener = {"static_resources": {**_static(edge, layout, workers), "listeners": [own]}}
    common = bootstrap(edge, layout, workers)
    shown = {OWN: certificate, **{site.id: site.certificate for site in sites}}
    return {
        BOOTSTRAP: text({**common, **watched_listener}),
        CHECK: text({**common, **static_listener}),
        LISTENER: text(discovery({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **own})),
        ROUTES: text(routes(edge, names, sites, worker)),
        **{secret_file(chain): text(secret(chain, pair)) for chain, pair in shown.items()},
    }


def write(
    edge: Edge,
    layout: Layout,
    names: Names,
    certificate: Certificate,
    sites: Sequence[Site] = (),
    *,
    workers: int = 1,
    worker: int = 0,
) -> frozenset[str]:
    """Write what changed, each file whole; returns the names. Only a change of BOOTSTRAP needs a restart.

    Secrets come before what refers to them, and those of a workspace that is gone go last.
    """
    files = render(edge, layout, names, certificate, sites, workers=workers, worker=worker)
    order = sorted(files, key=lambda name: (not name.startswith("secret-"), name != ROUTES))
    changed = frozenset(name for name in order if replace(layout.edge / name, files[name]))
    for stale in layout.edge.glob(secret_file("*")):
        if stale.name not in files:
            stale.unlink()
    return changed


def replace(path: Path, content: str) -> bool:
    """Write a file that Envoy watches, unless it holds this already. True when it was written."""
    if path.is_file() and path.read_text() == content:
        return False
    write_private(path, content.encode())
    return True


def bootstrap(edge: Edge, layout: Layout, workers: int = 1) -> Message:
    """The part that is read once: clusters, admin socket, overload manager, runtime."""
    return {
        "node": {"id": "edge", "cluster": "freehold"},
        "admin": admin(layout.envoy_admin_socket),
        "static_resources": _static(edge, layout, workers),
        "overload_manager": overload(edge.max_heap_bytes, edge.max_connections),
        "layered_runtime": {"layers": [{"name": "edge", "static_layer": RUNTIME}]},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"prefix": p} for p in _STATS]}}},
    }


def _static(edge: Edge, layout: Layout, workers: int) -> Message:
    return {
        "clusters": [
            *(
                _cluster(gateway_cluster(number), layout.gateway_socket_of(number), edge.max_connections)
                for number in range(workers)
            ),
            _cluster("console", layout.console_socket, edge.max_connections),
        ]
    }


def routes(edge: Edge, names: Names, sites: Sequence[Site] = (), worker: int = 0) -> Message:
    """The watched file with hosts and routes."""
    configuration = route_configuration(edge, names, {site.domain: site.worker for site in sites}, worker)
    return discovery({"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", **configuration})


def secret(chain: str, certificate: Certificate) -> Message:
    """The watched file that says which certificate a chain shows."""
    pair = {"certificate_chain": _file(certificate.chain), "private_key": _file(certificate.key)}
    return discovery(typed("transport_sockets.tls.v3.Secret", name=chain, tls_certificate=pair))


_STATS = ("http.edge.", "listener_manager.", "cluster.gateway", "cluster.console.", "server.", "overload.")

RUNTIME = {
    "re2": {"max_program_size": {"error_level": 8192, "warn_level": 8192}},  # the header allow-lists are long words
    "overload": {"premature_reset_total_stream_count": 100, "premature_reset_min_stream_lifetime_seconds": 30},
    "envoy": {"reloadable_features": {"http1_allow_query_method": False, "strict_chunk_parsing": True}},
}


def admin(socket: Path) -> Message:
    """The admin interface: a Unix socket of ours that knows the few questions that the supervisor asks."""
    return {
        "address": pipe(socket, mode=0o600),
        "allow_paths": [{"exact": path} for path in _ADMIN_PATHS] + [{"prefix": f"{path}?"} for path in _ADMIN_PATHS],
    }


def _cluster(name: str, socket: Path, most: int) -> Message:
    bounds = {"max_connections": most, "max_pending_requests": most, "max_requests": most, "max_retries": 0}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "per_connection_buffer_limit_bytes": 64 << 10,
        "load_assignment": endpoints(name, pipe(socket)),
        "circuit_breakers": {"thresholds": [bounds]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "upstreams.http.v3.HttpProtocolOptions",
                common_http_protocol_options={"idle_timeout": _UPSTREAM_IDLE, "max_headers_count": 100},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
    }


def overload(heap_bytes: int, connections: int) -> Message:
    """What Envoy gives up, step by step, as memory runs out; and how many connections it holds at most."""
    heap = "envoy.resource_monitors.fixed_heap"

    def at(action: str, threshold: float) -> Message:
        trigger = {"name": heap, "threshold": {"value": threshold}}
        return {"name": f"envoy.overload_actions.{action}", "triggers": [trigger]}

    def from_to(action: str, low: float, high: float) -> Message:
        trigger = {"name": heap, "scaled": {"scaling_threshold": low, "saturation_threshold": high}}
        return {"name": f"envoy.overload_actions.{action}", "triggers": [trigger]}

    timers = [
        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s"},
        {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_scale": {"value": 20}},
        {"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "2s"},
    ]
    return {
        "refresh_interval": "0.25s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "resource_monitors": [
            extension(heap, "resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=heap_bytes),
            extension(
                "envoy.resource_monitors.global_downstream_max_connections",
                "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=connections,
            ),
        ],
        "actions": [
            {
                **from_to("reduce_timeouts", 0.80, 0.95),
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                    "timer_scale_factors": timers,
                },
            },
            at("shrink_heap", 0.85),
            from_to("reset_high_memory_stream", 0.88, 0.96),
            at("disable_http_keepalive", 0.90),
            at("stop_accepting_requests", 0.93),
            at("stop_accepting_connections", 0.95),
            at("reject_incoming_connections", 0.97),
        ],
    }


def _file(path: Path) -> Message:
    return {"filename": os.fspath(path)}
