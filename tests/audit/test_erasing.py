"""Erasing a person and pruning old entries: nothing of it can be read after, and no proof breaks."""

import base64
import time
from pathlib import Path

import msgspec
import pytest

from freehold import settings as configuration
from freehold.audit import payload, prune
from freehold.audit.clock import Clock
from freehold.audit.events import Action, Digest, Event, Id, encode
from freehold.audit.folder import Snapshot
from freehold.audit.journal import Moment
from freehold.audit.prove import prove, prove_growth
from freehold.audit.prune import Person, ask, confirm, due, remove
from freehold.audit.verify import verify
from freehold.audit.writer import Writer
from freehold.protocol.errors import Refused
from freehold.settings import Layout
from tests.audit import checker
from tests.audit.making import ACTORS, KEY, append, event, make

DAY = 86400


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = configuration.load(tmp_path / "state").layout
    found.create()
    return found


def test_a_payload_reads_back_until_its_person_is_erased(layout: Layout) -> None:
    payloads, secret = payload.Payloads(layout), b"mario.rossi@example.com"
    mine, theirs = payloads.keep(ACTORS[0], secret), payloads.keep(ACTORS[1], b"other")
    writer = Writer(layout.audit, KEY)
    number = writer.commit([encode(Event(action=Action.PERSON_JOIN, subject=ACTORS[0], payload=mine))]).start
    append(writer, [event(n) for n in range(300)])
    writer.publish()
    before = prove(Snapshot(layout.audit, KEY.verifier), number)
    assert payloads.read(ACTORS[0], mine) == secret
    assert payloads.read(ACTORS[1], mine) is None
    everything = b"".join(path.read_bytes() for path in layout.audit.rglob("*") if path.is_file())
    assert secret not in everything
    assert payloads.keep(ACTORS[0], secret) != mine, "the same value has another digest each time"

    assert payloads.erase(ACTORS[0])
    writer.commit([encode(Event(action=Action.PERSON_ERASE, subject=ACTORS[0]))])
    writer.publish()
    writer.close()
    assert payloads.read(ACTORS[0], mine) is None
    assert payloads.read(ACTORS[1], theirs) == b"other"
    assert not payloads.erase(ACTORS[0])
    assert not list(layout.audit.rglob(f"*{mine}*"))
    assert verify(layout.audit, KEY.verifier, [before.checkpoint]).faults == []
    after = prove(Snapshot(layout.audit, KEY.verifier), number)
    assert after.entry == before.entry
    for proof in (before, after):
        assert checker.check_proof_file(proof.text(), str(KEY.verifier)) == (number, before.entry)


def test_the_key_is_overwritten_before_it_is_unlinked(layout: Layout) -> None:
    payloads = payload.Payloads(layout)
    digest = payloads.keep(ACTORS[0], b"x")
    folder = layout.audit / "payload" / ACTORS[0]
    kept, sealed = folder / "key", (folder / digest).read_bytes()
    other_name = layout.state / "still-linked"
    other_name.hardlink_to(kept)
    payloads.erase(ACTORS[0])
    assert other_name.read_bytes() == bytes(32)
    folder.mkdir()  # the sealed bytes, which somebody kept, are of no use
    (folder / digest).write_bytes(sealed)
    (folder / "key").write_bytes(other_name.read_bytes())
    assert payloads.read(ACTORS[0], digest) is None


def test_a_payload_that_was_changed_or_moved_is_not_read(layout: Layout) -> None:
    payloads = payload.Payloads(layout)
    digest, other = payloads.keep(ACTORS[0], b"one"), payloads.keep(ACTORS[0], b"two")
    folder = layout.audit / "payload" / ACTORS[0]
    data = (folder / digest).read_bytes()
    (folder / digest).write_bytes((folder / other).read_bytes())
    assert payloads.read(ACTORS[0], digest) is None
    (folder / digest).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert payloads.read(ACTORS[0], digest) is None
    for name in ("../keys", "a/b", ".x"):
        with pytest.raises(ValueError):
            payloads.keep(Id(name), b"x")
        with pytest.raises(ValueError):
            payloads.read(Id(name), Digest(digest))


