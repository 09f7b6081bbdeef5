"""Who acts, and the one way in which a change is recorded: `async with written(database) as (connection, tell)`.

Whoever acts opens a `Trail` around what is done: the console for a request, the command line for a command, the first
start for itself. A function that changes something says `tell(Action..., subject=...)` inside its transaction; who,
where and by which door is added here. What was told is durable in the log before the transaction is committed: if it
cannot be recorded nothing is changed, and if the change fails afterwards the log says so. Without a trail (tests of the
rooms above the log) nothing is recorded.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypedDict, Unpack

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action, By, Digest, Event, Id, Keyed, KeyedHash, Kind, Method, Outcome, Reason, Role
from freehold.audit.folder import unavailable
from freehold.audit.log import AuditLog
from freehold.protocol.errors import Unavailable
from freehold.settings import Layout
from freehold.storage.engine import Database

_ID = re.compile(r"[a-z]{1,8}_[A-Za-z0-9_-]{16}", re.ASCII)
_MOMENT = 0.5  # seconds
_METHODS = (  # what a session says of how it was proved, the most telling first
    ("oidc", Method.OIDC),
    ("passkey", Method.PASSKEY),
    ("recovery", Method.RECOVERY),
    ("otp", Method.TOTP),
    ("pwd", Method.PASSWORD),
)


class Fields(TypedDict, total=False):
    """What can be told of an action. Address, e-mail, name and domain are given as they are, and leave as hashes."""

    workspace: str | None
    actor: str | None
    subject: str | None
    other: str | None
    engine: str | None
    outcome: Outcome
    reason: Reason | None
    method: Method | None
    role: str | None
    role_before: str | None
    kind: Kind | None
    email: str | None
    name: str | None
    domain: str | None
    digest: str | None
    count: int | None
    milliseconds: int | None


class Recorder(Protocol):
    """What writes events: an open `AuditLog`, or one that opens when it is needed."""

    async def record(self, event: Event) -> int:
        """Write an event; it is durable then. Raises Unavailable when it cannot be written."""

    def note(self, event: Event) -> None:
        """Write an event, at once or later."""

    def check(self) -> None:
        """Raise Unavailable when it is known that nothing can be written."""


@dataclass
class Trail:
    """Who acts and by which door; filled in as it becomes known."""

    log: Recorder
    keyed: Keyed
    by: By
    workspace: str | None = None
    actor: str | None = None
    credential: str | None = None
    address: str = ""
    email: str = ""  # of refusals only: whom somebody says to be who is not signed in, …
    claimed: str | None = None  # … which account that is where a first step was right, …
    method: Method | None = None  # … and how they tried to prove it
    uid: int | None = None

    def event(self, action: Action, **told: Unpack[Fields]) -> Event:
        """The event of an action by who is on this trail."""
        role, before, digest = told.get("role"), told.get("role_before"), told.get("digest")
        return Event(
            action=action,
            workspace=_id(told.get("workspace") or self.workspace),
            actor=_id(told.get("actor") or self.actor),
            credential=_id(self.credential),
            subject=_id(told.get("subject")),
            other=_id(told.get("other")),
            engine=_id(told.get("engine")),
            by=self.by,
            outcome=told.get("outcome", Outcome.DONE),
            reason=told.get("reason"),
            method=told.get("method"),
            role=Role(role) if role is not None else None,
            role_before=Role(before) if before is not None else None,
            kind=told.get("kind"),
            address=self._hash("address", self.address),
            email=self._hash("email", told.get("email")),
            name=self._hash("name", told.get("name")),
            domain=self._hash("domain", told.get("domain")),
            digest=Digest(digest) if digest is not None else None,
            count=told.get("count"),
            milliseconds=told.get("milliseconds"),
            uid=self.uid,
        )

    def _hash(self, field: str, value: str | None) -> KeyedHash | None:
        return self.keyed.hash(field, value) if value else None


_current: ContextVar[Trail | None] = ContextVar("freehold_trail", default=None)


@contextlib.contextmanager
def following(trail: Trail) -> Iterator[Trail]:
    """What is done in this block is done by who is on this trail."""
    token = _current.set(trail)
    try:
        yield trail
    finally:
        _current.reset(token)


def current() -> Trail:
    """The trail that is being followed. Raises LookupError when there is none: whoever acts opens one."""
    trail = _current.get()
    if trail is None:
        raise LookupError("nobody opened a trail")
    return trail


class Telling:
    """Takes what a transaction does: `tell(action, subject=...)`."""

    def __init__(self, trail: Trail | None) -> None:
        self.events: list[Event] = []
        self._trail = trail

    def __call__(self, action: Action, **told: Unpack[Fields]) -> None:
        if self._trail is not None:
            self.events.append(self._trail.event(action, **told))


@contextlib.asynccontextmanager
async def written(database: Database) -> AsyncIterator[tuple[AsyncConnection, Telling]]:
    """A transaction that is told of, committed at the end of the block when all that was told is durable in the log.

    Raises Unavailable, and nothing is changed, when the database or the log cannot be written.
    """
    trail = _current.get()
    tell, begun = Telling(trail), 0
    if trail is not None:
        trail.log.check()
    try:
        async with database.write() as connection:
            yield connection, tell
            if trail is not None and tell.events:
                trail.log.check()
                for event in tell.events:
                    begun += 1  # a recorder that was refused or cancelled may be in the log all the same
                    await trail.log.record(event)
    except BaseException:
        if trail is not None:
            for event in tell.events[:begun]:
                trail.log.note(msgspec.structs.replace(event, outcome=Outcome.FAILED, reason=Reason.STORAGE))
        raise


async def recorded(action: Action, **told: Unpack[Fields]) -> None:
    """Record what needs no transaction, such as a refusal. Raises Unavailable."""
    trail = _current.get()
    if trail is not None:
        await trail.log.record(trail.event(action, **told))


class Breaker:
    """The log behind a circuit breaker, for a process that does many things at once.

    Changes wait for each other in the database (SQLite has one writer), so those behind one that could not be recorded
    are refused without a try of their own, for a moment: nobody waits longer than the first did.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._closed_until = 0.0

    async def record(self, event: Event) -> int:
        """Write an event. Raises Unavailable when it cannot be written."""
        try:
            return await self._log.record(event)
        except Unavailable:
            self._closed_until = time.monotonic() + _MOMENT
            raise

    def note(self, event: Event) -> None:
        """Write an event, at once or later."""
        self._log.note(event)

    def check(self) -> None:
        """Raise Unavailable when an event could not be written a moment ago."""
        if time.monotonic() < self._closed_until:
            raise unavailable()


