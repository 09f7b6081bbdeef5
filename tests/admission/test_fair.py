"""The fair queue against what it promises, in simulated time: nobody starves, nobody is delayed by a flood, and the
waits that it predicts come true."""

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.admission.fair import AGEING_SECONDS, Bounds, FairQueue, Priority, Ticket, TooMuch

WIDE = Bounds(count=10_000, size=1 << 40, principal_count=10_000)


@dataclass
class Simulation:
    """A pool of `slots` that serves each ticket for `service` seconds and `tokens` tokens."""

    slots: int
    service: float = 1.0
    tokens: int = 100
    now: float = 0.0
    queue: FairQueue = field(default_factory=lambda: FairQueue(WIDE))
    busy: list[tuple[float, int, Ticket]] = field(default_factory=list)
    started: list[Ticket] = field(default_factory=list)
    serial: int = 0

    def ask(self, principal: str, priority: Priority = "standard", patience: float = 1e9) -> Ticket | TooMuch:
        ticket = Ticket(principal, priority, 1, self.now, self.now + patience)
        if len(self.busy) < self.slots and not self.queue.depth:
            self.queue.straight(ticket)
            self._run(ticket)
            return ticket
        return self.queue.offer(ticket, self.slots) or ticket

    def until(self, time: float) -> None:
        while self.busy and self.busy[0][0] <= time:
            self.now, _, ended = heapq.heappop(self.busy)
            self.queue.finish(ended, self.tokens, self.now)
            if ticket := self.queue.next(self.now):
                self._run(ticket)
        self.now = time

    def _run(self, ticket: Ticket) -> None:
        self.serial += 1
        self.started.append(ticket)
        heapq.heappush(self.busy, (self.now + self.service, self.serial, ticket))


def waits(simulation: Simulation, principal: str) -> list[float]:
    return [
        t.started_at - t.asked_at for t in simulation.started if t.principal == principal and t.started_at is not None
    ]


def quiet_waits(slots: int, flood: int) -> list[float]:
    """Nine quiet principals, each asking now and then; one that keeps `flood` requests in flight."""
    simulation = Simulation(slots)
    chance = random.Random(5)  # noqa: S311 - when they come
    gap = 300 / (4 * slots)
    arrivals = sorted(
        (20 + turn * gap + chance.uniform(0, gap / 2), f"quiet{n}") for n in range(9) for turn in range(4 * slots)
    )
    for _ in range(flood):
        simulation.ask("flood")
    for time, who in arrivals:
        while simulation.now < time:
            simulation.until(min(time, simulation.now + 0.25))
            for _ in range(flood - sum(t.principal == "flood" for *_, t in simulation.busy) - _waiting(simulation)):
                simulation.ask("flood")
        simulation.ask(who)
    simulation.until(simulation.now + 100)
    return [wait for n in range(9) for wait in waits(simulation, f"quiet{n}")]


def _waiting(simulation: Simulation) -> int:
    line = simulation.queue._lines.get("flood")
    return line.count if line else 0


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_flood_delays_the_quiet_by_no_more_than_one_service_time(slots: int) -> None:
    alone, beside = sorted(quiet_waits(slots, 0)), sorted(quiet_waits(slots, 200))
    assert len(alone) == len(beside) == 36 * slots
    p99 = int(0.99 * len(alone))
    assert beside[p99] <= alone[p99] + 1.0


def test_tokens_are_shared_and_not_requests() -> None:
    queue = FairQueue(WIDE)
    cost = {"long": 1000, "short": 100}
    for number in range(400):
        for who in cost:
            queue.offer(Ticket(who, "standard", 1, number, 1e9), 1)
    served = dict.fromkeys(cost, 0)
    for number in range(220):
        ticket = queue.next(400 + number)
        assert ticket
        queue.finish(ticket, cost[ticket.principal], 400 + number)
        served[ticket.principal] += cost[ticket.principal]
    assert abs(served["long"] - served["short"]) <= 2000


def test_a_weight_is_a_share() -> None:
    queue = FairQueue(WIDE)
    queue.weigh("double", 2.0)
    for number in range(300):
        for who in ("double", "single"):
            queue.offer(Ticket(who, "standard", 1, number, 1e9), 1)
    counts = {"double": 0, "single": 0}
    for number in range(150):
        ticket = queue.next(300)
        assert ticket
        queue.finish(ticket, 100, 300 + number)
        counts[ticket.principal] += 1
    assert 95 <= counts["double"] <= 105


def test_classes_come_in_order_and_nothing_starves() -> None:
    queue = FairQueue(WIDE)
    queue.offer(Ticket("a", "batch", 1, 0.0, 1e9), 1)
    queue.offer(Ticket("b", "standard", 1, 0.0, 1e9), 1)
    queue.offer(Ticket("c", "interactive", 1, 0.0, 1e9), 1)
    order = []
    while ticket := queue.next(1.0):
        order.append(ticket.priority)
        queue.finish(ticket, 10, 1.0)
    assert order == ["interactive", "standard", "batch"]

    queue.offer(Ticket("a", "batch", 1, 10.0, 1e9), 1)
    for number in range(1000):
        now = 10.0 + number
        queue.offer(Ticket("c", "interactive", 1, now, 1e9), 1)
        ticket = queue.next(now)
        assert ticket
        queue.finish(ticket, 10, now)
        if ticket.priority == "batch":
            assert number <= 2 * AGEING_SECONDS + 1
            return
    raise AssertionError("the batch ticket starved")


