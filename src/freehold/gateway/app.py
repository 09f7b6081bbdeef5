"""The gateway: its lifetime and its rim. Run by `freehold.gateway.__main__`.

The rim turns errors into answers; it is one of the two places where any exception is caught, and it logs a class name
and a place in our code, never a message, since messages of other people's code can quote what a client sent.
"""

import contextlib
from collections.abc import AsyncIterator

from freehold.admission.fair import Bounds
from freehold.admission.limits import Limiter
from freehold.admission.memory import MemoryStore
from freehold.admission.queue import AdmissionQueue
from freehold.admission.shared import SharedStore
from freehold.admission.store import Store
from freehold.gateway.call import Call
from freehold.gateway.connection import listening
from freehold.gateway.dismissal import Dismissals
from freehold.gateway.engines import EngineBook
from freehold.gateway.exchange import Exchanges
from freehold.gateway.limits import LimitBook
from freehold.gateway.load import publishing
from freehold.gateway.notice import Notice
from freehold.gateway.responses import Responses
from freehold.gateway.routes import Routes, fail
from freehold.gateway.tokens import ProviderBook, TokenDoor
from freehold.identity.directory import Directory
from freehold.isolation.pool import Pools
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.fault import log_fault
from freehold.settings import Settings
from freehold.storage.engine import Database


@contextlib.asynccontextmanager
async def gateway(settings: Settings, worker: int = 0) -> AsyncIterator[None]:
    """Serve on the worker's socket while the block runs."""
    layout, bounds = settings.layout, settings.gateway
    async with (
        Database(settings.database_url) as database,
        Directory(database, layout.secret("credentials")).running() as directory,
        EngineBook(database).running() as engines,
        LimitBook(database).running() as limits,
        ProviderBook(database).running() as trusted,
        Dismissals(database).running() as dismissals,
        _store(settings) as store,
        Pools(layout.pool_file).running() as pools,
    ):
        door = TokenDoor(database, trusted, lambda: directory.seq)
        directory.take_tokens(door.open)
        for follower in (engines, limits, trusted, dismissals, door):
            directory.on_change(follower.note)
        if worker == 0:
            notice = Notice(layout.changes_file)
            notice.begin(directory.seq)
            directory.on_change(notice.note)
        queue = AdmissionQueue(
            pools,
            Bounds(bounds.max_waiting, bounds.max_waiting_bytes, bounds.max_waiting_of_one),
            {
                "interactive": bounds.max_wait_interactive,
                "standard": bounds.max_wait,
                "batch": bounds.max_wait_batch,
            },
        )
        pools.on_change(queue.changed)
        exchanges = Exchanges(settings, directory, engines, limits, Limiter(store), queue, pools)
        routes = Routes(exchanges, Responses(exchanges, database), dismissals)

        async def serve(call: Call) -> None:
            try:
                await routes.serve(call)
            except (Refused, Unavailable) as error:
                fail(call, error)
            except Exception as error:
                log_fault("gateway", call.id, error)
                fail(call, Unavailable("Something went wrong on our side.", status=500, code="internal_error"))

        async with (
            publishing(queue, pools, layout.load_file(worker)),
            listening(layout.gateway_socket_of(worker), serve),
        ):
            yield


@contextlib.asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[Store]:
    where = settings.limits.store
    if where == "memory":
        yield MemoryStore()
    elif where == "local":
        with SharedStore(settings.layout.limits_file) as store:
            yield store
    else:
        from freehold.admission.valkey import ValkeyStore  # its client is needed nowhere else

        async with ValkeyStore(where, share=settings.limits.share).running() as store:
            yield store
