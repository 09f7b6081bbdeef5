"""The console's requests to sign-in providers: through the egress relay, the only way out, to declared endpoints only.

Answers are bounded in size and time; a provider that is away or answers nonsense is `Unavailable`, and nothing that it
said is told to anybody. `Keepsakes` keeps what providers say of themselves fresh: discovery document and keys.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec

from freehold.identity import providers as identity
from freehold.protocol.background import during
from freehold.protocol.errors import Misconfigured, Unavailable
from freehold.protocol.http import PeerGone, UnixClient
from freehold.storage import providers
from freehold.storage.changes import Change
from freehold.storage.engine import Database

_SECONDS = 20.0
_LOOK_SECONDS = 60.0
_FRESH_SECONDS = 6 * 3600.0
_PAUSE_SECONDS = 30.0


class Outward:
    """Requests through the relay's socket."""

    def __init__(self, relay: Path) -> None:
        self._relay = relay

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The body at a declared address. Raises Unavailable unless the answer is 200."""
        return await self._ask("GET", url, None, headers or {})

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> bytes:
        """The answer to a form. Raises Unavailable unless it is 200."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return await self._ask("POST", url, urlencode(form).encode(), {**kind, **(headers or {})})

    async def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        client = UnixClient(str(self._relay), host=parts.netloc)
        try:
            async with (
                asyncio.timeout(_SECONDS),
                client.request(method, target, body, {"accept": "application/json", **headers}) as answer,
            ):
                said = await answer.read(identity.MOST_BYTES)
                if answer.status == 200:
                    return said
        except (PeerGone, TimeoutError):
            pass
        finally:
            client.close()
        raise provider_away()


def provider_away() -> Unavailable:
    """The provider did not answer, or not as it must."""
    return Unavailable("The sign-in provider cannot be used at the moment.", status=502, code="provider_away")


class Keepsakes:
    """Keeps every provider's document and keys fresh. Use as `async with Keepsakes(…).running()`."""

    def __init__(self, database: Database, outward: Outward) -> None:
        self._database = database
        self._outward = outward
        self._tried: dict[str, float] = {}
        self._wanted: set[str] = set()
        self._news = asyncio.Event()
        self._locks: dict[str, asyncio.Lock] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Keepsakes"]:
        """Look every six hours, and when the gateway asks, while the block runs."""
        async with during(self._follow()):
            yield self

    def note(self, change: Change) -> None:
        """A change of the feed."""
        if change.topic == "keys_wanted":
            self._wanted.add(change.ref)
            self._news.set()

    async def look(self, provider: providers.Provider) -> providers.Provider:
        """The provider as it is after a look at it, at most one in half a minute. Raises Unavailable."""
        lock = self._locks.setdefault(provider.id, asyncio.Lock())
        async with lock:
            now = time.monotonic()
            if now - self._tried.get(provider.id, -_PAUSE_SECONDS) >= _PAUSE_SECONDS:
                self._tried[provider.id] = now
                await self._fetch(provider)
        async with self._database.read() as connection:
            return await providers.get(connection, provider.id) or provider

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._news.wait()
            self._news.clear()
            wanted, self._wanted = self._wanted, set()
            with contextlib.suppress(Unavailable):
                async with self._database.read() as connection:
                    listed = await providers.enabled_everywhere(connection)
                stale = time.time() - _FRESH_SECONDS
                await asyncio.gather(
                    *(self._quietly(p) for p in listed if p.id in wanted or (p.fetched_at or 0) < stale)
                )

    async def _quietly(self, provider: providers.Provider) -> None:
        with contextlib.suppress(Unavailable):
            await self.look(provider)

    async def _fetch(self, provider: providers.Provider) -> None:
        before = identity.metadata_of(provider)
        if before is None:
            return
        try:
            document = await self._outward.get(identity.discovery_url(provider.issuer))
            fresh = identity.kept_within(provider.issuer, before, identity.read_discovery(provider.issuer, document))
            keys = identity.read_keys(await self._outward.get(fresh.jwks_uri))
        except Misconfigured:
            _tell("provider_refused", provider)
            raise provider_away() from None
        except Unavailable:
            _tell("provider_away", provider)
            raise
        if fresh.undeclared:
            _tell("provider_undeclared", provider)
        fresh = msgspec.structs.replace(fresh, keys=keys or before.keys)
        async with self._database.write() as connection:
            await providers.learned(
                connection, provider.id, identity.stored(fresh), fetched_at=time.time(), changed=fresh != before
            )


def _tell(event: str, provider: providers.Provider) -> None:
    """One line on standard error, with our name of the provider and nothing that it said."""
    line = {"time": round(time.time(), 3), "event": event, "process": "console", "provider": provider.id}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()
