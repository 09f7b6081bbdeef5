"""What the console holds open while it runs, handed to each group of its routes."""

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from freehold.audit.trail import current
from freehold.console.access import COOKIE, Visit, address_of, host_of, set_session, visit
from freehold.console.bodies import reply
from freehold.console.hints import Hints
from freehold.console.outward import Keepsakes, Outward
from freehold.console.place import workspace, workspace_id
from freehold.console.steps import CROSSING, Steps
from freehold.console.trail import Witness
from freehold.identity.directory import Directory
from freehold.identity.sessions import Sessions
from freehold.identity.throttle import Doors
from freehold.protocol.errors import Refused
from freehold.protocol.http import UnixClient
from freehold.settings import Settings
from freehold.storage import users
from freehold.storage.engine import Database
from freehold.storage.workspaces import Workspace


@dataclass(frozen=True)
class Premises:
    """The open parts. `gateways`: one client for each of the gateway's workers; `key`: the installation's."""

    settings: Settings
    database: Database
    directory: Directory
    gateways: list[UnixClient]
    sessions: Sessions
    key: bytes
    outward: Outward
    keepsakes: Keepsakes
    witness: Witness
    doors: Doors = field(default_factory=Doors)
    steps: Steps = field(default_factory=Steps)
    crossings: Steps = field(default_factory=lambda: Steps(CROSSING, "lax"))
    hints: Hints = field(default_factory=Hints)

    async def visit(self, request: Request) -> Visit:
        """Who is asking: on the trail from here on. Raises Refused 401."""
        found = await visit(request, self.directory, self.sessions, self.database)
        trail = current()
        trail.actor, trail.credential = found.user_id, found.principal.credential_id
        return found

    async def workspace(self, request: Request) -> Workspace:
        """The request's workspace. Raises Unavailable."""
        return await workspace(request, self.directory, self.database)

    def workspace_id(self, request: Request) -> str:
        """The id of the request's workspace. Raises Unavailable."""
        return workspace_id(request, self.directory)

    def knock(self, request: Request, *account: str) -> None:
        """Count a try to come in. Raises Refused 429."""
        self.doors.knock(address_of(request), *account)

    async def user(self, visit: Visit) -> users.User:
        """The account of who is signed in. Raises Refused 401 when it is gone."""
        async with self.database.read() as connection:
            found = await users.get(connection, visit.user_id)
        if found is None:
            raise Refused("Please sign in.", status=401, code="not_signed_in")
        return found

    async def signed_in(self, request: Request, user: users.User, methods: str) -> Response:
        """The answer that signs a person in; the session that the browser had before ends."""
        response = reply({"user": person(user)})
        await self.give_session(request, response, user, methods)
        return response

    async def give_session(
        self,
        request: Request,
        response: Response,
        user: users.User,
        methods: str,
        *,
        replaces: str | None = None,
        provider_id: str | None = None,
        external_session: str | None = None,
    ) -> str:
        """Put a fresh session on a response, in place of the one that the browser had; its secret."""
        before = await self.present(request) or replaces
        secret = await self.sessions.open(
            user, methods, address_of(request), before, provider_id=provider_id, external_session=external_session
        )
        self.steps.end(request, response)
        set_session(response, secret, self.sessions.policy.absolute_hours)
        return secret

    async def present(self, request: Request) -> str | None:
        """The id of the session that the browser shows, if it is a live one."""
        secret = request.cookies.get(COOKIE)
        if not secret:
            return None
        try:
            principal = await self.directory.authenticate(secret, host=host_of(request), address=address_of(request))
        except Refused:
            return None
        return principal.credential_id if principal.kind == "session" else None


def person(user: users.User) -> dict[str, object]:
    """An account as the page is told of it."""
    return {"id": user.id, "name": user.name, "email": user.email or "", "role": user.role}
