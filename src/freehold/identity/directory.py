"""Credentials → principals, from memory. The gateway and the console each hold one `Directory`.

A secret is known only by its HMAC-SHA256 under the installation's key (`keys/credentials.key`), so neither a copy of
the database nor this cache holds a usable key. A cached principal costs no SQL; the change feed, read four times a
second, drops what was revoked. When the feed cannot be read for `STALE_AFTER` seconds nobody is let in on a memory that
may be out of date: the answer is 503, never 401 and never a guess.
"""

import asyncio
import contextlib
import hmac
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

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


class Directory:
    """Authenticates secrets. Use as `async with Directory(database, key).running() as directory`."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key
        self._holders: OrderedDict[bytes, tuple[credentials.Holder, Principal]] = OrderedDict()
        self._used: dict[str, float] = {}
        self._seq = 0
        self._fresh_at = 0.0
        self._listeners: list[Callable[[changes.Change], None]] = []

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

    async def authenticate(self, secret: str) -> Principal:
        """The principal that holds this secret.

        Raises Refused 401 (one text for every reason) and Unavailable when that cannot be known for sure.
        """
        if secret_kind(secret) not in ("fh", "fhs"):
            raise _unknown()
        if time.monotonic() - self._fresh_at > STALE_AFTER:
            raise Unavailable("The installation's storage cannot be used at the moment. Try again later.",
                              code="storage_unavailable", retry_after=5)  # fmt: skip
        digest = secret_digest(self._key, secret)
        holder, principal = self._holders.get(digest) or await self._look_up(digest)
        if not hmac.compare_digest(holder.digest, digest):
            raise _unknown()
        now = time.time()
        if holder.expires_at is not None and holder.expires_at <= now:
            self._holders.pop(digest, None)
            raise _unknown()
        self._used[holder.credential_id] = now
        return principal

    async def _look_up(self, digest: bytes) -> tuple[credentials.Holder, Principal]:
        seq = self._seq
        async with self._database.read() as connection:
            holder = await credentials.find(connection, digest)
        if holder is None:
            raise _unknown()
        principal = Principal(
            holder.credential_id, holder.workspace_id, holder.user_id, holder.kind, holder.role or "service"
        )
        if seq == self._seq:  # else a revocation may have passed between the look-up and here: use once, keep not
            self._holders[digest] = (holder, principal)
            if len(self._holders) > _CACHE_SIZE:
                self._holders.popitem(last=False)
        return holder, principal

    async def _start_feed(self) -> None:
        async with self._database.read() as connection:
            self._seq = await changes.latest(connection)
        self._fresh_at = time.monotonic()

    async def _follow(self) -> None:
        touched_at = time.monotonic()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with contextlib.suppress(Unavailable):
                async with self._database.read() as connection:
                    news = await changes.since(connection, self._seq)
                self._fresh_at = time.monotonic()
                for change in news:
                    self._seq = change.seq
                    self._forget(change)
                if time.monotonic() - touched_at > _TOUCH_SECONDS:
                    touched_at = time.monotonic()
                    await self._write_uses()

    def _forget(self, change: changes.Change) -> None:
        if change.topic in ("credential", "user"):
            stale = [
                digest
                for digest, (holder, _) in self._holders.items()
                if change.ref in (holder.credential_id, holder.user_id)
            ]
            for digest in stale:
                del self._holders[digest]
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
