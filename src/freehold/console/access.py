"""The console's door: which route needs whom, who is asking, and the proof that a change comes from our own page.

Every route is declared here-wards with its access; a route without a declaration cannot be made. The session's secret
travels in one `__Host-` cookie; a request that changes state must also prove that our own page sent it (BAR-15).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from freehold.audit.events import Action
from freehold.identity import roles
from freehold.identity.directory import Directory
from freehold.identity.principal import Principal
from freehold.identity.roles import Permission
from freehold.identity.sessions import SECOND_FACTORS, Sessions
from freehold.protocol.errors import Refused
from freehold.storage import groups
from freehold.storage.engine import Database

COOKIE = "__Host-freehold"
_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Visit:
    """A request with who makes it. `secret` is the session's, by which the console speaks to the gateway.

    `held_back`: this role is to have a second factor, and the session was opened without one.
    """

    request: Request
    principal: Principal
    secret: str
    held_back: bool = False

    @property
    def path(self) -> Mapping[str, str]:
        """The variable parts of the path."""
        return self.request.path_params

    @property
    def user_id(self) -> str:
        """Who it is."""
        return self.principal.user_id or ""

    @property
    def workspace_id(self) -> str:
        """Where."""
        return self.principal.workspace_id

    def demand(self, permission: Permission) -> None:
        """Raise Refused 403 unless the person may do this."""
        if not roles.permits(self.principal.role, permission):
            raise Refused("You are not allowed to do this.", status=403, code="not_permitted")
        if self.held_back and permission != "account":
            raise Refused(
                "Your role needs a second factor. Set one up in your account, or sign in with it.",
                status=403,
                code="second_factor_needed",
            )


PublicHandler = Callable[[Request], Awaitable[Response]]
PersonHandler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class Declared:
    """A route with what it needs: a permission, or one of two words for those without a session.

    `action`: what a change by this route is to the audit, told by what makes the change. Only a route that changes
    nothing that matters to it has none; a test holds the list of those.

    `public`: nobody need be signed in. `signed`: what is sent proves itself (a provisioning client's token, a
    provider's logout token); no session, and no proof of our own page. Its handler refuses with 401.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    access: Literal["public", "signed"] | Permission
    handler: PublicHandler | PersonHandler
    action: Action | None = None


async def visit(request: Request, directory: Directory, sessions: Sessions, database: Database) -> Visit:
    """Who is asking. Raises Refused 401 without a valid session."""
    secret = request.cookies.get(COOKIE, "")
    principal = await directory.authenticate(secret, host=host_of(request), address=address_of(request))
    if principal.kind != "session" or principal.user_id is None:
        raise Refused("Please sign in.", status=401, code="not_signed_in")
    standing = await sessions.standing(principal)
    if principal.groups:
        async with database.read() as connection:
            given = await groups.roles(connection, principal.user_id)
        principal = msgspec.structs.replace(principal, role=roles.effective(principal.role, given))
    held_back = principal.role in sessions.policy.second_factor and not standing.methods & SECOND_FACTORS
    return Visit(request, principal, secret, held_back)


def host_of(request: Request) -> str:
    """The name that was asked for, as the edge says: it decides which workspace this is."""
    return request.headers.get("x-freehold-host", "")


def address_of(request: Request) -> str:
    """Where the request came from, as the edge says."""
    return request.headers.get("x-freehold-client", "")


def prove_same_origin(request: Request) -> None:
    """Refuse a state change that our own page did not send. Raises Refused 403 or 415.

    Browsers set Sec-Fetch-Site and Origin themselves; a page of another origin cannot forge them. A request with
    neither does not come from a browser's page and is refused too: programs use the API with a key.
    """
    if request.method in _READING:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    host = request.headers.get("host", "")
    if (
        (site is None and origin is None)
        or site not in (None, "same-origin")
        or origin not in (None, f"https://{host}")
    ):
        raise Refused("This can only be done from Freehold's own page.", status=403, code="cross_site")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused("The content type must be application/json.", status=415, code="content_type")


def set_session(response: Response, secret: str, hours: float) -> None:
    """Give the browser its session."""
    response.set_cookie(
        COOKIE, secret, max_age=int(hours * 3600), path="/", secure=True, httponly=True, samesite="strict"
    )


def clear_session(response: Response) -> None:
    """Take the session from the browser."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
