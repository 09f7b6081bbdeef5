"""Proofs of real logs, accepted by the independent checker; what was changed in one is not."""

import json
import random
from pathlib import Path

import pytest

from freehold.audit.folder import Snapshot
from freehold.audit.prove import Growth, check, check_growth, prove, prove_growth
from freehold.audit.verify import verify
from freehold.audit.writer import Writer
from freehold.protocol.errors import Refused
from tests.audit import checker
from tests.audit.making import KEY, append, event, make

LINE = str(KEY.verifier)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700, 5000])
def test_the_checker_accepts_what_is_proved(size: int, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    make(folder, size, batch=250)
    snapshot = Snapshot(folder, KEY.verifier)
    chance = random.Random(size)  # noqa: S311
    for index in {0, size - 1, *(chance.randrange(size) for _ in range(20))}:
        proof = prove(snapshot, index)
        assert checker.check_proof_file(proof.text(), LINE) == (index, proof.entry)
        assert check(proof.text(), KEY.verifier) == proof
        assert json.loads(json.dumps(proof.as_json()))["entry"]["count"] == index


@pytest.mark.slow
@pytest.mark.soak
def test_the_checker_accepts_every_entry_of_a_large_log(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    make(folder, 70_000, batch=250)
    snapshot = Snapshot(folder, KEY.verifier)
    assert verify(folder, KEY.verifier).sound
    assert (folder / "tile/1/000").exists()
    for index in range(0, 70_000, 97):
        assert checker.check_proof_file(prove(snapshot, index).text(), LINE)[0] == index


def test_growth_between_checkpoints_that_were_kept(tmp_path: Path) -> None:
    folder, kept, entries = tmp_path / "audit", [], 0
    for more in (1, 5, 250, 1, 256, 700, 3500):
        make(folder, more, first=entries, batch=250)
        entries += more
        kept.append(KEY.verifier.open((folder / "checkpoint").read_bytes()))
    snapshot = Snapshot(folder, KEY.verifier)
    leaves = [checker.leaf(entry) for _, entry in snapshot.entries()]
    for old in kept:
        proof = prove_growth(snapshot, old)
        assert proof.path == checker.proof(old.size, leaves)
        assert check_growth(proof, old, KEY.verifier).size == entries
        assert old.root == checker.mth(leaves[: old.size])
        if old.size < entries:
            wrong = [bytes(32), *proof.path[1:]]
            with pytest.raises(ValueError):
                check_growth(Growth(old.size, proof.size, wrong, proof.checkpoint), old, KEY.verifier)


def test_a_log_that_does_not_continue_a_checkpoint_has_no_proof(tmp_path: Path) -> None:
    make(tmp_path / "one", 300)
    make(tmp_path / "other", 400, first=1000)
    old = KEY.verifier.open((tmp_path / "one/checkpoint").read_bytes())
    new = KEY.verifier.open((tmp_path / "other/checkpoint").read_bytes())
    with pytest.raises(Refused):
        prove_growth(Snapshot(tmp_path / "other", KEY.verifier), old)
    with pytest.raises(Refused):
        prove_growth(Snapshot(tmp_path / "one", KEY.verifier), new)


def test_every_change_of_a_proof_file_is_found(tmp_path: Path) -> None:
    make(tmp_path / "audit", 400)
    text = prove(Snapshot(tmp_path / "audit", KEY.verifier), 123).text()
    for place in range(len(text)):
        bad = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        with pytest.raises(ValueError):
            check(bad, KEY.verifier)


def test_what_has_no_proof_yet(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    writer = Writer(folder, KEY)
    append(writer, [event(0)])
    for index, status in ((0, 409), (1, 409)):
        with pytest.raises(Refused) as caught:
            prove(Snapshot(folder, KEY.verifier), index)
        assert caught.value.status == status
    writer.publish()
    append(writer, [event(1)])
    snapshot = Snapshot(folder, KEY.verifier)
    assert prove(snapshot, 0).size == 1
    for index, status in ((1, 409), (2, 404)):
        with pytest.raises(Refused) as caught:
            prove(snapshot, index)
        assert caught.value.status == status
    writer.close()
