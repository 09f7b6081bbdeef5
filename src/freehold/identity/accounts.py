"""Accounts with a password: made by a claim or an invitation, checked at sign-in, their password changed.

A sign-in for an unknown address costs the same hash as one for a known address and gets the same answer. Opening
sessions is `sessions`; who may change whose account is `people`.
"""

import re
import time

from sqlalchemy.exc import IntegrityError

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity import passwords
from freehold.identity.directory import secret_digest
from freehold.identity.sessions import open_session as open_session
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_secret, secret_kind
from freehold.storage import claims, credentials, users
from freehold.storage.engine import Database

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)*")


async def create_claim(database: Database, key: bytes, workspace_id: str, hours: float) -> str:
    """A one-time secret that makes its holder the owner of a workspace without accounts. Earlier ones end."""
    secret = new_secret("fhc")
    async with written(database) as (connection, tell):
        await claims.create_owner(connection, workspace_id, secret_digest(key, secret), time.time() + hours * 3600)
        tell(Action.CLAIM_CREATE, workspace=workspace_id)
    return secret


async def redeem_claim(
    database: Database, key: bytes, workspace_id: str, secret: str, *, name: str, email: str, password: str
) -> users.User:
    """Use the first owner's claim up and make the account, both or neither. Raises Refused with what to correct."""
    return await _redeem(database, key, workspace_id, secret, name, checked_email(email), password)


async def redeem_invitation(
    database: Database, key: bytes, workspace_id: str, secret: str, *, name: str, password: str
) -> users.User:
    """Use an invitation up and make the account of the invited address. Raises Refused with what to correct."""
    return await _redeem(database, key, workspace_id, secret, name, None, password)


async def check_password(database: Database, workspace_id: str, email: str, password: str) -> users.User:
    """The person with this address and password. Raises Refused 401, the same for every reason."""
    async with database.read() as connection:
        user = await users.by_email(connection, workspace_id, email.strip()[:255])
    right = await passwords.matches(user.password_hash if user is not None else None, password)
    if user is None or not right or user.disabled_at is not None:
        raise Refused("The e-mail address or the password is wrong.", status=401, code="sign_in_failed")
    return user


async def confirm_password(user: users.User, password: str) -> None:
    """Raise Refused 403 unless this is the password of the person who is signed in."""
    if not await passwords.matches(user.password_hash, password):
        raise Refused("The password is wrong.", status=403, code="password_wrong", param="password")


async def set_password(database: Database, user: users.User, password: str) -> None:
    """Give a person another password and end all their sessions. Raises Refused for one that is not taken."""
    passwords.check(password, (user.name, user.email or ""))
    password_hash = await passwords.hashed(password)
    async with written(database) as (connection, tell):
        await users.change(connection, user.id, password_hash=password_hash)
        ended = await credentials.revoke_sessions(connection, user.id)
        tell(Action.FACTOR_PASSWORD, subject=user.id, count=ended)


def checked_name(name: str) -> str:
    """The name without the space around it. Raises Refused."""
    name = name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise Refused("Please give a name of 1 to 100 characters.", param="name", code="name_invalid")
    return name


def checked_email(email: str) -> str:
    """The address without the space around it. Raises Refused."""
    email = email.strip()
    if len(email) > 254 or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise Refused("Please give a valid e-mail address.", param="email", code="email_invalid")
    return email


def email_taken() -> Refused:
    """The address belongs to an account of this workspace."""
    return Refused(
        "There is an account with this e-mail address already.", status=409, code="email_taken", param="email"
    )


def claim_invalid() -> Refused:
    """A link that is unknown, used, revoked, out of time or another workspace's: one text for every reason."""
    return Refused(
        "This link is not valid any more. Ask for a new one: an administrator makes it, or 'freehold claim' on the "
        "machine.",
        status=403,
        code="claim_invalid",
    )


async def _redeem(
    database: Database, key: bytes, workspace_id: str, secret: str, name: str, email: str | None, password: str
) -> users.User:
    name = checked_name(name)
    passwords.check(password, (name, email or ""))
    if secret_kind(secret) != "fhc":
        raise claim_invalid()
    digest = secret_digest(key, secret)
    password_hash = await passwords.hashed(password)
    async with written(database) as (connection, tell):
        claim = await claims.find(connection, workspace_id, digest)
        invited = claim is not None and claim.email is not None
        if claim is None or invited != (email is None) or not await claims.use(connection, claim):
            raise claim_invalid()
        try:
            user = await users.create(
                connection,
                workspace_id,
                name=name,
                email=claim.email or email,
                role=claim.role,
                password_hash=password_hash,
            )
        except IntegrityError:
            raise email_taken() from None
        done = Action.PERSON_JOIN if invited else Action.CLAIM_USE
        tell(done, actor=user.id, subject=user.id, other=claim.id, role=user.role, email=user.email)
        return user
