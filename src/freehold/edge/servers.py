"""A server outside, as the egress relay reaches it: its address, the names it is asked for by, its cluster with TLS.

Used by the relay for declared engines and for sign-in providers. TLS is verified always: against the system's store, or
against the certificates that were declared for this server.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from freehold.edge.envoy import Message, endpoints, extension, typed

SEGMENT = r"[A-Za-z0-9_~:@+,=-][A-Za-z0-9_~:@+,=.-]*"
"""A segment of a path that every parser reads in the same way."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True)
class Server:
    """Where a server is. `host` is in lower case."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Server | None":
        """The server of an http(s) address without user and fragment, None when that is not one."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return None
        if parts.scheme not in ("http", "https") or not _is_host(host) or parts.fragment:
            return None
        if parts.username is not None or parts.password is not None:
            return None
        tls = parts.scheme == "https"
        return cls(host, port or (443 if tls else 80), tls)

    @property
    def authorities(self) -> tuple[str, ...]:
        """What a request may say in Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        plain = (host,) if self.port == (443 if self.tls else 80) else ()
        return (*plain, f"{host}:{self.port}")


def cluster(name: str, server: Server, trust: Message | None, filters: Sequence[Message] = ()) -> Message:
    """The cluster of a server. `trust` is the data source of the authorities that may vouch for it."""
    address = {"socket_address": {"address": server.host, "port_value": server.port}}
    options = typed(
        "upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": "30s"},
        explicit_http_config={"http_protocol_options": {}},
        http_filters=[*filters, extension("codec", "filters.http.upstream_codec.v3.UpstreamCodec")],
    )
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        type="STATIC" if _is_address(server.host) else "LOGICAL_DNS",  # one address after the other until one answers
        dns_lookup_family="ALL",
        wait_for_warm_on_init=False,
        connect_timeout="10s",
        per_connection_buffer_limit_bytes=64 << 10,
        load_assignment=endpoints(name, address),
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        **({"transport_socket": _tls(server, trust)} if server.tls else {}),
    )


def _tls(server: Server, trust: Message | None) -> Message:
    kind: Literal["IP_ADDRESS", "DNS"] = "IP_ADDRESS" if _is_address(server.host) else "DNS"
    name = {} if kind == "IP_ADDRESS" else {"sni": server.host}
    return extension(
        "tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "validation_context": {
                "trusted_ca": trust,
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": server.host}}],
            },
        },
        **name,
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