class Aged(Clock):
    """A clock that says what it is told."""

    def __init__(self) -> None:
        self.wall = (time.time() - 100 * DAY) * 1000

    def now(self) -> Moment:
        return Moment(int(self.wall), int(self.wall), 1)


def aged(folder: Path) -> Writer:
    """8,500 entries of 100 days ago, then some of now."""
    clock = Aged()
    writer = Writer(folder, KEY, clock)
    append(writer, [event(n) for n in range(8500)], 250)
    clock.wall = time.time() * 1000
    append(writer, [event(n) for n in range(8500, 8600)])
    writer.publish()
    writer.retire()
    return writer


ONE, OTHER = Person(uid=1000), Person(uid=1001)


def test_pruning_needs_two_and_breaks_no_proof(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    writer = aged(folder)
    snapshot = Snapshot(folder, KEY.verifier)
    before = time.time() - 90 * DAY
    end = 8192  # 33 bundles are old enough, but the journal still holds one of them
    assert due(snapshot, before) == end
    old = prove(snapshot, 5)
    held = KEY.verifier.open((folder / "checkpoint").read_bytes())
    text, asked = ask(snapshot, KEY, before, ONE)
    writer.commit([encode(asked)])
    with pytest.raises(Refused) as caught:
        confirm(text, KEY, ONE)
    assert caught.value.status == 403
    request, pruned = confirm(text, KEY, OTHER)
    assert (request.end, pruned.uid, pruned.other_uid) == (end, 1001, 1000)
    writer.commit([encode(pruned)])
    assert remove(folder, request.end) == end // 256
    writer.publish()
    report = verify(folder, KEY.verifier, [held, old.checkpoint])
    assert (report.faults, report.pruned) == ([], end)
    snapshot = Snapshot(folder, KEY.verifier)
    assert next(number for number, _ in snapshot.entries()) == end
    assert checker.check_proof_file(old.text(), str(KEY.verifier))[0] == 5
    assert checker.check_proof_file(prove(snapshot, 8550).text(), str(KEY.verifier))[0] == 8550
    assert prove_growth(snapshot, held).old == held.size
    with pytest.raises(Refused) as caught:
        prove(snapshot, 5)
    assert caught.value.status == 410
    append(writer, [event(n) for n in range(300)])
    writer.close()
    make(folder, 10, first=9999)
    assert verify(folder, KEY.verifier, [held]).faults == []


def test_entries_that_go_without_being_pruned_are_missed(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    writer = aged(folder)
    remove(folder, 512)
    assert [fault.entry for fault in verify(folder, KEY.verifier).faults] == [0, 256]
    writer.commit([encode(Event(action=Action.AUDIT_PRUNE, first=0, end=256))])
    writer.close()
    assert [fault.entry for fault in verify(folder, KEY.verifier).faults] == [256], "only as far as the log says"


def test_a_prune_mark_cannot_be_forged_or_reach_beyond_itself(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    writer = aged(folder)
    writer.commit([encode(Event(action=Action.AUDIT_PRUNE, first=0, end=1 << 40))])
    writer.close()
    remove(folder, 256)
    assert not verify(folder, KEY.verifier).sound


def test_a_request_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "audit"
    aged(folder).close()
    snapshot = Snapshot(folder, KEY.verifier)
    text, _ = ask(snapshot, KEY, time.time() - 90 * DAY, ONE)
    body, signature = text.split(".")
    larger = msgspec.json.decode(base64.urlsafe_b64decode(body), type=prune.Request)
    larger = msgspec.structs.replace(larger, end=larger.end + 256)
    forged = base64.urlsafe_b64encode(msgspec.json.encode(larger)).decode()
    for bad in ("", "x", ".", f"{forged}.{signature}", f"{body}.{signature[:-8]}", f"{body}.{body}", "ä.ö"):
        with pytest.raises(Refused):
            confirm(bad, KEY, OTHER)
    with pytest.raises(Refused):
        confirm(text, KEY, Person())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * DAY)
    with pytest.raises(Refused):
        confirm(text, KEY, OTHER)


def test_nothing_to_prune(tmp_path: Path) -> None:
    make(tmp_path / "audit", 600)
    with pytest.raises(Refused):
        ask(Snapshot(tmp_path / "audit", KEY.verifier), KEY, time.time() - DAY, ONE)
