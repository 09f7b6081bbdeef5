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

from freehold.console import STATIC
from freehold.console.access import Declared, PersonHandler, PublicHandler, prove_same_origin, visit
from freehold.console.api import Api
from freehold.console.pages import PAGE_PATHS, Pages
from freehold.identity.directory import Directory
from freehold.protocol.errors import Refused, Unavailable, error_body
from freehold.protocol.fault import log_fault
from freehold.protocol.http import UnixClient
from freehold.protocol.ids import new_id
from freehold.settings import Settings
from freehold.storage import conversations
from freehold.storage.engine import Database


class Console:
    """The ASGI callable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pages = Pages(STATIC)
        self._directory: Directory | None = None
        self._routes: list[tuple[Route, Declared]] = []
        self._open: frozenset[str] = frozenset()
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
        if self._directory is None:
            raise Unavailable("Freehold is being started. Try again in a moment.", code="not_ready", retry_after=1)
        person = None
        if request.url.path.startswith("/api/") and request.url.path not in self._open:
            person = await visit(request, self._directory)  # before any look-up: its time would tell what exists
        matches = [pair for pair in self._routes if pair[0].matches(request.scope)[0] != Match.NONE]
        if not matches:
            raise Refused("There is nothing at this path.", status=404, code="path_not_found")
        for route, declared in matches:
            match, child = route.matches(request.scope)
            if match == Match.FULL:
                request.scope.update(child)
                prove_same_origin(request)
                if declared.access == "public":
                    return await cast("PublicHandler", declared.handler)(request)
                person = person or await visit(request, self._directory)
                return await cast("PersonHandler", declared.handler)(person)
        raise Refused("This path does not take this method.", status=405, code="method_not_allowed")

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        settings = self._settings
        gateway = UnixClient(str(settings.layout.gateway_socket))
        async with (
            Database(settings.database_url) as database,
            Directory(database, settings.layout.secret("credentials")).running() as directory,
        ):
            async with database.write() as connection:
                await conversations.end_streams(connection, "The answer broke off: Freehold was restarted.")
            self._routes = [
                (Route(d.path, d.handler, methods=[d.method]), d)
                for d in routes(self._pages, Api(settings, database, directory, gateway))
            ]
            self._open = frozenset(d.path for _, d in self._routes if d.access == "public")
            self._directory = directory
            yield
            gateway.close()


def routes(pages: Pages, api: Api) -> list[Declared]:
    """The console's routes: all of them."""
    return [
        *(Declared("GET", path, "public", pages.page) for path in PAGE_PATHS),
        *(Declared("GET", path, "public", pages.asset) for path in pages.paths),
        Declared("GET", "/api/site", "public", api.site),
        Declared("POST", "/api/claim", "public", api.claim),
        Declared("POST", "/api/sign-in", "public", api.sign_in),
        Declared("POST", "/api/sign-out", "person", api.sign_out),
        Declared("GET", "/api/me", "person", api.me),
        Declared("GET", "/api/assistants", "person", api.assistants),
        Declared("GET", "/api/conversations", "person", api.conversations),
        Declared("POST", "/api/conversations", "person", api.new_conversation),
        Declared("GET", "/api/conversations/{conversation}", "person", api.conversation),
        Declared("PATCH", "/api/conversations/{conversation}", "person", api.rename),
        Declared("DELETE", "/api/conversations/{conversation}", "person", api.delete),
        Declared("POST", "/api/conversations/{conversation}/messages", "person", api.ask),  # type: ignore[arg-type]
        Declared("GET", "/api/keys", "person", api.keys),
        Declared("POST", "/api/keys", "person", api.new_key),
        Declared("DELETE", "/api/keys/{key}", "person", api.revoke_key),
    ]


def _error(error: Refused | Unavailable, request_id: str) -> Response:
    headers = {"retry-after": str(max(1, round(error.retry_after)))} if error.retry_after is not None else None
    return Response(error_body(error, request_id), error.status, headers, media_type="application/json")
