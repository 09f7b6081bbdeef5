"""Where a request takes place: its workspace, by the host that was asked for, and the site as a browser sees it."""

from starlette.requests import Request

from freehold.console.access import host_of
from freehold.identity.directory import Directory
from freehold.identity.passkeys import Site
from freehold.protocol.errors import Unavailable
from freehold.storage import workspaces
from freehold.storage.engine import Database


def workspace_id(request: Request, directory: Directory) -> str:
    """The id of the request's workspace. Raises Unavailable before the first start was finished."""
    found = directory.places.workspace_of(host_of(request))
    if found is None:
        raise _not_ready()
    return found


async def workspace(request: Request, directory: Directory, database: Database) -> workspaces.Workspace:
    """The request's workspace. Raises Unavailable."""
    async with database.read() as connection:
        found = await workspaces.get(connection, workspace_id(request, directory))
    if found is None:
        raise _not_ready()
    return found


def site(request: Request, title: str) -> Site:
    """The page's host name and origin, as passkeys are bound to them."""
    host = request.headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return Site(name.lower(), f"https://{host.lower()}", title)


def _not_ready() -> Unavailable:
    return Unavailable("This installation is not set up yet.", code="not_ready", retry_after=2)
