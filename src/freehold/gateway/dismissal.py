"""Ends the exchanges of who is no longer let in: a key revoked, a session ended, a person disabled or no longer allowed
to chat. Entered by `routes` for every call; told of changes by the directory's feed.

Authentication happens once, at the beginning, and a stream may last for minutes. So whatever the feed names is looked
up again for the calls that are under way, and those whose principal would not be let in now are cancelled. The client
is told so in its own dialect; what the exchange held is settled as when a client leaves.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from freehold.identity import standing
from freehold.identity.principal import Principal
from freehold.protocol.background import during
from freehold.protocol.errors import Refused, Unavailable
from freehold.storage.changes import Change
from freehold.storage.engine import Database

_RETRY_SECONDS = 0.25


class Dismissals:
    """The calls under way. Use as `async with Dismissals(database).running() as dismissals`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._under_way: set[UnderWay] = set()
        self._named: set[str] = set()
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Follow the changes while the block runs."""
        async with during(self._follow()):
            yield self

    def under_way(self, principal: Principal, task: asyncio.Task[None] | None) -> "UnderWay":
        """A call of this principal, for the block, which `task` runs. The block raises Refused 401 when the principal
        is dismissed."""
        return UnderWay(self._under_way, principal, task)

    def note(self, change: Change) -> None:
        """A change of the feed."""
        if change.topic in ("credential", "user", "workspace") and self._under_way:
            self._named.add(change.ref)
            self._changed.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            named, self._named = self._named, set()
            try:
                await self._look_again(named)
            except Unavailable:
                self._named |= named
                self._changed.set()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _look_again(self, named: set[str]) -> None:
        doubtful = {call.principal for call in self._under_way if call.concerned(named)}
        if not doubtful:
            return
        async with self._database.read() as connection:
            gone = {one for one in doubtful if not await standing.still_let_in(connection, one)}
        for call in [call for call in self._under_way if call.principal in gone]:
            call.dismiss()


class UnderWay:
    """One call while it is served."""

    __slots__ = ("_calls", "_dismissed", "_task", "principal")

    def __init__(self, calls: "set[UnderWay]", principal: Principal, task: asyncio.Task[None] | None) -> None:
        self._calls = calls
        self._task = task
        self._dismissed = False
        self.principal = principal

    def __enter__(self) -> None:
        self._calls.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.discard(self)
        if self._dismissed and self._task is not None:
            others = self._task.uncancel()  # the client may have left in the same moment
            if kind is asyncio.CancelledError and not others:
                raise Refused(
                    "Your access has ended, and with it this answer.", status=401, code="access_ended"
                ) from None

    def concerned(self, named: set[str]) -> bool:
        """Whether one of these ids is this principal's."""
        mine = self.principal
        return mine.credential_id in named or mine.user_id in named or mine.workspace_id in named

    def dismiss(self) -> None:
        """Cancel the call."""
        if not self._dismissed and self._task is not None:
            self._dismissed = True
            self._task.cancel()
