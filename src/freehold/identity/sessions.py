"""Sign-in sessions of browsers: opened, kept alive, listed, ended. Called by the console and by sign-in providers.

A session ends by itself at its absolute age, or when it was not used for the idle time. Both are one `expires_at` in
the database, moved forward while the session is used, so that every process refuses the secret in the same moment. What
was proved stays with the session (`methods`); proving more makes a new session and ends the old one.
"""

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from freehold.audit.events import Action, Reason
from freehold.audit.trail import proved_by, written
from freehold.identity.directory import secret_digest
from freehold.identity.principal import Principal
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_id, new_secret
from freehold.storage import credentials, users
from freehold.storage.changes import Change
from freehold.storage.engine import Database

SECOND_FACTORS = frozenset({"otp", "recovery", "passkey", "oidc"})
"""Methods after which no second factor is asked for: a passkey is two by itself, a provider has its own rules."""

FRESH_SECONDS = 15 * 60
_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class SignInPolicy:
    """How long sessions last, and the roles whose holders must sign in with a second factor."""

    absolute_hours: float = 24 * 7
    idle_hours: float = 48
    second_factor: frozenset[str] = frozenset()


class Standing(msgspec.Struct, frozen=True):
    """What is known of a session: when it was made and how it was proved."""

    created_at: float
    methods: frozenset[str]
    extend_at: float


class Session(msgspec.Struct, frozen=True):
    """What its owner is shown of a session. `place` is a network, as coarse as it is stored."""

    id: str
    place: str
    methods: list[str]
    created_at: float
    last_used_at: float | None
    expires_at: float | None
    current: bool


async def open_session(
    database: Database,
    key: bytes,
    user: users.User,
    hours: float,
    *,
    idle_hours: float | None = None,
    methods: str = "pwd",
    address: str = "",
    replaces: str | None = None,
    provider_id: str | None = None,
    external_session: str | None = None,
) -> str:
    """Sign a person in: the secret of a fresh session. `replaces` is the id of a session that ends with it."""
    secret, now = new_secret("fhs"), time.time()
    session = credentials.Credential(
        id=new_id("ses"),
        workspace_id=user.workspace_id,
        user_id=user.id,
        kind="session",
        name="browser",
        hint=coarse(address),
        created_at=now,
        expires_at=now + min(hours, idle_hours or hours) * 3600,
        revoked_at=None,
        last_used_at=now,
        methods=methods,
        provider_id=provider_id,
        external_session=external_session,
    )
    async with written(database) as (connection, tell):
        if replaces is not None and not await credentials.revoke(
            connection, user.workspace_id, replaces, kind="session"
        ):
            replaces = None
        await credentials.create(connection, session, secret_digest(key, secret))
        tell(Action.SESSION_OPEN, actor=user.id, subject=session.id, other=replaces, method=proved_by(methods))
    return secret


async def close_session(database: Database, workspace_id: str, session_id: str) -> None:
    """Sign out: the session's secret is dead everywhere within a second."""
    async with written(database) as (connection, tell):
        if await credentials.revoke(connection, workspace_id, session_id):
            tell(Action.SESSION_END, subject=session_id, reason=Reason.SIGN_OUT)


def coarse(address: str) -> str:
    """The network of an address, coarse enough to name no household: IPv4 /24, IPv6 /32. "" for what is none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 32), strict=False))[:16]


class Sessions:
    """The sessions of this installation, with what the console remembers of those in use."""

    def __init__(self, database: Database, key: bytes, policy: SignInPolicy) -> None:
        self._database = database
        self._key = key
        self.policy = policy
        self._known: OrderedDict[str, Standing] = OrderedDict()

    async def open(
        self,
        user: users.User,
        methods: str,
        address: str,
        replaces: str | None = None,
        *,
        provider_id: str | None = None,
        external_session: str | None = None,
    ) -> str:
        """Sign a person in: the secret of a fresh session, in place of `replaces` where there was one."""
        policy = self.policy
        return await open_session(
            self._database,
            self._key,
            user,
            policy.absolute_hours,
            idle_hours=policy.idle_hours,
            methods=methods,
            address=address,
            replaces=replaces,
            provider_id=provider_id,
            external_session=external_session,
        )

    async def standing(self, principal: Principal) -> Standing:
        """What is known of the session in use; moves its idle end forward. Raises Refused 401 when it has ended."""
        known, now = self._known.get(principal.credential_id), time.time()
        if known is not None and now < known.extend_at:
            return known
        async with self._database.read() as connection:
            found = await credentials.get(connection, principal.workspace_id, principal.credential_id)
        if found is None or found.revoked_at is not None:
            raise Refused("Please sign in.", status=401, code="not_signed_in")
        idle = self.policy.idle_hours * 3600
        until = min(found.created_at + self.policy.absolute_hours * 3600, now + idle)
        if found.expires_at is None or until - found.expires_at > idle / 48:
            async with self._database.write() as connection:
                await credentials.extend(connection, found.id, until)
        known = Standing(found.created_at, frozenset(found.methods.split()), now + idle / 24)
        self._known[found.id] = known
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    def forget(self, change: Change) -> None:
        """A listener of the change feed: a session that changed is read again."""
        if change.topic == "credential":
            self._known.pop(change.ref, None)

    async def demand_fresh(self, principal: Principal) -> None:
        """Raise Refused 403 unless the person proved who they are within the last quarter of an hour."""
        standing = await self.standing(principal)
        if time.time() - standing.created_at > FRESH_SECONDS:
            raise Refused("Please confirm that it is you first.", status=403, code="confirm_first")

    async def listed(self, principal: Principal) -> list[Session]:
        """The person's live sessions, newest first."""
        async with self._database.read() as connection:
            found = await credentials.listed(
                connection, principal.workspace_id, "session", user_id=principal.user_id, live=True
            )
        return [
            Session(
                one.id,
                one.hint,
                one.methods.split(),
                one.created_at,
                one.last_used_at,
                one.expires_at,
                one.id == principal.credential_id,
            )
            for one in found
        ]

    async def end(self, principal: Principal, session_id: str) -> None:
        """End one of the person's sessions. Raises Refused 404 when there is none."""
        async with written(self._database) as (connection, tell):
            if not await credentials.revoke(
                connection, principal.workspace_id, session_id, user_id=principal.user_id, kind="session"
            ):
                raise Refused("There is no such session, or it has ended.", status=404, code="session_not_found")
            own = session_id == principal.credential_id
            tell(Action.SESSION_END, subject=session_id, reason=Reason.SIGN_OUT if own else Reason.REVOKED)

    async def end_others(self, principal: Principal) -> int:
        """End all of the person's sessions but this one; how many there were."""
        async with written(self._database) as (connection, tell):
            ended = await credentials.revoke_sessions(connection, principal.user_id or "", keep=principal.credential_id)
            tell(Action.SESSION_END, subject=principal.user_id, reason=Reason.REVOKED, count=ended)
            return ended
