"""The gateway's door for access tokens of providers: from memory, without a fetch, and without SQL for a known token.

The keys come from the database, where the console keeps them fresh; a token that names a key that is not there asks the
console to look, at most once in half a minute. Who is behind a token is looked up once and remembered until the token
ends, or the person or the provider changes. Bad tokens are cheap: the signature is looked at last, a known bad one
never again, and each address, and all together, may be wrong only so often. What verifies signatures is imported with
the first provider whose tokens are taken, since it is a part of a worker's memory.
"""

import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.gateway.book import Book
from freehold.identity import roles
from freehold.identity.principal import Principal
from freehold.identity.providers import metadata_of, options_of
from freehold.identity.throttle import Throttle, household
from freehold.protocol.errors import Unavailable
from freehold.storage import providers
from freehold.storage.changes import Change, Topic
from freehold.storage.engine import Database

if TYPE_CHECKING:
    from freehold.identity.tokens import Keyring, Token

_MOST_KNOWN = 20_000
_MOST_BAD = 20_000
_WANT_SECONDS = 30.0
_BURST, _EVERY = 20, 0.5  # of one address
_BURST_OF_ALL, _EVERY_OF_ALL = 400, 1 / 400  # the signatures that a core checks in a tenth of its time


class Trusted(msgspec.Struct, frozen=True):
    """A provider whose access tokens a workspace takes."""

    id: str
    issuer: str
    audience: str
    subject_claim: str
    keys: "Keyring"


class ProviderBook(Book):
    """The providers whose tokens are taken, by workspace and issuer. `reads` counts how often it was read."""

    topic: Topic = "provider"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._trusted: dict[tuple[str, str], list[Trusted]] = {}
        self.reads = 0

    async def read(self, connection: AsyncConnection) -> None:
        """Read all providers that are on and have an audience."""
        listed = [one for one in await providers.enabled_everywhere(connection) if one.audience is not None]
        book: dict[tuple[str, str], list[Trusted]] = {}
        if listed:
            for key, trusted in _trusted(listed):
                book.setdefault(key, []).append(trusted)
        self._trusted = book
        self.reads += 1

    def __len__(self) -> int:
        return len(self._trusted)

    def of(self, workspace_id: str, issuer: Any) -> list[Trusted]:
        """Whose tokens of this issuer a workspace takes."""
        return self._trusted.get((workspace_id, issuer), []) if isinstance(issuer, str) else []


def _trusted(listed: list[providers.Provider]) -> list[tuple[tuple[str, str], Trusted]]:
    from freehold.identity.tokens import Keyring

    found = []
    for one in listed:
        metadata = metadata_of(one)
        ring = Keyring(metadata.keys if metadata is not None else ())
        trusted = Trusted(one.id, one.issuer, one.audience or "", options_of(one).subject_claim, ring)
        found.append(((one.workspace_id, one.issuer), trusted))
    return found


class _Known(msgspec.Struct, frozen=True):
    principal: Principal
    until: float
    reads: int


