"""Removing the oldest entries when their time is over: asked for by one person, confirmed by another.

A request is a signed file; asking and pruning are entries of the log. Only whole bundles of entries go. Every hash
stays, so that the root, every proof of a younger entry and every growth proof are as before; `verify` takes missing
bundles as pruned only as far as an entry of the log says so. The console and `freehold audit prune` call this.
"""

import base64
import contextlib
import time
from pathlib import Path

import msgspec

from freehold.audit import tiles
from freehold.audit.events import Action, By, Event, Id, decode
from freehold.audit.folder import Snapshot
from freehold.audit.note import Signer
from freehold.audit.tree import WIDTH
from freehold.protocol.errors import Refused

VALID_SECONDS = 24 * 3600
_DOMAIN = b"freehold audit prune request\n"


class Person(msgspec.Struct, frozen=True):
    """Who asks or confirms: somebody known to the installation, or the operating system's user at the command line."""

    id: Id | None = None
    uid: int | None = None


class Request(msgspec.Struct, frozen=True):
    """To remove the entries [0, end), all older than `before` (seconds since 1970)."""

    end: int
    before: float
    asked_by: Person
    asked_at: float


def due(snapshot: Snapshot, before: float) -> int:
    """How many of the oldest entries may go, in whole bundles: every one is older than that, and in tiles alone.

    Looks at each, since a clock that was moved leaves times that do not go up. What the journal still holds (never
    more than the newest 8,192 entries) stays.
    """
    for number, entry in snapshot.entries(0, snapshot.settled):
        if decode(entry).at >= before * 1000:
            return number // WIDTH * WIDTH
    return snapshot.settled // WIDTH * WIDTH


def ask(snapshot: Snapshot, key: Signer, before: float, who: Person) -> tuple[str, Event]:
    """A signed request, and the event that must be recorded before it is handed out. Raises Refused 409 when there is
    nothing to prune."""
    end = due(snapshot, before)
    if not end or snapshot.entry(end - 1) is None:
        raise Refused("Nothing in the audit log is older than that, in whole bundles of 256 entries.", status=409)
    body = msgspec.json.encode(Request(end, before, who, time.time()))
    text = f"{_base64(body)}.{_base64(key.sign(_DOMAIN + body))}"
    event = Event(
        action=Action.AUDIT_PRUNE_ASKED,
        by=By.COMMAND if who.id is None else By.PAGE,
        actor=who.id,
        uid=who.uid,
        end=end,
    )
    return text, event


def confirm(text: str, key: Signer, who: Person) -> tuple[Request, Event]:
    """The request, and the event that must be durable before `remove`. Raises Refused: 400 when it is none of ours or
    too old, 403 when the same person confirms."""
    try:
        body, signature = (base64.urlsafe_b64decode(part) for part in text.split("."))
        request = msgspec.json.decode(body, type=Request)
    except (ValueError, msgspec.DecodeError):
        raise Refused("This is not a request to prune the audit log.") from None
    if not key.verifier.holds(signature, _DOMAIN + body):
        raise Refused("This is not a request to prune the audit log.")
    if not 0 <= time.time() - request.asked_at < VALID_SECONDS:
        raise Refused("The request to prune is older than a day. Ask again.")
    if who == request.asked_by or (who.id is None and who.uid is None):
        raise Refused("Another person must confirm: pruning needs two.", status=403)
    event = Event(
        action=Action.AUDIT_PRUNE,
        by=By.COMMAND if who.id is None else By.PAGE,
        actor=who.id,
        uid=who.uid,
        other=request.asked_by.id,
        other_uid=request.asked_by.uid,
        first=0,
        end=request.end,
    )
    return request, event


def remove(folder: Path, end: int) -> int:
    """Remove the bundles of the entries [0, end); gives how many there were. May be done again after it was cut off."""
    count = 0
    for index in range(end // WIDTH):
        with contextlib.suppress(FileNotFoundError):
            (folder / tiles.path(tiles.ENTRIES, index)).unlink()
            count += 1
    return count


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
