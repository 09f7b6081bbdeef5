"""Logs for the tests of this room: made by the real writer, of events that can be told apart."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from freehold.audit.clock import Clock
from freehold.audit.events import Action, By, Entry, Event, Id, decode, encode
from freehold.audit.folder import Snapshot
from freehold.audit.note import Signer
from freehold.audit.writer import BATCH, Writer

KEY = Signer(bytes(range(32)))
OTHER_KEY = Signer(bytes(32))
WORKSPACE = Id("ws_0123456789abcdef")
ACTORS = [Id(f"usr_00000000000000{n:02d}") for n in range(20)]


def event(number: int, actor: int = 0) -> Event:
    """An event with a number of its own."""
    return Event(action=Action.EXCHANGE_INTENT, workspace=WORKSPACE, actor=ACTORS[actor], by=By.API, count=number)


def append(writer: Writer, events: Sequence[Event], batch: int = 100) -> list[int]:
    """Commit events in batches; gives their sequences."""
    bodies, found = [encode(one) for one in events], list[int]()
    while bodies:
        done = writer.commit(bodies[: min(batch, BATCH)])
        found += done
        bodies = bodies[len(done) :]
    return found


def make(
    folder: Path, count: int, *, key: Signer = KEY, batch: int = 100, first: int = 0, clock: Clock | None = None
) -> None:
    """A log of so many more entries, closed as a process does that ends in order."""
    writer = Writer(folder, key, clock)
    append(writer, [event(first + number) for number in range(count)], batch)
    writer.publish()
    writer.retire()
    writer.close()


def read(folder: Path, key: Signer = KEY) -> Iterator[Entry]:
    """Every entry that is there."""
    for _, entry in Snapshot(folder, key.verifier).entries():
        yield decode(entry)
