"""The console's door: which route needs whom, who is asking, and the proof that a change comes from our own page.

Every route is declared here-wards with its access; a route without a declaration cannot be made. The session's secret
travels in one `__Host-` cookie; a request that changes state must also prove that our own page sent it (BAR-15).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from freehold.identity.directory import Directory
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused

COOKIE = "__Host-freehold"
_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Visit:
    """A request with who makes it. `secret` is the session's, by which the console speaks to the gateway."""

    request: Request
    principal: Principal
    secret: str

    @property
    def path(self) -> Mapping[str, str]:
        """The variable parts of the path."""
        return self.request.path_params


PublicHandler = Callable[[Request], Awaitable[Response]]
PersonHandler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class Declared:
    """A route with its access: `public` (nobody need be signed in) or `person`."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    access: Literal["public", "person"]
    handler: PublicHandler | PersonHandler


async def visit(request: Request, directory: Directory) -> Visit:
    """Who is asking. Raises Refused 401 without a valid session."""
    secret = request.cookies.get(COOKIE, "")
    principal = await directory.authenticate(secret, host=host_of(request), address=address_of(request))
    if principal.kind != "session" or principal.user_id is None:
        raise Refused("Please sign in.", status=401, code="not_signed_in")
    return Visit(request, principal, secret)


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
