"""The edge's listener: one TCP address, TLS only, for known names only. A file that Envoy watches.

Which filter chain takes a connection is decided from the name in the client's hello: a known name, or none at all
(clients that were given an IP address send none). For any other name there is no chain, and the connection ends
before a certificate is shown. A workspace with a domain of its own has a chain with a certificate of its own; when one
comes or goes, Envoy changes that chain and leaves the connections of the others alone.
"""

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from freehold.edge.connection import connection_manager
from freehold.edge.envoy import Message, extension, seconds, watched
from freehold.edge.names import Names
from freehold.edge.sites import Site
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Edge

_CURVES = ("X25519MLKEM768", "X25519", "P-256", "P-384")
_INTERMEDIATE_CIPHERS = (
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
_BUFFER = 64 << 10

OWN = "edge"
"""The filter chain, and the certificate, of the installation's own names."""


def listener(
    edge: Edge, names: Names, sites: Sequence[Site], routes_file: Path, secrets: Callable[[str], Path], access_log: Path
) -> Message:
    """The listener: a filter chain for the installation's own names and one for each site, which shows its own
    certificate. `secrets` tells the file of a chain's certificate. Raises Misconfigured when `bind` is no IP address.
    """
    manager = connection_manager(edge, routes_file, access_log)

    def chain(name: str) -> Message:
        return {
            "name": name,
            "filters": [manager],
            "transport_socket": _tls(edge.tls.profile, name, secrets(name)),
            "transport_socket_connect_timeout": seconds(edge.header_timeout),
        }

    return {
        "name": "edge",
        "address": {"socket_address": _address(edge)},
        "enable_reuse_port": False,  # with it a second instance could take the same port without an error
        "tcp_backlog_size": 4096,
        "per_connection_buffer_limit_bytes": _BUFFER,
        "listener_filters": [
            extension("tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector"),
        ],
        "listener_filters_timeout": seconds(min(5, edge.header_timeout)),
        "filter_chain_matcher": _by_name(names, sites),
        "filter_chains": [chain(OWN), *(chain(site.id) for site in sites)],
    }


def _address(edge: Edge) -> Message:
    try:
        address = ipaddress.ip_address(edge.bind)
    except ValueError:
        raise Misconfigured(
            Problem(f"setting edge.bind: {edge.bind!r} is not an IP address", "Give one, such as 127.0.0.1 or 0.0.0.0.")
        ) from None
    dual = {"ipv4_compat": True} if address == ipaddress.IPv6Address("::") else {}
    return {"address": str(address), "port_value": edge.port, **dual}


def _by_name(names: Names, sites: Sequence[Site]) -> Message:
    name = extension("name", "matching.common_inputs.network.v3.ServerNameInput")
    some = {"single_predicate": {"input": name, "value_match": {"safe_regex": {"google_re2": {}, "regex": ".+"}}}}
    no_name = {"matcher_list": {"matchers": [{"predicate": {"not_matcher": some}, "on_match": _to(OWN)}]}}
    chains = {**dict.fromkeys(names.hosts, _to(OWN)), **{site.domain: _to(site.id) for site in sites}}
    return {
        "matcher_tree": {"input": name, "exact_match_map": {"map": chains}},
        "on_no_match": {"matcher": no_name},
    }


def _to(chain: str) -> Message:
    value = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": chain}
    return {"action": {"name": chain, "typed_config": value}}


def _tls(profile: Literal["modern", "intermediate"], name: str, secrets_file: Path) -> Message:
    modern = profile == "modern"
    versions = {
        "tls_minimum_protocol_version": "TLSv1_3" if modern else "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
        "ecdh_curves": list(_CURVES),
    }
    return extension(
        "tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": versions if modern else {**versions, "cipher_suites": list(_INTERMEDIATE_CIPHERS)},
            "tls_certificate_sds_secret_configs": [{"name": name, "sds_config": watched(secrets_file)}],
        },
        require_client_certificate=False,
    )
