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


class Limiter:
    """Reserves and settles. `secret` keys the hashes by which the store knows its subjects."""

    def __init__(self, store: Store, secret: bytes = b"") -> None:
        self._store = store
        self._secret = secret[:64]
        self.lasting = 1.0
        """How long (s) exchanges that hold a place last, on the average."""

    def hold(self, charge: Charge, lease: str) -> "Hold":
        """Reserve for one exchange: `async with limiter.hold(…) as hold`. `lease` differs between exchanges.

        Raises Refused 429 with the time to come back, 400 for a prompt that is too large, Unavailable from the store.
        """
        return Hold(self, charge, lease)

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
        "_began", "_charge", "_lease", "_limiter", "_measures", "_rates", "_slots", "_taken", "_used", "output_tokens",
    )  # fmt: skip

    def __init__(self, limiter: Limiter, charge: Charge, lease: str) -> None:
        self._limiter = limiter
        self._charge = charge
        self._lease = lease
        self._rates: list[Rate] = []
        self._measures: list[tuple[Subject, _Measure]] = []
        self._slots: list[Slot] = []
        self._taken: Taken | None = None
        self._used = charge.input_tokens
        self.output_tokens = charge.output_tokens

    def used(self, tokens: int) -> None:
        """So many tokens have been used so far, prompt included: what is charged when the block ends."""
        self._used = tokens

    async def __aenter__(self) -> "Hold":
        if not self._charge.subjects:
            return self
        self._reckon(self._charge.output_tokens)
        if not self._rates and not self._slots:
            return self
        taken = await self._limiter.take(self._rates, self._slots, self._lease)
        if taken.refused is not None and (shorter := self._shorter(taken)):
            self._reckon(shorter)
            taken = await self._limiter.take(self._rates, self._slots, self._lease)
        if taken.refused is not None:
            raise self._refusal(taken)
        self._taken = taken
        self._began = time.monotonic()
        return self

    def _shorter(self, taken: Taken) -> int:
        """The answer that what is left can pay for, when the whole one is too long and a useful one is not; else 0."""
        index = taken.refused or 0
        if index >= len(self._rates) or not self._measures[index][1].of_tokens:
            return 0
        tokens = [left for left, (_, what) in zip(taken.remaining, self._measures, strict=True) if what.of_tokens]
        answer = min(tokens) - self._charge.input_tokens
        return answer if _SHORTEST_ANSWER <= answer < self.output_tokens else 0

    async def __aexit__(self, *_: object) -> None:
        taken, used = self._taken, self._used
        if taken is None:
            return
        changes = [
            Change(rate.key, rate.limit, rate.period, used - rate.cost, end)
            for rate, (_, what), end in zip(self._rates, self._measures, taken.ends, strict=True)
            if what.of_tokens and rate.cost != used
        ]
        if changes or self._slots:
            seconds = time.monotonic() - self._began
            settling = self._limiter.settle(changes, self._slots, self._lease, seconds)
            if settling is not None:
                await asyncio.shield(settling)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`x-ratelimit-*` as OpenAI says them: of the tightest limit of each sort."""
        if self._taken is None:
            return []
        requests: tuple[float, Rate, int] | None = None
        tokens: tuple[float, Rate, int] | None = None
        for rate, (_, what), left in zip(self._rates, self._measures, self._taken.remaining, strict=True):
            share = left / rate.limit
            if what.of_tokens:
                if tokens is None or share < tokens[0]:
                    tokens = (share, rate, left)
            elif requests is None or share < requests[0]:
                requests = (share, rate, left)
        return (_headers(b"requests", *requests[1:]) if requests else []) + (
            _headers(b"tokens", *tokens[1:]) if tokens else []
        )

    def _reckon(self, budget: int) -> None:
        """What is asked of the store when the answer has at most `budget` tokens."""
        charge = self._charge
        prompt = charge.input_tokens
        for subject in charge.subjects:
            limits = subject.limits
            if limits.largest_input is not None and prompt > limits.largest_input:
                raise Refused(
                    f"The prompt is longer than this {_WORDS[subject.kind]} may send. Shorten it.",
                    code="input_too_large",
                )
            if limits.largest_output is not None:
                budget = min(budget, limits.largest_output)
            for limit in (limits.tokens_per_minute, limits.tokens_per_day, limits.tokens_per_month):
                if limit is not None:
                    budget = min(budget, max(1, limit - prompt))
        self.output_tokens = budget
        cost = prompt + budget
        self._rates, self._measures, self._slots = [], [], []
        for subject in charge.subjects:
            limits = subject.limits
            key = self._limiter.key(charge.workspace_id, subject)
            if limits.requests_per_minute is not None:
                self._rate(subject, _REQUESTS, key, limits.requests_per_minute, 1)
            if limits.tokens_per_minute is not None:
                self._rate(subject, _OF_MINUTE, key, limits.tokens_per_minute, cost)
            if limits.tokens_per_day is not None:
                self._rate(subject, _OF_DAY, key, limits.tokens_per_day, cost)
            if limits.tokens_per_month is not None:
                self._rate(subject, _OF_MONTH, key, limits.tokens_per_month, cost)
            if limits.concurrent is not None:
                self._slots.append(Slot(key + _PLACES, limits.concurrent))

    def _rate(self, subject: Subject, what: _Measure, key: bytes, limit: int, cost: int) -> None:
        self._rates.append(Rate(key + what.mark, limit, what.period, cost))
        self._measures.append((subject, what))

    def _refusal(self, taken: Taken) -> Refused:
        index = taken.refused or 0
        if index >= len(self._rates):
            slot = self._slots[index - len(self._rates)]
            holders = [subject for subject in self._charge.subjects if subject.limits.concurrent is not None]
            whose = _WORDS[holders[index - len(self._rates)].kind]
            return Refused(
                f"As many requests of this {whose} are at work as may be at once. Wait for one of them to end.",
                status=429,
                code="concurrency_limit_exceeded",
                retry_after=max(1.0, self._limiter.lasting / slot.limit),
            )
        subject, what = self._measures[index]
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


def _headers(sort: bytes, rate: Rate, left: int) -> list[tuple[bytes, bytes]]:
    reset = (rate.limit - left) * rate.period / rate.limit / MICROSECONDS
    return [
        (b"x-ratelimit-limit-" + sort, b"%d" % rate.limit),
        (b"x-ratelimit-remaining-" + sort, b"%d" % left),
        (b"x-ratelimit-reset-" + sort, duration(reset).encode()),
    ]


def duration(seconds: float) -> str:
    """A time as OpenAI's headers write it: `20ms`, `1.5s`, `6m0s`, `1h2m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{round(seconds, 3):g}s"
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{f'{hours}h' if hours else ''}{minutes}m{whole % 60}s"
