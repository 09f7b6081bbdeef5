"""Places before the runners: an exchange waits here, in fair order, until the pool of its workspace has one for it.

The thin part around `fair`: futures, time limits, and one line for each workspace and engine. How many places a pool
has is asked, never known. An exchange that cannot start in time is refused at once and told when to come back; nobody
waiting costs no task and no timer.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from freehold.admission.fair import Bounds, FairQueue, Figures, Priority, Ticket, TooMuch
from freehold.protocol.errors import Refused, Unavailable

OnWait = Callable[[int, float], None]
"""Told the position (0 is next) and the predicted wait (s) when an exchange has to wait and whenever that changes."""


class Supply(Protocol):
    """The pools, as the queue sees them."""

    def free(self, workspace_id: str) -> int:
        """Places that are free now. Raises Unavailable when there is no runner at all."""
        ...

    def slots(self, workspace_id: str) -> int:
        """Places in all."""
        ...


class AdmissionQueue:
    """All lines of one gateway. `max_wait` (s) by priority is how late an exchange may start."""

    def __init__(self, supply: Supply, bounds: Bounds, max_wait: dict[Priority, float]) -> None:
        self._supply = supply
        self._bounds = bounds
        self._max_wait = max_wait
        self._lines: dict[tuple[str, str], FairQueue] = {}
        self._of: dict[str, list[FairQueue]] = {}
        self._granted: dict[str, int] = {}
        self._waiting: dict[Ticket, Place] = {}

    def place(
        self,
        workspace_id: str,
        engine: str,
        principal: str,
        *,
        priority: Priority = "standard",
        size: int = 0,
        on_wait: OnWait | None = None,
    ) -> "Place":
        """A place for one exchange: `async with queue.place(…) as place`. `size` is that of the request in bytes."""
        line = self._lines.get((workspace_id, engine))
        if line is None:
            line = self._lines[(workspace_id, engine)] = FairQueue(self._bounds)
            self._of.setdefault(workspace_id, []).append(line)
        return Place(self, line, workspace_id, principal, priority, size, on_wait)

    def changed(self, workspace_id: str) -> None:
        """The pool has other places than before: let in who can be."""
        lines = self._of.get(workspace_id)
        if not lines or not any(line.depth for line in lines):
            return
        now = asyncio.get_running_loop().time()
        while any(line.depth for line in lines) and self.room(workspace_id) > 0:
            line = min((line for line in lines if line.depth), key=lambda line: line.in_flight)
            if ticket := line.next(now):
                self._granted[workspace_id] = self._granted.get(workspace_id, 0) + 1
                self._waiting.pop(ticket).let_in()
        slots = self._supply.slots(workspace_id)
        for ticket, place in self._waiting.items():
            if place.line in lines and place.on_wait is not None:
                position = place.line.position(ticket)
                place.on_wait(position, place.line.wait_at(position, slots))

    def figures(self) -> dict[tuple[str, str], Figures]:
        """By workspace and engine, what the scaling law reads."""
        now = asyncio.get_running_loop().time()
        return {key: line.figures(now) for key, line in self._lines.items()}

    # --- the places' side
    def room(self, workspace_id: str) -> int:
        try:
            return self._supply.free(workspace_id) - self._granted.get(workspace_id, 0)
        except Unavailable:
            return 0

    def enter(self, place: "Place", ticket: Ticket) -> bool:
        """Let the ticket in or put it in line: True when it may start. Raises Refused or Unavailable."""
        free = self._supply.free(place.workspace_id) - self._granted.get(place.workspace_id, 0)
        if free > 0 and not any(line.depth for line in self._of[place.workspace_id]):
            place.line.straight(ticket)
            return True
        refused = place.line.offer(ticket, self._supply.slots(place.workspace_id))
        if refused is not None:
            raise _refusal(refused)
        self._waiting[ticket] = place
        if place.on_wait is not None:
            position = place.line.position(ticket)
            place.on_wait(position, place.line.wait_at(position, self._supply.slots(place.workspace_id)))
        return False

    def taken(self, workspace_id: str) -> None:
        self._granted[workspace_id] -= 1

    def give_up(self, ticket: Ticket) -> bool:
        """Out of the line. False when it had been let in meanwhile."""
        place = self._waiting.pop(ticket, None)
        if place is None:
            return False
        place.line.leave(ticket)
        return True

    def latest(self, priority: Priority) -> float:
        return self._max_wait[priority]

    def late(self, place: "Place") -> Unavailable:
        slots = self._supply.slots(place.workspace_id)
        return _overloaded(place.line.wait_of(place.principal, place.priority, slots))


class Place:
    """One exchange's place. `served` says how many tokens it was given, before the block ends."""

    __slots__ = ("_future", "_queue", "_served", "_size", "_ticket", "line", "on_wait", "principal", "priority",
                 "workspace_id")  # fmt: skip

    def __init__(
        self,
        queue: AdmissionQueue,
        line: FairQueue,
        workspace_id: str,
        principal: str,
        priority: Priority,
        size: int,
        on_wait: OnWait | None,
    ) -> None:
        self._queue = queue
        self.line = line
        self.workspace_id = workspace_id
        self.principal = principal
        self.priority: Priority = priority
        self._size = size
        self.on_wait = on_wait
        self._served = 0
        self._future: asyncio.Future[None] | None = None

    def served(self, tokens: int) -> None:
        """So many tokens (of prompt and answer) were served."""
        self._served = tokens

    def let_in(self) -> None:
        """The queue's word that the exchange may start."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def __aenter__(self) -> "Place":
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + self._queue.latest(self.priority)
        ticket = Ticket(self.principal, self.priority, self._size, now, deadline)
        self._ticket = ticket
        if self._queue.enter(self, ticket):
            return self
        self._future = loop.create_future()
        timer = loop.call_at(deadline, self._too_late)
        try:
            await self._future
        except BaseException:
            if not self._queue.give_up(ticket):
                self._queue.taken(self.workspace_id)
                self.line.finish(ticket, None, loop.time())
                self._queue.changed(self.workspace_id)
            raise
        finally:
            timer.cancel()
        self._queue.taken(self.workspace_id)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.line.finish(self._ticket, self._served, asyncio.get_running_loop().time())
        if self.line.depth:
            self._queue.changed(self.workspace_id)

    def _too_late(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_exception(self._queue.late(self))


def _refusal(refused: TooMuch) -> Refused | Unavailable:
    if refused.reason == "flood":
        return Refused(
            "You have too many requests waiting already. Wait for some of them to be answered.",
            status=429,
            code="too_many_waiting",
            retry_after=refused.wait,
        )
    return _overloaded(refused.wait)


def _overloaded(wait: float) -> Unavailable:
    return Unavailable(
        "All of the model's places are taken and so is the room to wait for one in time. Try again when we say.",
        code="overloaded",
        retry_after=wait,
    )
