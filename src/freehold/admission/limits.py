"""Limits: how much each of workspace, group, person, key, assistant and source address may ask for.

An exchange reserves what it may cost from every limit that applies to it, all or nothing, and settles afterwards with
what it really used, however it ended. The answer is cut to what the tightest token limit can still pay for, so that
tokens are bounded and not only counted: such an answer ends with the reason `length`.

Called by the gateway's exchange; `store` remembers.
"""

import asyncio
import functools
import hashlib
import math
import time
from collections.abc import Awaitable
from typing import Annotated, Literal

import msgspec

from freehold.admission.gcra import MICROSECONDS
from freehold.admission.store import Change, Rate, Slot, Store, Taken
from freehold.protocol.errors import Refused

Kind = Literal["workspace", "group", "user", "key", "assistant", "address"]
KINDS: tuple[Kind, ...] = ("workspace", "group", "user", "key", "assistant", "address")

MINUTE, DAY, MONTH = (days * 86_400.0 * MICROSECONDS for days in (1 / 1440, 1, 30))

Amount = Annotated[int, msgspec.Meta(ge=1)] | None


class LimitSet(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How much one subject may ask for; None: as much as it likes. Tokens are those of prompt and answer together.

    `largest_input` and `largest_output` are tokens of one exchange. A month is thirty days.
    """

    requests_per_minute: Amount = None
    tokens_per_minute: Amount = None
    tokens_per_day: Amount = None
    tokens_per_month: Amount = None
    concurrent: Amount = None
    largest_input: Amount = None
    largest_output: Amount = None


class Subject(msgspec.Struct, frozen=True):
    """Whose limits these are. `id` is unique within the workspace and kind."""

    kind: Kind
    id: str
    limits: LimitSet


class Charge(msgspec.Struct, frozen=True):
    """What an exchange may cost: tokens of the prompt (estimated) and of the answer (at most)."""

    workspace_id: str
    subjects: tuple[Subject, ...]
    input_tokens: int
    output_tokens: int


_SHORTEST_ANSWER = 64  # tokens; rather than cut an answer shorter than this, the exchange is refused
_SMOOTHING = 0.1
_WORDS = {
    "workspace": "workspace",
    "group": "group",
    "user": "account",
    "key": "API key",
    "assistant": "model",
    "address": "network address",
}


class _Measure(msgspec.Struct, frozen=True):
    """One thing that is limited in time. `mark` tells its keys from those of the others; `period` in µs."""

    mark: bytes
    words: str
    period: float
    of_tokens: bool = True


_REQUESTS = _Measure(b"r", "requests per minute", MINUTE, of_tokens=False)
_OF_MINUTE = _Measure(b"m", "tokens per minute", MINUTE)
_OF_DAY = _Measure(b"d", "tokens per day", DAY)
_OF_MONTH = _Measure(b"M", "tokens per month", MONTH)
_PLACES = b"c"


class _Plan(msgspec.Struct, frozen=True):
    """What the limits of some subjects ask of the store, but for an exchange's amounts. Made once for each set of them.

    `rates`: key, limit, period (µs), whether of tokens. The rest are the tightest of their kind; none is very large.
    """

    subjects: tuple[Subject, ...]
    measures: list[tuple[Subject, _Measure]]
    rates: list[tuple[bytes, int, float, bool]]
    slots: list[Slot]
    holders: list[Subject]  # whose slots
    inputs: Subject | None  # who may send least
    largest_input: int
    largest_output: int
    least_tokens: int


_UNBOUND = 1 << 62
_MOST_PLANS = 10_000


class Limiter:
    """Reserves and settles. `secret` keys the hashes by which the store knows its subjects."""

    def __init__(self, store: Store, secret: bytes = b"") -> None:
        self._store = store
        self._secret = secret[:64]
        self._plans: dict[tuple[str, int], _Plan] = {}
        self.lasting = 1.0
        """How long (s) exchanges that hold a place last, on the average."""

    def hold(self, charge: Charge, lease: str) -> "Hold":
        """Reserve for one exchange: `async with limiter.hold(…) as hold`. `lease` differs between exchanges.

        Raises Refused 429 with the time to come back, 400 for a prompt that is too large, Unavailable from the store.
        """
        return Hold(self, charge, lease)

    def plan(self, workspace_id: str, subjects: tuple[Subject, ...]) -> _Plan:
        """For `Hold`: the plan of these subjects, remembered by what they are in memory."""
        name = workspace_id, id(subjects)
        plan = self._plans.get(name)
        if plan is None or plan.subjects is not subjects:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            plan = self._plans[name] = self._planned(workspace_id, subjects)
        return plan

    def _planned(self, workspace_id: str, subjects: tuple[Subject, ...]) -> _Plan:
        measures: list[tuple[Subject, _Measure]] = []
        rates: list[tuple[bytes, int, float, bool]] = []
        slots: list[Slot] = []
        holders: list[Subject] = []
        inputs, largest_input, largest_output, least_tokens = None, _UNBOUND, _UNBOUND, _UNBOUND
        for subject in subjects:
            limits, key = subject.limits, self.key(workspace_id, subject)
            for what, limit in (
                (_REQUESTS, limits.requests_per_minute),
                (_OF_MINUTE, limits.tokens_per_minute),
                (_OF_DAY, limits.tokens_per_day),
                (_OF_MONTH, limits.tokens_per_month),
            ):
                if limit is not None:
                    measures.append((subject, what))
                    rates.append((key + what.mark, limit, what.period, what.of_tokens))
                    least_tokens = min(least_tokens, limit) if what.of_tokens else least_tokens
            if limits.concurrent is not None:
                slots.append(Slot(key + _PLACES, limits.concurrent))
                holders.append(subject)
            if limits.largest_input is not None and limits.largest_input < largest_input:
                inputs, largest_input = subject, limits.largest_input
            if limits.largest_output is not None:
                largest_output = min(largest_output, limits.largest_output)
        return _Plan(subjects, measures, rates, slots, holders, inputs, largest_input, largest_output, least_tokens)

    def take(self, rates: list[Rate], slots: list[Slot], lease: str) -> Awaitable[Taken]:
        """For `Hold`: ask the store."""
        return self._store.take(rates, slots, lease)

    def settle(self, changes: list[Change], slots: list[Slot], lease: str, seconds: float) -> Awaitable[None] | None:
        """For `Hold`: tell the store."""
        if slots:
            self.lasting += _SMOOTHING * (seconds - self.lasting)
        return self._store.settle(changes, slots, lease)

    def key(self, workspace_id: str, subject: Subject) -> bytes:
        """The first 15 bytes of the subject's keys; four of them are the workspace's."""
        text = f"{workspace_id}\0{subject.kind}\0{subject.id}"
        own = hashlib.blake2b(text.encode(), digest_size=11, key=self._secret).digest()
        return _tag(self._secret, workspace_id) + own


class Hold:
    """What one exchange has reserved. `output_tokens` is how long its answer may be."""

    __slots__ = (
        "_began", "_charge", "_lease", "_limiter", "_plan", "_rates", "_taken", "_used", "output_tokens",
    )  # fmt: skip

    def __init__(self, limiter: Limiter, charge: Charge, lease: str) -> None:
        self._limiter = limiter
        self._charge = charge
        self._lease = lease
        self._plan = limiter.plan(charge.workspace_id, charge.subjects) if charge.subjects else None
        self._rates: list[Rate] = []
        self._taken: Taken | None = None
        self._used = charge.input_tokens
        self.output_tokens = charge.output_tokens

    def used(self, tokens: int) -> None:
        """So many tokens have been used so far, prompt included: what is charged when the block ends."""
        self._used = tokens

    async def __aenter__(self) -> "Hold":
        plan = self._plan
        if plan is None:
            return self
        self._reckon(plan, self._charge.output_tokens)
        if not self._rates and not plan.slots:
            return self
        taken = await self._limiter.take(self._rates, plan.slots, self._lease)
        if taken.refused is not None and (shorter := self._shorter(plan, taken)):
            self._reckon(plan, shorter)
            taken = await self._limiter.take(self._rates, plan.slots, self._lease)
        if taken.refused is not None:
            raise self._refusal(plan, taken)
        self._taken = taken
        self._began = time.monotonic()
        return self

    def _shorter(self, plan: _Plan, taken: Taken) -> int:
        """The answer that what is left can pay for, when the whole one is too long and a useful one is not; else 0."""
        index = taken.refused or 0
        if index >= len(self._rates) or not plan.measures[index][1].of_tokens:
            return 0
        tokens = [left for left, (_, what) in zip(taken.remaining, plan.measures, strict=True) if what.of_tokens]
        answer = min(tokens) - self._charge.input_tokens
        return answer if _SHORTEST_ANSWER <= answer < self.output_tokens else 0

    async def __aexit__(self, *_: object) -> None:
        plan, taken, used = self._plan, self._taken, self._used
        if plan is None or taken is None:
            return
        changes = [
            Change(key, limit, period, used - rate.cost, end)
            for rate, (key, limit, period, of_tokens), end in zip(self._rates, plan.rates, taken.ends, strict=True)
            if of_tokens and rate.cost != used
        ]
        if changes or plan.slots:
            seconds = time.monotonic() - self._began
            settling = self._limiter.settle(changes, plan.slots, self._lease, seconds)
            if settling is not None:
                await asyncio.shield(settling)

    def headers(self) -> bytes:
        """`x-ratelimit-*` as OpenAI says them, of the tightest limit of each sort: whole lines of a head."""
        plan, taken = self._plan, self._taken
        if plan is None or taken is None:
            return b""
        requests: Rate | None = None
        tokens: Rate | None = None
        share_of_requests = share_of_tokens = 2.0
        left_of_requests = left_of_tokens = 0
        for rate, (_, limit, _, of_tokens), left in zip(self._rates, plan.rates, taken.remaining, strict=True):
            share = left / limit
            if of_tokens:
                if share < share_of_tokens:
                    share_of_tokens, tokens, left_of_tokens = share, rate, left
            elif share < share_of_requests:
                share_of_requests, requests, left_of_requests = share, rate, left
        return (_HEAD_OF_REQUESTS % _figures(requests, left_of_requests) if requests is not None else b"") + (
            _HEAD_OF_TOKENS % _figures(tokens, left_of_tokens) if tokens is not None else b""
        )

    def _reckon(self, plan: _Plan, budget: int) -> None:
        """What is asked of the store when the answer has at most `budget` tokens."""
        prompt = self._charge.input_tokens
        if prompt > plan.largest_input and plan.inputs is not None:
            raise Refused(
                f"The prompt is longer than this {_WORDS[plan.inputs.kind]} may send. Shorten it.",
                code="input_too_large",
            )
        self.output_tokens = budget = min(budget, plan.largest_output, max(1, plan.least_tokens - prompt))
        cost = prompt + budget
        self._rates = [
            Rate(key, limit, period, cost if of_tokens else 1) for key, limit, period, of_tokens in plan.rates
        ]

    def _refusal(self, plan: _Plan, taken: Taken) -> Refused:
        index = taken.refused or 0
        if index >= len(self._rates):
            slot = plan.slots[index - len(self._rates)]
            whose = _WORDS[plan.holders[index - len(self._rates)].kind]
            return Refused(
                f"As many requests of this {whose} are at work as may be at once. Wait for one of them to end.",
                status=429,
                code="concurrency_limit_exceeded",
                retry_after=max(1.0, self._limiter.lasting / slot.limit),
            )
        subject, what = plan.measures[index]
        whose = _WORDS[subject.kind]
        if taken.wait == math.inf:
            return Refused(
                f"The prompt is longer than this {whose} may use in the time of its limit. Shorten it.",
                code="input_too_large",
            )
        return Refused(
            f"The limit of {what.words} of this {whose} is reached. Try again when we say.",
            status=429,
            code="tokens_limit_exceeded" if what.of_tokens else "rate_limit_exceeded",
            retry_after=taken.wait,
        )


@functools.lru_cache(maxsize=4096)
def _tag(secret: bytes, workspace_id: str) -> bytes:
    return hashlib.blake2b(workspace_id.encode(), digest_size=4, key=secret).digest()


def _head_of(sort: bytes) -> bytes:
    return b"".join(b"x-ratelimit-%b-%b: %b\r\n" % (what, sort, b"%b") for what in (b"limit", b"remaining", b"reset"))


_HEAD_OF_REQUESTS, _HEAD_OF_TOKENS = _head_of(b"requests"), _head_of(b"tokens")


def _figures(rate: Rate, left: int) -> tuple[bytes, bytes, bytes]:
    reset = (rate.limit - left) * rate.period / rate.limit / MICROSECONDS
    return b"%d" % rate.limit, b"%d" % left, duration(reset).encode()


def duration(seconds: float) -> str:
    """A time as OpenAI's headers write it: `20ms`, `1.5s`, `6m0s`, `1h2m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{round(seconds, 3):g}s"
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{f'{hours}h' if hours else ''}{minutes}m{whole % 60}s"
