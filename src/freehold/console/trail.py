"""What the console tells the audit of a request: who makes it, and what was refused. Changes tell of themselves.

A trail begins with each request and learns as the request goes on who is asking. What is refused at the door is told
before the answer leaves. Whoever is not known here can make as many requests as they like, so what they can make the
log write is bounded: the throttles of sign-in bound the tries, and a bound here what does not even get to be one.
"""

import contextlib
from collections.abc import AsyncIterator

from freehold.audit.events import Action, By, Keyed, Method, Outcome, Reason
from freehold.audit.log import AuditLog
from freehold.audit.trail import Breaker, Trail, recorded
from freehold.identity.throttle import Throttle, household
from freehold.protocol.errors import Refused

_SIGN_IN = {
    "sign_in_failed": Reason.CREDENTIAL,
    "claim_invalid": Reason.CREDENTIAL,
    "sign_in_again": Reason.EXPIRED,
    "account_disabled": Reason.DISABLED,
}
_PROOFS = {"password_wrong": Reason.PASSWORD, "code_wrong": Reason.FACTOR}
_ACCESS = {"cross_site": Reason.SOURCE, "second_factor_needed": Reason.FACTOR, "confirm_first": Reason.EXPIRED}


class Witness:
    """Begins the trails, and tells of what is refused. One for the console."""

    def __init__(self, log: AuditLog, keyed: Keyed) -> None:
        self._log = Breaker(log)
        self._keyed = keyed
        self._of_one = Throttle(10, 60)
        self._of_all = Throttle(200, 1)

    def trail(self, by: By, address: str, workspace_id: str | None) -> Trail:
        """The trail of a request from this address."""
        return Trail(self._log, self._keyed, by, workspace=workspace_id, address=address)

    @contextlib.asynccontextmanager
    async def refusals(self, trail: Trail) -> AsyncIterator[None]:
        """Tell of a refusal that leaves this block. Raises Unavailable in its place when it cannot be told."""
        try:
            yield
        except Refused as error:
            await self.refused(trail, error)
            raise

    async def refused(self, trail: Trail, error: Refused) -> None:
        """Tell of a refusal, if it is one of who may come in or do something. Raises Unavailable."""
        told = _meaning(trail, error)
        if told is None:
            return
        action, reason, method = told
        if _is_cheap(action, trail, error) and not self._bounded(trail.address):
            return
        await recorded(
            action,
            subject=trail.claimed or (trail.actor if action is Action.FACTOR_REFUSED else None),
            outcome=Outcome.REFUSED,
            reason=reason,
            method=method,
            email=trail.email or None,
        )

    def _bounded(self, address: str) -> bool:
        try:
            self._of_one.take(household(address))
            self._of_all.take()
        except Refused:
            return False
        return True


def _meaning(trail: Trail, error: Refused) -> tuple[Action, Reason, Method | None] | None:
    """What a refusal is to the audit; None for one that is no more than a wrong input."""
    if trail.by is By.SCIM or (trail.by is By.PROVIDER and error.status == 401):
        return (Action.CREDENTIAL_REFUSED, Reason.CREDENTIAL, Method.TOKEN) if error.status == 401 else None
    code = error.code or ""
    if code in _PROOFS:
        return Action.FACTOR_REFUSED, _PROOFS[code], None
    if error.status == 429:
        action = Action.SESSION_REFUSED if trail.actor is None else Action.FACTOR_REFUSED
        return action, Reason.THROTTLED, trail.method
    if trail.by is By.PROVIDER and error.status == 403:
        return Action.SESSION_REFUSED, _SIGN_IN.get(code, Reason.CREDENTIAL), Method.OIDC
    if code in _SIGN_IN:
        reason = Reason.FACTOR if trail.method is Method.TOTP else _SIGN_IN[code]
        return Action.SESSION_REFUSED, reason, Method.CLAIM if code == "claim_invalid" else trail.method
    if error.status == 403:
        return Action.ACCESS_REFUSED, _ACCESS.get(code, Reason.PERMISSION), None
    return None


def _is_cheap(action: Action, trail: Trail, error: Refused) -> bool:
    """Whether no throttle bounds how often somebody can be refused so."""
    return (
        error.status == 429
        or action is Action.CREDENTIAL_REFUSED
        or (error.code == "cross_site" and trail.credential is None)
    )
