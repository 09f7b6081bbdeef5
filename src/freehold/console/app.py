"""The console's ASGI application: its routes with their access, its lifetime, its rim.

A path under /api/ is answered 401 before it is looked up, so that without a session one that exists looks like one that
does not. The rim is, with the gateway's, where any exception is caught; it logs class names and places, no messages.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from freehold.audit.events import By, Keyed
from freehold.audit.log import AuditLog
from freehold.audit.trail import following
from freehold.console import STATIC
from freehold.console.access import Declared, PersonHandler, PublicHandler, address_of, host_of, prove_same_origin
from freehold.console.account import Account
from freehold.console.api import Api
from freehold.console.indexing import indexing
from freehold.console.outward import Keepsakes, Outward
from freehold.console.pages import PAGE_PATHS, Pages
from freehold.console.people import People
from freehold.console.premises import Premises
from freehold.console.providers import Providers
from freehold.console.scim import Scim
from freehold.console.signing import Signing
from freehold.console.trail import Witness
from freehold.identity.directory import Directory
from freehold.identity.sessions import Sessions, SignInPolicy
from freehold.protocol.background import during
from freehold.protocol.errors import Refused, Unavailable, error_body
from freehold.protocol.fault import log_fault
from freehold.protocol.http import UnixClient
from freehold.protocol.ids import new_id
from freehold.settings import Settings
from freehold.storage import conversations
from freehold.storage.engine import Database


class Console:
    """The ASGI callable."""

    def __init__(self, settings: Settings, policy: SignInPolicy | None = None) -> None:
        self._settings = settings
        self._policy = policy or SignInPolicy(absolute_hours=settings.console.session_hours)
        self._pages = Pages(STATIC)
        self._premises: Premises | None = None
        self._routes: list[tuple[Route, Declared]] = []
        self._open: list[Route] = []
        self._app = Starlette(lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id("exg")
        begun = False

        async def send_with_id(message: dict[str, object]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = cast("list[tuple[bytes, bytes]]", message.setdefault("headers", []))
                if not any(name == b"x-request-id" for name, _ in headers):
                    message["headers"] = [*headers, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, send_with_id)  # type: ignore[arg-type]
        except (Refused, Unavailable) as error:
            await _error(error, request_id)(scope, receive, send_with_id)  # type: ignore[arg-type]
        except Exception as error:
            log_fault("console", request_id, error)
            if not begun:
                failure = Unavailable("Something went wrong on our side.", status=500, code="internal_error")
                await _error(failure, request_id)(scope, receive, send_with_id)  # type: ignore[arg-type]

    def declared(self) -> list[Declared]:
        """Every route with its access."""
        return [declared for _, declared in self._routes]

    async def _answer(self, request: Request) -> Response:
        if (premises := self._premises) is None:
            raise Unavailable("Freehold is being started. Try again in a moment.", code="not_ready", retry_after=1)
        place = premises.directory.places.workspace_of(host_of(request))
        trail = premises.witness.trail(_door(request), address_of(request), place)
        with following(trail):
            async with premises.witness.refusals(trail):
                return await self._dispatched(request, premises)

    async def _dispatched(self, request: Request, premises: Premises) -> Response:
        person = None
        if request.url.path.startswith("/api/") and not self._is_open(request):
            person = await premises.visit(request)  # before any look-up: its time would tell what exists
        matches = [pair for pair in self._routes if pair[0].matches(request.scope)[0] != Match.NONE]
        if not matches:
            raise Refused("There is nothing at this path.", status=404, code="path_not_found")
        for route, declared in matches:
            match, child = route.matches(request.scope)
            if match == Match.FULL:
                request.scope.update(child)
                if declared.access == "signed":
                    return await cast("PublicHandler", declared.handler)(request)
                prove_same_origin(request)
                if declared.access == "public":
                    return await cast("PublicHandler", declared.handler)(request)
                person = person or await premises.visit(request)
                person.demand(declared.access)
                return await cast("PersonHandler", declared.handler)(person)
        raise Refused("This path does not take this method.", status=405, code="method_not_allowed")

    def _is_open(self, request: Request) -> bool:
        """Whether nobody need be signed in for this path; every such path of the API is tried."""
        return any(route.matches(request.scope)[0] != Match.NONE for route in self._open)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        settings = self._settings
        workers = range(settings.gateway.workers)
        gateways = [UnixClient(str(settings.layout.gateway_socket_of(worker))) for worker in workers]
        outward = Outward(settings.layout.identity_relay)
        keyed = Keyed(settings.layout.secret("audit-hash"))
        async with (
            AuditLog.of(settings.layout) as log,
            Database(settings.database_url) as database,
            Directory(database, key := settings.layout.secret("credentials")).running() as directory,
            Keepsakes(database, outward).running() as keepsakes,
            during(indexing(database, settings.layout)),
        ):
            async with database.write() as connection:
                await conversations.end_streams(connection, "The answer broke off: Freehold was restarted.")
            sessions = Sessions(database, key, self._policy)
            directory.on_change(sessions.forget)
            directory.on_change(keepsakes.note)
            premises = Premises(
                settings, database, directory, gateways, sessions, key, outward, keepsakes, Witness(log, keyed)
            )
            self._routes = [(Route(d.path, d.handler, methods=[d.method]), d) for d in routes(self._pages, premises)]
            self._open = [
                route for route, d in self._routes if d.access in ("public", "signed") and d.path.startswith("/api/")
            ]
            self._premises = premises
            yield
            for gateway in gateways:
                gateway.close()


def routes(pages: Pages, premises: Premises) -> list[Declared]:
    """The console's routes: all of them."""
    return [
        *(Declared("GET", path, "public", pages.page) for path in PAGE_PATHS),
        *(Declared("GET", path, "public", pages.asset) for path in pages.paths),
        *Api(premises).routes(),
        *Signing(premises).routes(),
        *Providers(premises).routes(),
        *Account(premises).routes(),
        *People(premises).routes(),
        *Scim(premises).routes(),
    ]


def _door(request: Request) -> By:
    if request.url.path.startswith("/scim/"):
        return By.SCIM
    return By.PROVIDER if request.url.path.startswith(("/sign-in/", "/sign-out/")) else By.PAGE


def _error(error: Refused | Unavailable, request_id: str) -> Response:
    headers = {"retry-after": str(max(1, round(error.retry_after)))} if error.retry_after is not None else None
    return Response(error_body(error, request_id), error.status, headers, media_type="application/json")