def test_idling_saves_nothing_up() -> None:
    queue = FairQueue(WIDE)
    for number in range(50):
        queue.offer(Ticket("busy", "standard", 1, number, 1e9), 1)
        ticket = queue.next(number)
        assert ticket
        queue.finish(ticket, 100, number)
    for _ in range(20):
        queue.offer(Ticket("busy", "standard", 1, 50, 1e9), 1)
        queue.offer(Ticket("late", "standard", 1, 50, 1e9), 1)
    first = []
    for number in range(20):
        ticket = queue.next(50)
        assert ticket
        first.append(ticket.principal)
        queue.finish(ticket, 100, 51 + number)
    assert 9 <= first.count("busy") <= 11


@pytest.mark.parametrize(("slots", "service"), [(1, 1.0), (2, 3.0), (8, 0.5)])
def test_predicted_waits_come_true_within_a_factor_of_two(slots: int, service: float) -> None:
    simulation = Simulation(slots, service)
    chance = random.Random(11)  # noqa: S311 - when they come
    for number in range(60):  # it learns the service time
        simulation.until(number * service / slots)
        simulation.ask(f"p{number % 3}")
    predicted: list[tuple[float, Ticket]] = []
    for number in range(40 * slots):
        simulation.until(simulation.now + chance.uniform(0, service / slots / 4))
        who = f"p{number % 5}"
        wait = simulation.queue.wait_of(who, "standard", slots)
        ticket = simulation.ask(who)
        if isinstance(ticket, Ticket) and ticket.started_at is None:
            predicted.append((wait, ticket))
    simulation.until(simulation.now + 1000 * service)
    right = [p / 2 <= t.started_at - t.asked_at <= 2 * p for p, t in predicted if t.started_at and p > 2 * service]
    assert len(right) > 20
    assert sum(right) / len(right) > 0.95


def test_too_many_too_large_too_late() -> None:
    queue = FairQueue(Bounds(count=3, size=100, principal_count=2))
    assert queue.offer(Ticket("a", "standard", 10, 0, 1e9), 1) is None
    assert queue.offer(Ticket("a", "standard", 10, 0, 1e9), 1) is None
    flood = queue.offer(Ticket("a", "standard", 10, 0, 1e9), 1)
    assert flood
    assert flood.reason == "flood"
    large = queue.offer(Ticket("b", "standard", 90, 0, 1e9), 1)
    assert large
    assert large.reason == "full"
    assert queue.offer(Ticket("b", "standard", 10, 0, 1e9), 1) is None
    full = queue.offer(Ticket("c", "standard", 1, 0, 1e9), 1)
    assert full
    assert full.reason == "full"
    late = FairQueue(WIDE)
    late.offer(Ticket("a", "standard", 1, 0, 1e9), 1)
    refused = late.offer(Ticket("a", "standard", 1, 0, 1.0), 1)
    assert refused
    assert refused.reason == "late"
    assert refused.wait > 1


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "end", "leave"]),
        st.integers(0, 4),
        st.sampled_from(["interactive", "standard", "batch"]),
        st.integers(0, 300),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(acts=_ACTS, slots=st.integers(1, 3))
def test_places_are_never_exceeded_never_idle_and_nothing_is_lost(
    acts: list[tuple[str, int, Priority, int]], slots: int
) -> None:
    queue, now = FairQueue(WIDE), 0.0
    waiting: list[Ticket] = []
    running: list[Ticket] = []
    for act, who, priority, number in acts:
        now += 0.5
        if act == "ask":
            ticket = Ticket(f"p{who}", priority, 1, now, 1e9)
            if len(running) < slots and not queue.depth:
                queue.straight(ticket)
                running.append(ticket)
            else:
                assert queue.offer(ticket, slots) is None
                waiting.append(ticket)
        elif act == "leave" and waiting:
            queue.leave(waiting.pop(number % len(waiting)))
        elif act == "end" and running:
            queue.finish(running.pop(number % len(running)), number, now)
        while len(running) < slots and (let := queue.next(now)):
            waiting.remove(let)
            running.append(let)
        assert queue.depth == len(waiting)
        assert queue.in_flight == len(running) <= slots
        assert not waiting or len(running) == slots
        positions = [queue.position(t) for t in waiting]
        assert all(0 <= position < len(waiting) for position in positions)
    while running:
        queue.finish(running.pop(), 1, now)
        if let := queue.next(now):
            waiting.remove(let)
            running.append(let)
    assert not waiting
    assert (queue.depth, queue.in_flight) == (0, 0)