class LateLog:
    """The log for a short errand: opened by the first event, closed with the block. Most errands only read."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._stack = contextlib.AsyncExitStack()
        self._log: AuditLog | None = None

    async def __aenter__(self) -> "LateLog":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def record(self, event: Event) -> int:
        """Write an event. Raises Unavailable when it cannot be written, Misconfigured when there is no log for it."""
        if self._log is None:
            log = await asyncio.to_thread(AuditLog.of, self._layout)
            self._log = await self._stack.enter_async_context(log)
        return await self._log.record(event)

    def note(self, event: Event) -> None:
        """Write an event with the next batch, if the log could be opened."""
        if self._log is not None:
            self._log.note(event)

    def check(self) -> None:
        """Nothing is known before it is tried."""


@contextlib.asynccontextmanager
async def errand(layout: Layout, by: By, *, uid: int | None = None) -> AsyncIterator[Trail]:
    """What is done in this block is told of by a short-lived process: a command, or the first start."""
    async with LateLog(layout) as log:
        with following(Trail(log, Keyed(layout.secret("audit-hash")), by, uid=uid)) as trail:
            yield trail


def proved_by(methods: str) -> Method:
    """How a session was proved, in one word."""
    present = methods.split()
    return next((method for name, method in _METHODS if name in present), Method.SESSION)


def is_id(text: str) -> bool:
    """Whether this is of the form of our ids: what a person typed need not be."""
    return _ID.fullmatch(text) is not None


def _id(value: str | None) -> Id | None:
    return Id(value) if value is not None else None
