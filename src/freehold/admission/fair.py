"""The fair queue as a pure state machine: who waits, who is next, how long it will take. Time is passed in.

Weighted fair by tokens served: virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", OSDI
2024). Each principal has a counter of what it was served; the next place goes to the waiting principal with the lowest
(of several, the one that was served longest ago), and one that comes back from idling is lifted to the lowest of those
who are active, so that idling saves nothing up.
Priority classes come first: interactive before standard before batch; a class of which nothing was served for
`AGEING_SECONDS` while it waited has one turn before the better ones, so that nothing starves.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

Priority = Literal["interactive", "standard", "batch"]
RANKS: dict[Priority, int] = {"interactive": 0, "standard": 1, "batch": 2}
AGEING_SECONDS = 30.0
DEBT = 20.0
"""How many mean exchanges a principal that comes back may be behind the others at most."""

_SMOOTHING = 0.2
_FIRST_GUESS = 2.0  # seconds that an exchange is taken to last before one has been seen
_REMEMBERED = 4096


@dataclass(eq=False)
class Ticket:
    """One exchange that wants a place. `size` in bytes; `deadline`: when it must have started."""

    principal: str
    priority: Priority
    size: int
    asked_at: float
    deadline: float
    started_at: float | None = None
    charged: float = 0.0


@dataclass(frozen=True)
class Bounds:
    """How much may wait, in all and of one principal."""

    count: int = 256
    size: int = 64 << 20
    principal_count: int = 200


@dataclass(frozen=True)
class Figures:
    """What the scaling law reads. Ages and times in seconds, rates in exchanges a second."""

    depth: int
    oldest: float
    in_flight: int
    arrival_rate: float
    service_time: float


@dataclass(frozen=True)
class TooMuch:
    """Why a ticket was not taken, and the predicted wait (s)."""

    reason: Literal["full", "late", "flood"]
    wait: float


@dataclass
class _Line:
    """A principal's tickets, by class."""

    waiting: dict[Priority, deque[Ticket]] = field(default_factory=dict)
    counter: float = 0.0
    charged: float = 0.0
    running: int = 0
    served_at: float = 0.0

    @property
    def count(self) -> int:
        return sum(map(len, self.waiting.values()))


