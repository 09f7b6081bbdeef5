"""The gateway's routes, as data, and the way from a call to its handler. Called by `app`.

Authentication comes before routing: without a valid credential a path that exists answers exactly like one that does
not (BAR-8). The only route without a credential is `/healthz`.
"""

from collections.abc import Awaitable, Callable

import msgspec

from freehold.gateway.exchange import Exchanges
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused
from freehold.protocol.openai import model_object
from freehold.serving.call import Call

Handler = Callable[[Call, Principal], Awaitable[None]]

PUBLIC = frozenset({("GET", "/healthz")})
"""Routes that answer without a credential: the reviewed list."""


class Routes:
    """Finds the handler of a call and runs it."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self.table: dict[str, dict[str, Handler]] = {
            "/v1/models": {"GET": self._models},
            "/v1/models/{model}": {"GET": self._model},
            "/v1/chat/completions": {"POST": exchanges.chat},
            "/v1/embeddings": {"POST": exchanges.embeddings},
        }

    async def serve(self, call: Call) -> None:
        """Answer the call. Raises Refused or Unavailable."""
        if call.path == "/healthz" and call.method == "GET":
            await call.reply(b'{"status":"ok"}')
            return
        principal = await self._exchanges.directory.authenticate(_secret(call))
        handlers = self.table.get(call.path)
        if handlers is None and call.path.startswith("/v1/models/"):
            handlers = self.table["/v1/models/{model}"]
        if handlers is None:
            raise Refused("There is nothing at this path.", status=404, code="path_not_found")
        handler = handlers.get(call.method)
        if handler is None:
            raise Refused("This path does not take this method.", status=405, code="method_not_allowed")
        await handler(call, principal)

    async def _models(self, call: Call, principal: Principal) -> None:
        data = [model_object(engine.name, engine.created_at) for engine in self._exchanges.engines.visible(principal)]
        await call.reply(msgspec.json.encode({"object": "list", "data": data}))

    async def _model(self, call: Call, principal: Principal) -> None:
        name = call.path.removeprefix("/v1/models/")
        for engine in self._exchanges.engines.visible(principal):
            if engine.name == name:
                await call.reply(msgspec.json.encode(model_object(engine.name, engine.created_at)))
                return
        raise Refused("The model does not exist or you do not have access to it.", status=404, code="model_not_found")


def _secret(call: Call) -> str:
    """The one credential of the call, from `Authorization: Bearer` (any case of the scheme's name)."""
    scheme, _, secret = (call.header(b"authorization") or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
