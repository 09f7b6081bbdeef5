"""Which workspace a host name belongs to, from memory. Asked by the directory for every request.

The edge lets through only names that it knows and says which one was asked for. A name is a workspace's domain, or else
one of the installation's own names (`localhost`, the machine's), which are the first workspace's.
"""

from freehold.storage import workspaces
from freehold.storage.engine import Database


class Places:
    """Host names → workspaces. Filled by `read`, and again whenever the change feed names a workspace."""

    def __init__(self) -> None:
        self._by_domain: dict[str, str] = {}
        self._first: str | None = None

    async def read(self, database: Database) -> None:
        """Read the workspaces' domains. Raises Unavailable."""
        async with database.read() as connection:
            found = await workspaces.everything(connection)
        self._by_domain = {workspace.domain: workspace.id for workspace in found if workspace.domain}
        self._first = found[0].id if found else None

    def workspace_of(self, host: str) -> str | None:
        """The workspace of a host name as it was asked for (any case, with or without a port)."""
        found = self._by_domain.get(host)
        if found is not None:
            return found
        name = host.lower()
        name = name if name.endswith("]") else name.rpartition(":")[0] or name
        return self._by_domain.get(name, self._first)
