"""The gateway's routes, as data, and the way from a call to its handler. Called by `app`.

Authentication comes before routing: without a valid credential a path that exists answers exactly like one that does
not (BAR-8). The only route without a credential is `/healthz`. Each route says which scope a credential needs for it
and in which dialect its errors are told, so that a client's library reads them.
"""

import math
from collections.abc import Awaitable, Callable

import msgspec

from freehold.gateway.call import Call
from freehold.gateway.dismissal import Dismissals
from freehold.gateway.exchange import Exchanges
from freehold.gateway.responses import Responses
from freehold.identity import roles
from freehold.identity.principal import Principal, Scope
from freehold.protocol import anthropic, openai
from freehold.protocol.dialect import Dialect
from freehold.protocol.errors import Refused, Unavailable, error_body

Handler = Callable[[Call, Principal], Awaitable[None]]
Tell = Callable[[Refused | Unavailable, str], bytes]

PUBLIC = frozenset({("GET", "/healthz")})
"""Routes that answer without a credential: the reviewed list."""

_CREDENTIAL_HEADERS = (b"authorization", b"x-api-key", b"api-key")


class Route(msgspec.Struct, frozen=True):
    """What a method on a path does, which scope it takes, and how it tells errors."""

    handler: Handler
    scope: Scope
    tell: Tell = error_body


class Routes:
    """Finds the handler of a call and runs it."""

    def __init__(self, exchanges: Exchanges, responses: Responses, dismissals: Dismissals) -> None:
        self._exchanges = exchanges
        self._dismissals = dismissals
        self.table: dict[str, dict[str, Route]] = {
            "/v1/models": {"GET": Route(self._models, "models")},
            "/v1/models/{}": {"GET": Route(self._model, "models")},
            "/v1/chat/completions": {"POST": _chat(exchanges, openai)},
            "/v1/messages": {"POST": _chat(exchanges, anthropic)},
            "/v1/responses": {"POST": Route(responses.create, "responses")},
            "/v1/responses/{}": {
                "GET": Route(responses.get, "responses"),
                "DELETE": Route(responses.delete, "responses"),
            },
            "/v1/responses/{}/input_items": {"GET": Route(responses.items, "responses")},
            "/v1/embeddings": {"POST": Route(exchanges.embeddings, "embeddings")},
        }

    async def serve(self, call: Call) -> None:
        """Answer the call. Raises Refused or Unavailable before a route is found; what a route raises is told."""
        path = call.path
        if path == "/healthz" and call.method == "GET":
            call.reply(b'{"status":"ok"}')
            return
        principal = await self._exchanges.directory.authenticate(
            _secret(call), host=call.header(b"x-freehold-host") or "", address=call.address
        )
        route = self._route(call.method, path)
        try:
            _demand(principal, route.scope)
            with self._dismissals.under_way(principal, call.task):
                await route.handler(call, principal)
        except (Refused, Unavailable) as error:
            fail(call, error, route.tell)

    def _route(self, method: str, path: str) -> Route:
        methods = self.table.get(path)
        if methods is None:  # the third segment may be an id
            start, _, rest = path[1:].partition("/")
            noun, _, rest = rest.partition("/")
            variable, slash, rest = rest.partition("/")
            methods = self.table.get(f"/{start}/{noun}/{{}}{slash}{rest}") if variable else None
        if methods is None:
            raise Refused("There is nothing at this path.", status=404, code="path_not_found")
        route = methods.get(method)
        if route is None:
            raise Refused("This path does not take this method.", status=405, code="method_not_allowed")
        return route

    async def _models(self, call: Call, principal: Principal) -> None:
        engines = self._exchanges.engines.visible(principal)
        data = [openai.model_object(engine.name, engine.created_at) for engine in engines]
        call.reply(msgspec.json.encode({"object": "list", "data": data}))

    async def _model(self, call: Call, principal: Principal) -> None:
        name = call.path.removeprefix("/v1/models/")
        for engine in self._exchanges.engines.visible(principal):
            if engine.name == name:
                call.reply(msgspec.json.encode(openai.model_object(engine.name, engine.created_at)))
                return
        raise Refused("The model does not exist or you do not have access to it.", status=404, code="model_not_found")


def fail(call: Call, error: Refused | Unavailable, tell: Tell = error_body) -> None:
    """Tell the client what went wrong, in whatever form is still possible."""
    if not call.begun:
        headers: list[tuple[bytes, bytes]] = []
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        call.reply(tell(error, call.id), status=error.status, headers=headers)
    elif call.streaming and not call.ended:
        call.end(call.told_broken(error) if call.told_broken else b"data: %b\n\n" % tell(error, call.id))


def _chat(exchanges: Exchanges, dialect: Dialect) -> Route:
    async def handler(call: Call, principal: Principal) -> None:
        await exchanges.chat(call, principal, dialect)

    return Route(handler, "chat", dialect.error)


def _demand(principal: Principal, scope: Scope) -> None:
    """Raise Refused 403 unless both the role and the credential are for this."""
    if not roles.permits(principal.role, "chat"):
        raise Refused("You are not allowed to do this.", status=403, code="not_permitted")
    principal.demand(scope)


def _secret(call: Call) -> str:
    """The one credential of the call, whichever header carries it. Raises Refused 400 when there are two."""
    sent = [name for name in _CREDENTIAL_HEADERS if name in call.headers]
    if len(sent) > 1:
        raise Refused("The request carries two credentials. Send one.", code="duplicate_header")
    if not sent:
        return ""
    name = sent[0]
    value = call.header(name) or ""
    if name != b"authorization":
        return value.strip()
    scheme, _, secret = value.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
