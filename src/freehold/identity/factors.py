"""The second factor of a person: an authenticator app, and recovery codes for the day it is lost.

The app's secret is sealed in the database, recovery codes are kept as digests. Each code counts once. A check for
somebody who has no app costs the same as one for somebody who has.
"""

import base64
import secrets
import time
from collections.abc import Callable

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action, Method
from freehold.audit.trail import written
from freehold.identity import totp
from freehold.identity.directory import secret_digest
from freehold.identity.sealing import Sealer
from freehold.protocol.errors import Refused
from freehold.storage import factors, users
from freehold.storage.engine import Database

RECOVERY_CODES = 10
_RECOVERY_LENGTH = 16


class Enrolment(msgspec.Struct, frozen=True):
    """What a person is shown once, to set their app up: the secret to type, the address, the address as a picture."""

    secret: str
    address: str
    picture: dict[str, int | str]


class Factors:
    """Second factors, over the database. `key` is the installation's; `clock` gives seconds since 1970."""

    def __init__(self, database: Database, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._key = key
        self._clock = clock
        self._sealer = Sealer(key, "totp")
        self._nobody = self._sealer.seal(totp.new_secret(), "")

    async def begin(self, user: users.User, issuer: str) -> Enrolment:
        """A new secret, which counts once a code of it was given. Raises Refused 409 when an app is set up already."""
        secret = totp.new_secret()
        async with self._database.write() as connection:
            try:
                await factors.begin_totp(connection, user.id, self._sealer.seal(secret, user.id))
            except IntegrityError:
                raise Refused("An authenticator app is set up already.", status=409, code="totp_exists") from None
        address = totp.address(secret, issuer, user.email or user.name)
        return Enrolment(totp.shown(secret), address, totp.drawn(address))

    async def confirm(self, user_id: str, code: str) -> list[str]:
        """Set the app up with a code of it: the recovery codes. Raises Refused 403 when the code is not right."""
        async with written(self._database) as (connection, tell):
            present = await factors.get_totp(connection, user_id)
            step = self._step(present, user_id, code)
            if (
                present is None
                or present.confirmed_at is not None
                or step is None
                or not await factors.use_step(connection, user_id, step, confirm=True)
            ):
                raise Refused("The code is wrong.", status=403, code="code_wrong", param="code")
            codes = await self._fresh_codes(connection, user_id)
            tell(Action.FACTOR_ADD, subject=user_id, method=Method.TOTP)
        return codes

    async def is_on(self, user_id: str) -> bool:
        """Whether a person's app is set up."""
        async with self._database.read() as connection:
            present = await factors.get_totp(connection, user_id)
        return present is not None and present.confirmed_at is not None

    async def check(self, user_id: str, code: str) -> str | None:
        """How a code proves this person: `otp` or `recovery`; None: it does not. A code counts once."""
        code = code.replace(" ", "").replace("-", "").strip().lower()[:64]
        async with written(self._database) as (connection, tell):
            present = await factors.get_totp(connection, user_id)
            step = self._step(present, user_id, code)
            recovered = await factors.use_recovery_code(connection, user_id, self._digest(user_id, code))
            if present is None or present.confirmed_at is None:
                return None
            if step is not None and await factors.use_step(connection, user_id, step):
                return "otp"
            if recovered:
                tell(Action.FACTOR_USE_RECOVERY, actor=user_id, subject=user_id, method=Method.RECOVERY)
            return "recovery" if recovered else None

    async def new_recovery_codes(self, user_id: str) -> list[str]:
        """Fresh recovery codes of 80 bits, in place of all earlier ones. Shown once."""
        async with written(self._database) as (connection, tell):
            codes = await self._fresh_codes(connection, user_id)
            tell(Action.FACTOR_ADD, subject=user_id, method=Method.RECOVERY)
        return codes

    async def _fresh_codes(self, connection: AsyncConnection, user_id: str) -> list[str]:
        codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
        await factors.set_recovery_codes(connection, user_id, [self._digest(user_id, one) for one in codes])
        return ["-".join(one[at : at + 4] for at in range(0, _RECOVERY_LENGTH, 4)) for one in codes]

    async def remove(self, user_id: str) -> None:
        """Forget the app and the recovery codes. Raises Refused 404 when there is none."""
        async with written(self._database) as (connection, tell):
            if not await factors.remove_totp(connection, user_id):
                raise Refused("No authenticator app is set up.", status=404, code="totp_not_found")
            tell(Action.FACTOR_REMOVE, subject=user_id, method=Method.TOTP)

    def _step(self, present: factors.Totp | None, user_id: str, code: str) -> int | None:
        """The time step whose code this is; the same work when there is no app."""
        sealed, place = (present.secret, user_id) if present is not None else (self._nobody, "")
        secret = self._sealer.open(sealed, place)
        return totp.matching_step(secret, code, self._clock()) if secret is not None else None

    def _digest(self, user_id: str, code: str) -> bytes:
        return secret_digest(self._key, f"recovery {user_id} {code}")
