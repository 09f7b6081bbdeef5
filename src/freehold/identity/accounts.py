"""Accounts with a password, the claim by which the first one is made, and sign-in sessions.

Passwords are Argon2id (RFC 9106, second recommended setting: 64 MiB, t=3, p=4). A sign-in for an unknown address costs
the same hash as one for a known address and gets the same answer.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import TypeVar

import argon2
from sqlalchemy.exc import IntegrityError

from freehold.identity.directory import secret_digest
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_id, new_secret, secret_kind
from freehold.storage import credentials, users
from freehold.storage.engine import Database

T = TypeVar("T")

MIN_PASSWORD, MAX_PASSWORD = 12, 1024
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)*")
_hasher = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
_hashing = asyncio.Semaphore(1)  # one at a time: 64 MiB each
_nobody = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$9gvE6ERn0dC5hCtT2mYfMvo2bVyMBp+GG7Hn6pRRIJg"


async def create_claim(database: Database, key: bytes, workspace_id: str, hours: float) -> str:
    """A one-time secret that makes its holder the owner of a workspace without accounts. Earlier ones end."""
    secret = new_secret("fhc")
    async with database.write() as connection:
        await users.create_claim(
            connection, workspace_id, secret_digest(key, secret), "owner", time.time() + hours * 3600
        )
    return secret


async def redeem_claim(
    database: Database, key: bytes, workspace_id: str, secret: str, *, name: str, email: str, password: str
) -> users.User:
    """Use a claim of the workspace up and make the account, both or neither. Raises Refused with what to correct."""
    name, email = name.strip(), email.strip()
    _check_account(name, email, password)
    if secret_kind(secret) != "fhc":
        raise _claim_invalid()
    password_hash = await _in_thread(_hasher.hash, password)
    async with database.write() as connection:
        claim = await users.use_claim(connection, secret_digest(key, secret))
        if claim is None or claim.workspace_id != workspace_id:
            raise _claim_invalid()
        try:
            return await users.create(
                connection, claim.workspace_id, name=name, email=email, role=claim.role, password_hash=password_hash
            )
        except IntegrityError:
            raise Refused(
                "There is an account with this e-mail address already.", code="email_taken", param="email"
            ) from None


async def check_password(database: Database, workspace_id: str, email: str, password: str) -> users.User:
    """The person with this address and password. Raises Refused 401, the same for every reason."""
    async with database.read() as connection:
        user = await users.by_email(connection, workspace_id, email.strip())
    stored = user.password_hash if user is not None else _nobody
    right = len(password) <= MAX_PASSWORD and await _in_thread(_verify, stored, password)
    if user is None or not right or user.disabled_at is not None:
        raise Refused("The e-mail address or the password is wrong.", status=401, code="sign_in_failed")
    return user


async def open_session(database: Database, key: bytes, user: users.User, hours: float) -> str:
    """Sign a person in: the secret of a fresh session."""
    secret, now = new_secret("fhs"), time.time()
    session = credentials.Credential(
        id=new_id("ses"),
        workspace_id=user.workspace_id,
        user_id=user.id,
        kind="session",
        name="browser",
        hint="",
        created_at=now,
        expires_at=now + hours * 3600,
        revoked_at=None,
        last_used_at=now,
    )
    async with database.write() as connection:
        await credentials.create(connection, session, secret_digest(key, secret))
    return secret


async def close_session(database: Database, workspace_id: str, session_id: str) -> None:
    """Sign out: the session's secret is dead everywhere within a second."""
    async with database.write() as connection:
        await credentials.revoke(connection, workspace_id, session_id)


def _check_account(name: str, email: str, password: str) -> None:
    if not 1 <= len(name) <= 100:
        raise Refused("Please give a name of 1 to 100 characters.", param="name", code="name_invalid")
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise Refused("Please give a valid e-mail address.", param="email", code="email_invalid")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Refused(
            f"Please choose a password of at least {MIN_PASSWORD} characters.", param="password", code="password_weak"
        )


def _claim_invalid() -> Refused:
    return Refused(
        "This claim link is not valid any more. Run 'freehold claim' on the machine to get a new one.",
        status=403,
        code="claim_invalid",
    )


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except argon2.exceptions.VerificationError:
        return False


async def _in_thread(function: Callable[..., T], *args: str) -> T:
    async with _hashing:
        return await asyncio.to_thread(function, *args)
