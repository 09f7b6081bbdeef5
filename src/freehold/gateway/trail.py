"""What the audit is told of exchanges: the intent, durable before any effect, and the outcome; and who was not let in.

Entered by `exchange` before anything is reserved: when the intent cannot be written the exchange is refused and nothing
was done. The outcome goes with the log's next batch, however the exchange ended. Refused credentials are told of too,
but only so many a second, with the count of those that were not: a flood must not write the log full.
"""

import asyncio
import time
from types import TracebackType

from freehold.audit.events import Action, By, Event, Id, Keyed, KeyedHash, Kind, Outcome, Reason
from freehold.audit.log import AuditLog
from freehold.gateway.call import Call
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused, Unavailable
from freehold.storage.engines import Engine

_MOST_ADDRESSES = 10_000
_REFUSALS_A_SECOND = 10
_MOST_TOKENS = 1 << 40

_REASONS = {
    "rate_limit_exceeded": Reason.LIMIT,
    "tokens_limit_exceeded": Reason.LIMIT,
    "concurrency_limit_exceeded": Reason.LIMIT,
    "too_many_waiting": Reason.LIMIT,
    "input_too_large": Reason.LIMIT,
    "overloaded": Reason.FULL,
    "not_ready": Reason.RUNNER,
    "engine_failed": Reason.ENGINE,
    "engine_refused": Reason.ENGINE,
    "engine_timeout": Reason.TIMEOUT,
    "storage_unavailable": Reason.STORAGE,
    "limiter_unavailable": Reason.STORAGE,
}


class Trail:
    """Tells the log. `keyed` hashes the addresses that requests come from."""

    def __init__(self, log: AuditLog, keyed: Keyed) -> None:
        self.log = log
        self._keyed = keyed
        self._addresses: dict[str, KeyedHash] = {}
        self._second = 0
        self._told = self._untold = 0

    def exchange(self, call: Call, principal: Principal, engine: Engine, kind: Kind) -> "Exchanged":
        """One exchange, for the block. The block is entered when its intent is durable. Raises Unavailable 503."""
        return Exchanged(self, call, principal, engine, kind)

    def not_let_in(self, call: Call, workspace_id: str | None) -> None:
        """A credential was refused."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        if self._told >= _REFUSALS_A_SECOND:
            self._untold += 1
            return
        self._told += 1
        count, self._untold = self._untold + 1, 0
        self.log.note(
            Event(
                action=Action.CREDENTIAL_REFUSED,
                workspace=Id(workspace_id) if workspace_id else None,
                exchange=Id(call.id),
                by=By.API,
                outcome=Outcome.REFUSED,
                address=self.address(call.address),
                count=count,
            )
        )

    def address(self, address: str) -> KeyedHash | None:
        """The hash of where a request came from."""
        if not address:
            return None
        found = self._addresses.get(address)
        if found is None:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses.clear()
            found = self._addresses[address] = self._keyed.hash("address", address)
        return found


class Exchanged:
    """One exchange while it is under way."""

    __slots__ = ("_began", "_call", "_engine", "_kind", "_principal", "_trail", "input_tokens", "output_tokens")

    def __init__(self, trail: Trail, call: Call, principal: Principal, engine: Engine, kind: Kind) -> None:
        self._trail = trail
        self._call = call
        self._principal = principal
        self._engine = engine
        self._kind = kind
        self._began = 0.0
        self.input_tokens = self.output_tokens = 0

    async def __aenter__(self) -> "Exchanged":
        principal = self._principal
        self._began = time.monotonic()
        await self._trail.log.record(
            Event(
                action=Action.EXCHANGE_INTENT,
                workspace=Id(principal.workspace_id),
                actor=Id(principal.holder),
                credential=Id(principal.credential_id),
                exchange=Id(self._call.id),
                engine=Id(self._engine.id),
                by=By.PAGE if principal.kind == "session" else By.API,
                kind=self._kind,
                address=self._trail.address(self._call.address),
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome, reason = _ended(error)
        self._trail.log.note(
            Event(
                action=Action.EXCHANGE_OUTCOME,
                workspace=Id(self._principal.workspace_id),
                exchange=Id(self._call.id),
                outcome=outcome,
                reason=reason,
                input_tokens=min(max(0, self.input_tokens), _MOST_TOKENS),  # an outside engine says what it likes
                output_tokens=min(max(0, self.output_tokens), _MOST_TOKENS),
                milliseconds=int((time.monotonic() - self._began) * 1000),
            )
        )


def _ended(error: BaseException | None) -> tuple[Outcome, Reason | None]:
    match error:
        case None:
            return Outcome.DONE, None
        case asyncio.CancelledError():
            return Outcome.CANCELLED, Reason.LEFT
        case Refused():
            return Outcome.REFUSED, _REASONS.get(error.code or "", Reason.INPUT)
        case Unavailable():
            return Outcome.FAILED, _REASONS.get(error.code or "", Reason.INTERNAL)
        case _:
            return Outcome.FAILED, Reason.INTERNAL
