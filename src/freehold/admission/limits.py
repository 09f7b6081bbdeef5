"""Limits: how much each of workspace, group, person, key, assistant and source address may ask for.

An exchange reserves what it may cost from every limit that applies to it, all or nothing, and settles afterwards with
what it really used, however it ended. The answer is cut to what the tightest token limit can still pay for, so that
tokens are bounded and not only counted: such an answer ends with the reason `length`.

Called by the gateway's exchange; `store` remembers.
"""

import asyncio
import hashlib
import math
from typing import Literal

import msgspec

from freehold.admission.store import Rate, Slot, Store, Taken
from freehold.protocol.errors import Refused

Kind = Literal["workspace", "group", "user", "key", "assistant", "address"]
KINDS: tuple[Kind, ...] = ("workspace", "group", "user", "key", "assistant", "address")

MINUTE, DAY, MONTH = 60.0, 86_400.0, 30 * 86_400.0


class LimitSet(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How much one subject may ask for; None: as much as it likes. Tokens are those of prompt and answer together.

    `largest_input` and `largest_output` are tokens of one exchange. A month is thirty days.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    concurrent: int | None = None
    largest_input: int | None = None
    largest_output: int | None = None


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

_TOKEN_PERIODS = (("tokens_per_minute", MINUTE), ("tokens_per_day", DAY), ("tokens_per_month", MONTH))
_WORDS = {
    "workspace": "workspace",
    "group": "group",
    "user": "account",
    "key": "API key",
    "assistant": "model",
    "address": "network address",
}


class Limiter:
    """Reserves and settles. `lease` names must differ between exchanges."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hold(self, charge: Charge, lease: str) -> "Hold":
        """Reserve for one exchange: `async with limiter.hold(…) as hold`.

        Raises Refused 429 with the time to come back, 400 for a prompt that is too large, Unavailable from the store.
        """
        return Hold(self._store, charge, lease)


class Hold:
    """What one exchange has reserved. `output_tokens` is how long its answer may be."""

    __slots__ = ("_charge", "_lease", "_places", "_rates", "_slots", "_store", "_taken", "_used", "output_tokens")

    def __init__(self, store: Store, charge: Charge, lease: str) -> None:
        self._store = store
        self._charge = charge
        self._lease = lease
        self._rates: list[Rate] = []
        self._places: list[tuple[Subject, str]] = []
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
        taken = await self._store.take(self._rates, self._slots, self._lease)
        if taken.refused is not None and (shorter := self._shorter(taken)):
            self._reckon(shorter)
            taken = await self._store.take(self._rates, self._slots, self._lease)
        if taken.refused is not None:
            raise self._refusal(taken)
        self._taken = taken
        return self

    def _shorter(self, taken: Taken) -> int:
        """The answer that what is left can pay for, when the whole one is too long and a useful one is not; else 0."""
        index = taken.refused or 0
        if index >= len(self._rates) or self._places[index][1] == "requests_per_minute":
            return 0
        tokens = [left for left, (_, name) in zip(taken.remaining, self._places, strict=False) if "tokens" in name]
        answer = min(tokens) - self._charge.input_tokens
        return answer if _SHORTEST_ANSWER <= answer < self.output_tokens else 0

    async def __aexit__(self, *_: object) -> None:
        if self._taken is None:
            return
        changes = [
            msgspec.structs.replace(rate, cost=self._used - rate.cost)
            for rate, (_, name) in zip(self._rates, self._places, strict=False)
            if name != "requests_per_minute" and rate.cost != self._used
        ]
        if changes or self._slots:
            settled = asyncio.ensure_future(self._store.settle(changes, self._slots, self._lease))
            await asyncio.shield(settled)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`x-ratelimit-*` as OpenAI says them: of the tightest limit of each sort."""
        if self._taken is None:
            return []
        tightest: dict[str, tuple[float, Rate, int]] = {}
        for rate, (_, name), left in zip(self._rates, self._places, self._taken.remaining, strict=False):
            sort = "requests" if name == "requests_per_minute" else "tokens"
            share = left / rate.limit
            if sort not in tightest or share < tightest[sort][0]:
                tightest[sort] = (share, rate, left)
        rows: list[tuple[bytes, bytes]] = []
        for sort, (_, rate, left) in tightest.items():
            reset = (rate.limit - left) * rate.period / rate.limit
            rows += [
                (f"x-ratelimit-limit-{sort}".encode(), b"%d" % rate.limit),
                (f"x-ratelimit-remaining-{sort}".encode(), b"%d" % left),
                (f"x-ratelimit-reset-{sort}".encode(), duration(reset).encode()),
            ]
        return rows

    def _reckon(self, budget: int) -> None:
        charge = self._charge
        self._rates, self._slots, self._places = [], [], []
        for subject in charge.subjects:
            limits = subject.limits
            if limits.largest_input is not None and charge.input_tokens > limits.largest_input:
                raise Refused(
                    f"The prompt is longer than this {_WORDS[subject.kind]} may send. Shorten it.",
                    code="input_too_large",
                )
            if limits.largest_output is not None:
                budget = min(budget, limits.largest_output)
            for name, _ in _TOKEN_PERIODS:
                limit = getattr(limits, name)
                if limit is not None:
                    budget = min(budget, max(1, limit - charge.input_tokens))
        self.output_tokens = budget
        cost = charge.input_tokens + budget
        for subject in charge.subjects:
            limits = subject.limits
            if limits.requests_per_minute is not None:
                self._rate(subject, "requests_per_minute", limits.requests_per_minute, MINUTE, 1)
            for name, period in _TOKEN_PERIODS:
                limit = getattr(limits, name)
                if limit is not None:
                    self._rate(subject, name, limit, period, cost)
            if limits.concurrent is not None:
                self._slots.append(Slot(self._key(subject, "concurrent"), limits.concurrent))

    def _rate(self, subject: Subject, name: str, limit: int, period: float, cost: int) -> None:
        self._rates.append(Rate(self._key(subject, name), max(1, limit), period, cost))
        self._places.append((subject, name))

    def _key(self, subject: Subject, name: str) -> bytes:
        text = "\0".join((self._charge.workspace_id, subject.kind, subject.id, name))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def _refusal(self, taken: Taken) -> Refused:
        index = taken.refused or 0
        if index >= len(self._rates):
            return Refused(
                "There are as many of your requests at work as are allowed at once. Wait for one of them to end.",
                status=429,
                code="concurrency_limit_exceeded",
                retry_after=1,
            )
        subject, name = self._places[index]
        whose = _WORDS[subject.kind]
        if taken.wait == math.inf:
            return Refused(
                f"The prompt is longer than this {whose} may use in the time of its limit. Shorten it.",
                code="input_too_large",
            )
        if name == "requests_per_minute":
            return Refused(
                f"The limit of requests per minute of this {whose} is reached. Try again when we say.",
                status=429,
                code="rate_limit_exceeded",
                retry_after=taken.wait,
            )
        period = name.rpartition("_")[2]
        return Refused(
            f"The limit of tokens per {period} of this {whose} is reached. Try again when we say.",
            status=429,
            code="tokens_limit_exceeded",
            retry_after=taken.wait,
        )


def duration(seconds: float) -> str:
    """A time as OpenAI's headers write it: `20ms`, `1.5s`, `6m0s`, `1h2m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{round(seconds, 3):g}s"
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{f'{hours}h' if hours else ''}{minutes}m{whole % 60}s"