class FairQueue:
    """The line before the places of one engine. `weight` of a principal: how many times a share it has (default 1)."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lines: dict[str, _Line] = {}
        self._idle: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._floor = 0.0
        self._size = 0
        self.depth = 0
        self.in_flight = 0
        self._service = _FIRST_GUESS
        self._tokens = 100.0
        self._gap: float | None = None
        self._served_at: dict[Priority, float] = {}
        self._last_arrival: float | None = None

    def weigh(self, principal: str, weight: float) -> None:
        """Give a principal another weight."""
        self._weights[principal] = weight

    def offer(self, ticket: Ticket, slots: int) -> TooMuch | None:
        """Put a ticket in the line; not when there is no room or it would start too late. `slots`: places in all."""
        self._arrived(ticket.asked_at)
        line = self._lines.get(ticket.principal)
        wait = self.wait_of(ticket.principal, ticket.priority, slots)
        if self.depth >= self._bounds.count or self._size + ticket.size > self._bounds.size:
            return TooMuch("full", wait)
        if line is not None and line.count >= self._bounds.principal_count:
            return TooMuch("flood", wait)
        if ticket.asked_at + wait > ticket.deadline:
            return TooMuch("late", wait)
        line = self._active(ticket.principal)
        line.waiting.setdefault(ticket.priority, deque()).append(ticket)
        self.depth += 1
        self._size += ticket.size
        return None

    def straight(self, ticket: Ticket) -> None:
        """A place is free and nobody waits: the ticket starts without standing in line."""
        self._arrived(ticket.asked_at)
        self._start(ticket, self._active(ticket.principal), ticket.asked_at)

    def next(self, now: float) -> Ticket | None:
        """The ticket that starts now, taken out of the line."""
        turn = self._turn(now)
        if turn is None:
            return None
        line, tickets = min(
            ((line, tickets) for line in self._lines.values() if (tickets := line.waiting.get(turn))),
            key=lambda one: (one[0].counter, one[0].served_at, one[1][0].asked_at),
        )
        self._served_at[turn] = now
        ticket = tickets.popleft()
        self.depth -= 1
        self._size -= ticket.size
        self._start(ticket, line, now)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """A ticket that waits gives up."""
        line = self._lines[ticket.principal]
        line.waiting[ticket.priority].remove(ticket)
        self.depth -= 1
        self._size -= ticket.size
        self._rest(ticket.principal, line)

    def finish(self, ticket: Ticket, tokens: int | None, now: float) -> None:
        """A started ticket has ended, and what it was served; None: it was let in and did not begin."""
        line = self._lines[ticket.principal]
        line.counter += (tokens or 0) / self._weights.get(ticket.principal, 1.0) - ticket.charged
        line.charged -= ticket.charged
        line.running -= 1
        self.in_flight -= 1
        if tokens is not None and ticket.started_at is not None:
            self._service += _SMOOTHING * (max(0.0, now - ticket.started_at) - self._service)
            self._tokens += _SMOOTHING * (tokens - self._tokens)
        self._rest(ticket.principal, line)

    def position(self, ticket: Ticket) -> int:
        """How many tickets will start before this one, as things are: 0 is next."""
        line = self._lines[ticket.principal]
        return self._ahead(ticket.principal, ticket.priority, line.waiting[ticket.priority].index(ticket))

    def wait_of(self, principal: str, priority: Priority, slots: int) -> float:
        """Predicted wait (s) of a ticket that would come now, all places being taken."""
        line = self._lines.get(principal)
        mine = len(line.waiting.get(priority, ())) if line else 0
        return self.wait_at(self._ahead(principal, priority, mine), slots)

    def wait_at(self, position: int, slots: int) -> float:
        """Predicted wait (s) at a position: a place becomes free every `service time / slots`."""
        return (position + 1) * self._service / max(1, slots)

    def figures(self, now: float) -> Figures:
        """How the line is now."""
        asked = [t[0].asked_at for line in self._lines.values() for t in line.waiting.values() if t]
        oldest = now - min(asked) if asked else 0.0
        quiet = 0.0 if self._last_arrival is None else now - self._last_arrival
        gap = max(self._gap or 0.0, quiet)
        return Figures(self.depth, oldest, self.in_flight, 1.0 / gap if gap > 0 else 0.0, self._service)

    def _turn(self, now: float) -> Priority | None:
        """The class whose turn it is: one that is overdue, else the best that waits."""
        oldest: dict[Priority, float] = {}
        for line in self._lines.values():
            for priority, tickets in line.waiting.items():
                if tickets:
                    oldest[priority] = min(tickets[0].asked_at, oldest.get(priority, now))
        waited = {p: now - max(asked, self._served_at.get(p, asked)) for p, asked in oldest.items()}
        overdue = [priority for priority, seconds in waited.items() if seconds >= AGEING_SECONDS]
        return min(overdue or oldest, key=lambda p: (-waited[p] if overdue else 0, RANKS[p]), default=None)

    def _start(self, ticket: Ticket, line: _Line, now: float) -> None:
        ticket.started_at = now
        # what it is taken to cost until that is known
        ticket.charged = self._tokens / self._weights.get(ticket.principal, 1.0)
        line.counter += ticket.charged
        line.charged += ticket.charged
        line.running += 1
        line.served_at = now
        self.in_flight += 1

    def _ahead(self, principal: str, priority: Priority, mine: int) -> int:
        """Tickets before the one that has `mine` of its own principal and class before it: all of better classes, of
        the same class one turn of each other principal for each of ours."""
        own = self._lines.get(principal)
        counter = own.counter if own else self._lifted(principal)
        ahead = mine
        for name, line in self._lines.items():
            for other, tickets in line.waiting.items():
                if RANKS[other] < RANKS[priority]:
                    ahead += len(tickets)
                elif other == priority and name != principal:
                    turns = math.floor(mine + (counter - line.counter) / max(1.0, self._tokens)) + 1
                    ahead += min(len(tickets), max(0, turns))
        return ahead

    def _active(self, principal: str) -> _Line:
        line = self._lines.get(principal)
        if line is None:
            line = self._lines[principal] = _Line(counter=self._lifted(principal))
            self._idle.pop(principal, None)
        return line

    def _lifted(self, principal: str) -> float:
        """The counter of one that comes (back): not below the active ones, nor out of their reach."""
        lowest = min((line.counter - line.charged for line in self._lines.values()), default=self._floor)
        return min(max(self._idle.get(principal, 0.0), lowest), lowest + DEBT * self._tokens)

    def _rest(self, principal: str, line: _Line) -> None:
        """A principal that neither waits nor runs is idle: only its counter is kept, for a while."""
        if line.running or line.count:
            return
        del self._lines[principal]
        self._idle[principal] = line.counter
        if not self._lines:
            self._floor = max(self._floor, line.counter)
        if len(self._idle) > _REMEMBERED:
            del self._idle[next(iter(self._idle))]

    def _arrived(self, now: float) -> None:
        if self._last_arrival is not None:
            gap = now - self._last_arrival
            self._gap = gap if self._gap is None else self._gap + _SMOOTHING * (gap - self._gap)
        self._last_arrival = now
