"""Under which names and addresses this machine may be asked for: the one source for certificate, SNI and Host.

`local_names` looks at the machine; `reachable` adds what the settings say. The supervisor calls both at start and now
and then (a laptop changes its network), and hands the result to `certificates.ensure` and `config.render`.
"""

import contextlib
import fcntl
import ipaddress
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from freehold.settings import Edge

_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_SIOCGIFADDR = 0x8915
_INTERFACE_ADDRESSES_V6 = Path("/proc/net/if_inet6")


@dataclass(frozen=True)
class Names:
    """Host names in lower case and IP addresses in canonical form, each sorted, the loopback ones always there."""

    hosts: tuple[str, ...] = ("localhost",)
    addresses: tuple[str, ...] = ("127.0.0.1", "::1")


def only(domain: str) -> Names:
    """One domain and nothing of the machine: the names of a workspace with a domain of its own."""
    return Names((domain,), ())


def local_names() -> Names:
    """This machine's host name (short and full) and the addresses of its interfaces."""
    return _names([socket.gethostname(), socket.getfqdn()], _interface_addresses())


def reachable(edge: Edge, local: Names) -> Names:
    """The machine's own names, the configured domains, and the address that is listened on."""
    return _names((*local.hosts, *edge.domains), (*local.addresses, edge.bind))


def _names(hosts: Iterable[str], addresses: Iterable[str]) -> Names:
    known = set(Names.hosts)
    known.update(name for host in hosts if len(name := host.lower().rstrip(".")) <= 253 and _is_name(name))
    usable = set(Names.addresses)
    for address in addresses:
        with contextlib.suppress(ValueError):
            parsed = ipaddress.ip_address(address.partition("%")[0])
            if not (parsed.is_unspecified or parsed.is_link_local or parsed.is_multicast):
                usable.add(str(parsed))
    return Names(tuple(sorted(known)), tuple(sorted(usable)))


def _is_name(name: str) -> bool:
    if _HOST_NAME.fullmatch(name) is None or name.endswith(".arpa"):
        return False
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return False
    return True


def _interface_addresses() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, interface in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
                yield socket.inet_ntoa(answer[20:24])
        with contextlib.suppress(OSError):
            probe.connect(("192.0.2.1", 9))  # sends nothing; asks the kernel which of our addresses it would use
            yield probe.getsockname()[0]
    with contextlib.suppress(OSError):
        for line in _INTERFACE_ADDRESSES_V6.read_text().splitlines():
            yield str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))
