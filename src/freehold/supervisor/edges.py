"""The two Envoys of this machine: the edge, always, and the egress relay once something outside was declared.

Their files are written by `prepare`; both watch them, so a renewed certificate, a new domain or another outside engine
is taken up without a restart. Only a changed bootstrap needs one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from freehold.edge.process import command, drain, listens, lives
from freehold.protocol.http import UnixClient
from freehold.settings import Settings
from freehold.supervisor.children import Child

_START_SECONDS = 20.0
_DRAIN_SECONDS = 10.0


class Edges:
    """Owns both Envoys' processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        layout = settings.layout
        self._bootstrap = layout.edge_bootstrap
        self._edge = _envoy("edge", layout.edge_bootstrap, layout.envoy_admin_socket, layout.logs, listens)
        self._relay: Child | None = None
        self._read = b""

    @property
    def children(self) -> list[Child]:
        """The processes of this machine's Envoys."""
        return [self._edge] if self._relay is None else [self._edge, self._relay]

    async def start(self) -> None:
        """Start the edge. Raises Misconfigured when it does not come up."""
        self._read = self._bootstrap.read_bytes()
        await self._edge.start(_START_SECONDS)

    async def refresh(self, *, relay: bool) -> None:
        """After `prepare`: have the relay if it is needed, restart the edge if its bootstrap is another one."""
        layout = self._settings.layout
        if relay and self._relay is None:
            self._relay = _envoy("relay", layout.relay_bootstrap, layout.relay_admin_socket, layout.logs, lives)
            await self._relay.start(_START_SECONDS)
        if self._read and self._read != self._bootstrap.read_bytes():
            await drain(layout.envoy_admin_socket, timeout=_DRAIN_SECONDS)
            await self._edge.stop()
            await self.start()

    async def stop(self) -> None:
        """Stop both."""
        await asyncio.gather(*(child.stop() for child in self.children))


def public_url(settings: Settings) -> str:
    """Where people reach this Freehold."""
    host = settings.edge.domains[0] if settings.edge.domains else "localhost"
    return f"https://{host}" if settings.edge.port == 443 else f"https://{host}:{settings.edge.port}"


def _envoy(
    name: str, bootstrap: Path, admin: Path, logs: Path, ready: Callable[[UnixClient], Awaitable[bool]]
) -> Child:
    client = UnixClient(str(admin))
    return Child(name, command(bootstrap), log=logs / f"{name}.log", ready=lambda: ready(client))
