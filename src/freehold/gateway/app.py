"""The gateway's ASGI application: its lifetime and its rim. Served by `freehold.gateway.__main__` over a Unix socket.

The rim turns errors into answers; it is one of the two places where any exception is caught, and it logs a class name
and a place in our code, never a message, since messages of other people's code can quote what a client sent.
"""

import contextlib
from collections.abc import AsyncIterator

from freehold.gateway.engines import EngineBook
from freehold.gateway.exchange import Exchanges
from freehold.gateway.routes import Routes
from freehold.identity.directory import Directory
from freehold.isolation.pool import Pools
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.fault import log_fault
from freehold.serving.call import Call, ClientGone, Receive, Scope, Send
from freehold.settings import Settings
from freehold.storage.engine import Database


class Gateway:
    """The ASGI callable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._routes: Routes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and self._routes is not None:
            await self._http(self._routes, Call(scope, receive, send))

    async def _http(self, routes: Routes, call: Call) -> None:
        try:
            await routes.serve(call)
        except (Refused, Unavailable) as error:
            await call.fail(error)
        except ClientGone:
            pass
        except Exception as error:
            log_fault("gateway", call.id, error)
            await call.fail(Unavailable("Something went wrong on our side.", status=500, code="internal_error"))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._running() as self._routes:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[Routes]:
        settings = self._settings
        bounds = settings.gateway
        async with (
            Database(settings.database_url) as database,
            Directory(database, settings.layout.secret("credentials")).running() as directory,
            EngineBook(database).running() as engines,
            Pools(
                settings.layout.pool_file, max_waiting=bounds.max_waiting, max_wait=bounds.max_wait
            ).running() as pools,
        ):
            directory.on_change(engines.note)
            yield Routes(Exchanges(settings, directory, engines, pools))
