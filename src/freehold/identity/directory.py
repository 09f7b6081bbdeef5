"""Credentials → principals, from memory. The gateway and the console each hold one `Directory`.

A secret is known only by its HMAC-SHA256 under the installation's key (`keys/credentials.key`), so neither a copy of
the database nor this cache holds a usable key. A cached principal costs no SQL; the change feed, read four times a
second, drops what was revoked. When the feed cannot be read for `STALE_AFTER` seconds nobody is let in on a memory that
may be out of date: the answer is 503, never 401 and never a guess.
"""

import asyncio
import contextlib
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from freehold.identity import roles
from freehold.identity.places import Places
from freehold.identity.principal import Principal
from freehold.protocol.background import during
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.ids import secret_kind
from freehold.storage import changes, credentials
from freehold.storage.engine import Database

POLL_SECONDS = 0.25
STALE_AFTER = 5.0
_TOUCH_SECONDS = 30.0
_CACHE_SIZE = 100_000


def secret_digest(key: bytes, secret: str) -> bytes:
    """HMAC-SHA256 of a secret under the installation's key: what the database stores, 32 bytes."""
    return hmac.digest(key, secret.encode(), "sha256")


Tokens = Callable[[str, str, str], Awaitable[Principal | None]]
"""Asked for what looks like a JWT, with the workspace of the place and the address that it came from: the principal,
None when it is not valid."""


class _Known(msgspec.Struct, frozen=True):
    holder: credentials.Holder
    principal: Principal
    sources: tuple[IPv4Network | IPv6Network, ...]


class Directory:
    """Authenticates secrets. Use as `async with Directory(database, key).running() as directory`."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._by_ref: dict[str, set[bytes]] = {}
        self._used: dict[str, float] = {}
        self._seq = 0
        self._fresh_at = 0.0
        self._listeners: list[Callable[[changes.Change], None]] = []
        self._tokens: Tokens | None = None
        self.places = Places()

    @property
    def seq(self) -> int:
        """The newest change of the feed that was taken in."""
        return self._seq

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Directory"]:
        """Follow the change feed while the block runs; write down last uses at its end."""
        await self._start_feed()
        try:
            async with during(self._follow()):
                yield self
        finally:
            with contextlib.suppress(Unavailable):
                await self._write_uses()

    def on_change(self, listener: Callable[[changes.Change], None]) -> None:
        """Call `listener` for every change that the feed brings. It must not block."""
        self._listeners.append(listener)

    def take_tokens(self, door: Tokens) -> None:
        """Let `door` answer for bearers that look like a JWT."""
        self._tokens = door

    async def authenticate(self, secret: str, *, host: str = "", address: str = "") -> Principal:
        """The principal that holds this secret. `host` and `address`: what was asked for, and from where.

        Raises Refused 401 (one text for every reason) and Unavailable when that cannot be known for sure.
        """
        if time.monotonic() - self._fresh_at > STALE_AFTER:
            if secret_kind(secret) in ("fh", "fhs") or secret.count(".") == 2:
                raise Unavailable("The installation's storage cannot be used at the moment. Try again later.",
                                  code="storage_unavailable", retry_after=5)  # fmt: skip
            raise _unknown()
        place = self.places.workspace_of(host)
        digest = secret_digest(self._key, secret)
        known = self._known.get(digest)
        if known is None:
            if secret_kind(secret) not in ("fh", "fhs"):
                return await self._token(secret, place, address)
            known = await self._look_up(digest)
        holder = known.holder
        if not hmac.compare_digest(holder.digest, digest) or holder.workspace_id != place:
            raise _unknown()
        now = time.time()
        if holder.expires_at is not None and holder.expires_at <= now:
            self._drop(digest)
            raise _unknown()
        if known.sources and not _within(address, known.sources):
            raise _unknown()
        self._used[holder.credential_id] = now
        return known.principal

    async def _token(self, bearer: str, place: str | None, address: str) -> Principal:
        if self._tokens is None or place is None or bearer.count(".") != 2:
            raise _unknown()
        principal = await self._tokens(bearer, place, address)
        if principal is None or principal.workspace_id != place:
            raise _unknown()
        return principal

    async def _look_up(self, digest: bytes) -> _Known:
        seq = self._seq
        async with self._database.read() as connection:
            holder = await credentials.find(connection, digest)
        if holder is None:
            raise _unknown()
        known = _Known(holder, _principal(holder), tuple(ip_network(source) for source in _words(holder.sources)))
        if seq == self._seq:  # else a revocation may have passed between the look-up and here: use once, keep not
            self._known[digest] = known
            for ref in (holder.credential_id, holder.user_id):
                if ref is not None:
                    self._by_ref.setdefault(ref, set()).add(digest)
            if len(self._known) > _CACHE_SIZE:
                self._drop(next(iter(self._known)))
        return known

    def _drop(self, digest: bytes) -> None:
        known = self._known.pop(digest, None)
        if known is None:
            return
        for ref in (known.holder.credential_id, known.holder.user_id):
            if ref is not None and (digests := self._by_ref.get(ref)):
                digests.discard(digest)
                if not digests:
                    del self._by_ref[ref]

    async def _start_feed(self) -> None:
        async with self._database.read() as connection:
            self._seq = await changes.latest(connection)
        await self.places.read(self._database)
        self._fresh_at = time.monotonic()

    async def _follow(self) -> None:
        touched_at = time.monotonic()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with contextlib.suppress(Unavailable):
                async with self._database.read() as connection:
                    news = await changes.since(connection, self._seq)
                if any(change.topic == "workspace" for change in news):
                    await self.places.read(self._database)
                self._fresh_at = time.monotonic()
                for change in news:
                    self._seq = change.seq
                    self._forget(change)
                if time.monotonic() - touched_at > _TOUCH_SECONDS:
                    touched_at = time.monotonic()
                    await self._write_uses()

    def _forget(self, change: changes.Change) -> None:
        if change.topic == "workspace":
            self._known.clear()
            self._by_ref.clear()
        elif change.topic in ("credential", "user"):
            for digest in tuple(self._by_ref.get(change.ref, ())):
                self._drop(digest)
        for listener in self._listeners:
            listener(change)

    async def _write_uses(self) -> None:
        if used := self._used:
            self._used = {}
            async with self._database.write() as connection:
                await credentials.touch(connection, used)


def _unknown() -> Refused:
    return Refused(
        "The API key is missing or not valid. Send a valid one as 'Authorization: Bearer fh_…'.",
        status=401,
        code="invalid_api_key",
    )


def _principal(holder: credentials.Holder) -> Principal:
    return Principal(
        holder.credential_id,
        holder.workspace_id,
        holder.user_id,
        holder.kind,
        roles.effective(holder.role or "service", holder.groups.values()),
        tuple(holder.groups),
        frozenset(holder.scopes.split()),
        frozenset(_words(holder.assistants)),
    )


def _words(text: str) -> list[str]:
    """The list that a column holds as JSON; empty for an empty column."""
    return list(json.loads(text)) if text else []


def _within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in networks)