class TokenDoor:
    """Answers the directory for what looks like a token (`Directory.take_tokens`). `seq` is the directory's."""

    def __init__(
        self,
        database: Database,
        book: ProviderBook,
        seq: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._book = book
        self._seq = seq
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._of_user: dict[str, set[bytes]] = {}
        self._bad: OrderedDict[bytes, int] = OrderedDict()  # digest → the reading of the book under which it was bad
        self._wanted: dict[str, float] = {}
        self._addresses = Throttle(_BURST, _EVERY, clock=clock)
        self._all = Throttle(_BURST_OF_ALL, _EVERY_OF_ALL, clock=clock)

    async def open(self, bearer: str, workspace_id: str, address: str) -> Principal | None:
        """The principal behind a token, None when it does not hold. Raises Refused 429 and Unavailable."""
        if not len(self._book):
            return None
        digest = hashlib.sha256(f"{workspace_id}\n{bearer}".encode("utf-8", "surrogatepass")).digest()
        known, now = self._known.get(digest), time.time()
        if known is not None and known.reads == self._book.reads:
            return known.principal if now < known.until else None
        if self._bad.get(digest) == self._book.reads:
            return None
        return await self._first_time(bearer, digest, workspace_id, household(address), now)

    def note(self, change: Change) -> None:
        """A change of the feed: what is remembered of a person is forgotten, also that somebody is nobody."""
        if change.topic == "workspace":
            self._known.clear()
            self._of_user.clear()
        if change.topic == "user":
            for digest in self._of_user.pop(change.ref, ()):
                self._known.pop(digest, None)
            self._bad.clear()

    async def _first_time(
        self, bearer: str, digest: bytes, workspace_id: str, address: str, now: float
    ) -> Principal | None:
        from freehold.identity.tokens import LEEWAY, Token, TokenInvalid, access_claims

        reads, seq = self._book.reads, self._seq()
        try:
            token = Token.read(bearer)
        except TokenInvalid:
            return None
        for trusted in self._book.of(workspace_id, token.claims.get("iss")):
            if token.key_id not in trusted.keys:
                await self._want(trusted, token, now)
                continue
            self._addresses.check(address)
            self._all.check()
            try:
                claims = access_claims(token, trusted.keys, issuer=trusted.issuer, audience=trusted.audience, now=now)
            except TokenInvalid as error:
                if error.reason == "signature":
                    self._addresses.take(address)
                    self._all.take()
                    self._remember_bad(digest, reads)
                    return None
                continue
            async with self._database.read() as connection:
                held = await providers.held(connection, trusted.id, _subject(claims, trusted.subject_claim))
            if held is None or held.workspace_id != workspace_id:
                if seq == self._seq():
                    self._remember_bad(digest, reads)
                return None
            principal = _principal(trusted, _subject(claims, trusted.subject_claim), held)
            if seq == self._seq():  # else a change may have passed between the look-up and here: use once, keep not
                self._remember(digest, _Known(principal, claims["exp"] + LEEWAY, reads))
            return principal
        return None

    def _remember(self, digest: bytes, known: _Known) -> None:
        self._known[digest] = known
        self._of_user.setdefault(known.principal.user_id or "", set()).add(digest)
        if len(self._known) > _MOST_KNOWN:
            oldest, gone = self._known.popitem(last=False)
            self._of_user.get(gone.principal.user_id or "", set()).discard(oldest)

    async def _want(self, trusted: Trusted, token: "Token", now: float) -> None:
        """Have the console look for new keys, unless this token could not be valid with any key."""
        from freehold.identity.tokens import TokenInvalid, check_access

        at = self._clock()
        if at - self._wanted.get(trusted.id, -_WANT_SECONDS) < _WANT_SECONDS:
            return
        try:
            check_access(token, issuer=trusted.issuer, audience=trusted.audience, now=now)
        except TokenInvalid:
            return
        self._wanted[trusted.id] = at
        try:
            async with self._database.write() as connection:
                await providers.want_keys(connection, trusted.id)
        except Unavailable:
            del self._wanted[trusted.id]

    def _remember_bad(self, digest: bytes, reads: int) -> None:
        self._bad[digest] = reads
        if len(self._bad) > _MOST_BAD:
            self._bad.popitem(last=False)


def _subject(claims: dict[str, Any], name: str) -> str:
    subject = claims.get(name)
    return subject if isinstance(subject, str) else ""


def _principal(trusted: Trusted, subject: str, held: providers.Held) -> Principal:
    """Its credential is the same for all tokens of one person from one provider: limits count them together."""
    digest = hashlib.sha256(f"{trusted.id}\n{subject}".encode()).digest()[:12]
    return Principal(
        f"tok_{base64.urlsafe_b64encode(digest).decode()}",
        held.workspace_id,
        held.user_id,
        "token",
        roles.effective(held.role, held.groups.values()),
        tuple(held.groups),
    )
