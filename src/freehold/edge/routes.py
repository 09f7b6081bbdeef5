"""Which request goes where: hosts, paths and methods, and who answers what is not allowed. A file that Envoy watches.

Every route stands behind the same refusals, in order: a path that is not in normal form, a method override, a content
encoding, a declared length that is odd or beyond the limit. Only then come the declared prefixes with their methods. A
path must be its own normal form (no dot segments, doubled slashes, escapes, backslashes, parameters): nothing is
rewritten, so what was decided on is what our processes see (BAR-5).
"""

from collections.abc import Mapping

from freehold.edge.envoy import Message, typed
from freehold.edge.headers import REFUSED_OVERRIDES, STRICT_TRANSPORT
from freehold.edge.names import Names
from freehold.edge.replies import say
from freehold.settings import Edge

_LETTER = r"[A-Za-z0-9_~:@+,=-]"
_SEGMENT = rf"(?:{_LETTER}[A-Za-z0-9_~:@+,=.-]*|\.{_LETTER}[A-Za-z0-9_~:@+,=.-]*)"
_QUERY = r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
NORMAL_PATH = rf"/(?:{_SEGMENT}(?:/{_SEGMENT})*/?)?(?:\?{_QUERY})?"
"""A path (and query) that every parser reads in the same way."""

METHODS = {
    "gateway": ("GET", "POST", "DELETE"),
    "health": ("GET", "HEAD"),
    "console": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
}
"""The methods of each route, by the route's name."""

_MAX_LENGTH = (1 << 63) - 1
_PLAIN_LENGTH = "(?:0|[1-9][0-9]{0,17})?"
"""No zeros before it: parsers differ in how many they bear. Empty stands for none."""


def gateway_cluster(worker: int) -> str:
    """The name of the cluster that is a worker of the gateway."""
    return f"gateway-{worker}" if worker else "gateway"


def route_configuration(edge: Edge, names: Names, sites: Mapping[str, int] | None = None, worker: int = 0) -> Message:
    """The routes for every name of this instance and every workspace's domain, and the refusal for every other.

    `sites`: domain → the gateway's worker that serves it; `worker` serves the installation's own names.
    """
    real = dict.fromkeys(sorted(edge.domains), worker) | (dict(sites) if sites else {})
    local = [*(name for name in names.hosts if name not in real), *map(_bracketed, names.addresses)]
    hosts = [_virtual_host("local", _with_port(local, edge.port), _routes(edge, gateway_cluster(worker)))]
    strict = {"typed_per_filter_config": {"policy": _also_say("strict-transport-security", STRICT_TRANSPORT)}}
    for number in sorted(set(real.values())):
        served = _with_port([domain for domain, by in real.items() if by == number], edge.port)
        name = f"domains-{number}" if number else "domains"
        hosts.append({**_virtual_host(name, served, _routes(edge, gateway_cluster(number))), **strict})
    hosts.append(
        _virtual_host(
            "unknown",
            ["*"],
            [_refuse("refused_method", 405, connect_matcher={}), _refuse("unknown_host", 421, prefix="")],
        )
    )
    return {
        "name": "edge",
        "virtual_hosts": hosts,
        "validate_clusters": False,
        "max_direct_response_body_size_bytes": 1024,
    }


def _routes(edge: Edge, gateway: str) -> list[Message]:
    normal = {"safe_regex": {"regex": NORMAL_PATH}}
    plain = {"string_match": {"safe_regex": {"regex": _PLAIN_LENGTH}}}
    odd_length = {**plain, "invert_match": True, "treat_missing_header_as_empty": True}
    too_long = {"range_match": {"start": edge.max_body_bytes + 1, "end": _MAX_LENGTH}}
    return [
        _refuse("refused_method", 405, connect_matcher={}),
        _refuse(
            "refused_path", 400, prefix="", headers=[{"name": ":path", "string_match": normal, "invert_match": True}]
        ),
        *(
            _refuse("refused_method", 405, prefix="/", headers=[{"name": name, "present_match": True}])
            for name in REFUSED_OVERRIDES
        ),
        _refuse("refused_encoding", 415, prefix="/", headers=[{"name": "content-encoding", "present_match": True}]),
        _refuse("refused_length", 413, prefix="/", headers=[{"name": "content-length", **too_long}]),
        _refuse("refused_length", 400, prefix="/", headers=[{"name": "content-length", **odd_length}]),
        *_area("gateway", gateway, prefix="/v1/"),
        *_area("health", gateway, path="/healthz"),
        *_area("console", "console", prefix="/"),
    ]


def _area(name: str, cluster: str, **match: str) -> list[Message]:
    methods = METHODS[name]
    declared = {"safe_regex": {"regex": "|".join(methods)}}
    allowed: Message = {
        "name": name,
        "match": {**match, "headers": [{"name": ":method", "string_match": declared}]},
        "route": {"cluster": cluster, "timeout": "0s"},
    }
    refused = _refuse("refused_method", 405, **match)
    return [allowed, {**refused, "response_headers_to_add": [say("allow", ", ".join(methods))]}]


def _refuse(name: str, status: int, **match: object) -> Message:
    return {
        "name": name,
        "match": match,
        "direct_response": {"status": status},
        "typed_per_filter_config": {"body_limit": typed("filters.http.buffer.v3.BufferPerRoute", disabled=True)},
    }


def _also_say(name: str, value: str) -> Message:
    """A response header on top of what the filter `policy` sets."""
    return typed(
        "filters.http.header_mutation.v3.HeaderMutationPerRoute",
        mutations={"response_mutations": [{"append": say(name, value)}]},
    )


def _virtual_host(name: str, domains: list[str], routes: list[Message]) -> Message:
    return {"name": name, "domains": domains, "routes": routes}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _with_port(hosts: list[str], port: int) -> list[str]:
    return [form for host in hosts for form in (host, f"{host}:{port}")]
