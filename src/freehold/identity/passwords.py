"""Passwords: which are taken, and how they are kept and compared. Called by accounts.

Kept as Argon2id (RFC 9106, second recommended setting: 64 MiB, t=3, p=4). There are no composition rules: a password
has 12 to 1,024 characters and is not one of those that everybody tries first. One hash at a time is computed, in a
thread; too many that wait are refused at once, so that a flood of sign-ins costs memory for one.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from typing import TypeVar

import argon2

from freehold.protocol.errors import Refused, Unavailable

T = TypeVar("T")

MIN_PASSWORD, MAX_PASSWORD = 12, 1024
MAX_WAITING = 64
_FEWEST_DISTINCT = 5
_hasher = argon2.PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
_nobody = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$9gvE6ERn0dC5hCtT2mYfMvo2bVyMBp+GG7Hn6pRRIJg"
_ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_one_at_a_time = ThreadPoolExecutor(max_workers=1, thread_name_prefix="argon2")
_waiting: set[object] = set()


def check(password: str, known: Iterable[str] = ()) -> None:
    """Raise Refused unless this may become a password. `known` are words that a guesser has: a name, an address."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Refused(
            f"Please choose a password of {MIN_PASSWORD} to {MAX_PASSWORD} characters.",
            param="password",
            code="password_weak",
        )
    if _is_common(password.lower(), known):
        raise Refused(
            "Please choose another password: this one is among those that are guessed first.",
            param="password",
            code="password_common",
        )


async def hashed(password: str) -> str:
    """The password as it is kept. Raises Unavailable when too many wait."""
    return await _in_turn(_hasher.hash, password)


async def matches(stored: str | None, password: str) -> bool:
    """Whether this is the password that was kept. Costs the same when there is none to compare with."""
    usable = password if len(password) <= MAX_PASSWORD else ""
    return await _in_turn(_verify, stored or _nobody, usable) and stored is not None and usable != ""


def _is_common(password: str, known: Iterable[str]) -> bool:
    common = _common()
    core = _ENDS.sub("", password)
    if password in common or core in common or _unit(password) in common:
        return True
    rest = password
    for word in {part for text in (*known, "freehold") for part in re.split(r"[\W_]+", text.lower()) if len(part) > 3}:
        rest = rest.replace(word, "")
    nothing_else = rest != password and not _ENDS.sub("", rest)
    return nothing_else or len(set(rest)) < _FEWEST_DISTINCT


def _unit(text: str) -> str:
    """What the text is repetitions of; the text itself when it repeats nothing."""
    return text[: (text + text).find(text, 1)]


@cache
def _common() -> frozenset[str]:
    lines = files("freehold.identity").joinpath("common_passwords.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("# "))


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


async def _in_turn(function: Callable[..., T], *args: str) -> T:
    if len(_waiting) >= MAX_WAITING:
        raise Unavailable("Too many people sign in just now. Try again in a moment.", code="busy", retry_after=5)
    ticket = object()
    _waiting.add(ticket)
    try:
        return await asyncio.get_running_loop().run_in_executor(_one_at_a_time, function, *args)
    finally:
        _waiting.discard(ticket)
