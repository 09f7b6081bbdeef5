"""`freehold audit …` as people and scripts use it: what it prints, and its exit codes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from freehold.audit.events import Action, decode, encode
from freehold.audit.folder import Snapshot
from freehold.audit.log import signer
from freehold.audit.writer import Writer
from freehold.cli import audit as commands
from freehold.cli.app import app
from freehold.settings import Layout
from tests.audit import checker
from tests.audit.making import ACTORS, append, event
from tests.conftest import Home


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A log of 5,000 entries with its key, to copy."""
    found = Layout(tmp_path_factory.mktemp("filled"))
    found.create()
    writer = Writer(found.audit, signer(found))
    append(writer, [event(number, number % 3) for number in range(5000)], 250)
    writer.publish()
    writer.retire()
    writer.close()
    return found


@pytest.fixture
def layout(home: Home, filled: Layout) -> Layout:
    """A state with a log of 5,000 entries."""
    found = home.settings.layout
    shutil.copytree(filled.audit, found.audit, dirs_exist_ok=True)
    shutil.copy(filled.keys / "audit-sign.key", found.keys)
    return found


def run(layout: Layout, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments), "--state", str(layout.state)])


def value(layout: Layout, *arguments: object, code: int = 0) -> Any:
    result = run(layout, *arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_tail(layout: Layout) -> None:
    result = run(layout, "tail", "-n", 3, "--json")
    assert [json.loads(line)["sequence"] for line in result.stdout.splitlines()] == [4997, 4998, 4999]
    assert "exchange:intent" in run(layout, "tail").stdout


def test_search(layout: Layout) -> None:
    found = value(layout, "search", "--actor", ACTORS[1], "--limit", 2)
    assert [entry["sequence"] for entry in found] == [4999, 4996]
    assert value(layout, "search", "--action", "key") == []
    assert value(layout, "search", "--until", "2001-01-01") == []
    assert len(value(layout, "search", "--rebuild", "--limit", 10_000, "--action", "exchange:intent")) == 5000
    assert run(layout, "search", "--since", "yesterday").exit_code == 1


@pytest.mark.parametrize("form", ["json", "ocsf"])
def test_export_is_told_and_writes_over_nothing(form: str, layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert value(layout, "export", file, "--form", form) == {"entries": 5000, "file": str(file)}
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 5000
    assert run(layout, "export", file).exit_code == 1
    last = value(layout, "tail", "-n", 1)
    assert (last["action"], last["by"]) == ("audit:export", "command")


def test_verify_and_its_exit_codes(layout: Layout, tmp_path: Path) -> None:
    key = value(layout, "checkpoint")["key"]
    kept = tmp_path / "kept"
    kept.write_bytes((layout.audit / "checkpoint").read_bytes())
    report = value(layout, "verify", "--key", key, "--held", kept)
    assert report["sound"] is True
    assert report["logs"][str(layout.audit)]["size"] == 5000
    assert "sound" in run(layout, "verify").stdout
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(layout.audit, elsewhere)
    assert value(layout, "verify", elsewhere, "--key", key)["sound"] is True
    assert value(layout, "verify", elsewhere)["key_from_beside_the_log"] is True
    assert value(layout, "verify", "--copy", elsewhere)["sound"] is True
    damaged = elsewhere / "tile/entries/002"
    damaged.write_bytes(damaged.read_bytes().replace(b'"count":600', b'"count":666'))
    bad = value(layout, "verify", elsewhere, "--key", key, code=1)
    assert bad["logs"][str(elsewhere)]["faults"][0]["entry"] == 600
    assert "(entry 600)" in run(layout, "verify", elsewhere, "--key", key).stdout
    assert run(layout, "verify", "--copy", elsewhere).exit_code == 1
    for wrong in (["--key", "nonsense"], [tmp_path / "nowhere"], ["--held", tmp_path / "nowhere"]):
        assert run(layout, "verify", *wrong).exit_code == 78


def test_verify_needs_no_database_and_no_key_of_ours(layout: Layout) -> None:
    key = value(layout, "checkpoint")["key"]
    (layout.state / "freehold.db").unlink()
    shutil.rmtree(layout.keys)
    assert value(layout, "verify", "--key", key)["sound"] is True
    assert run(layout, "search").exit_code == 78


def test_prove_and_check(layout: Layout, tmp_path: Path) -> None:
    key, file = value(layout, "checkpoint")["key"], tmp_path / "entry.tlog-proof"
    proof = value(layout, "prove", 77, "--out", file, "--since", layout.audit / "checkpoint")
    assert (proof["index"], proof["entry"]["count"], proof["growth"]["path"]) == (77, 77, [])
    assert checker.check_proof_file(file.read_text(), key)[0] == 77
    assert run(layout, "prove", 77).stdout == file.read_text()
    result = CliRunner().invoke(app, ["audit", "check", str(file), "--key", key])
    assert result.exit_code == 0, result.output
    file.write_text(file.read_text().replace("index 77", "index 78"))
    assert CliRunner().invoke(app, ["audit", "check", str(file), "--key", key]).exit_code == 1
    assert run(layout, "prove", 5000).exit_code == 1


def test_prune_needs_two(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = layout.audit / "checkpoint"
    held = layout.state / "held"
    held.write_bytes(kept.read_bytes())
    value(layout, "search")
    monkeypatch.setattr(commands, "login_user", lambda: 1000)
    assert run(layout, "prune").exit_code == 1
    asked = value(layout, "prune", "--before", "2099-01-01")
    assert asked["end"] == 4096
    assert run(layout, "prune", "--confirm", asked["request"]).exit_code == 1
    assert (layout.audit / "tile/entries/000").exists()
    monkeypatch.setattr(commands, "login_user", lambda: 1001)
    assert value(layout, "prune", "--confirm", asked["request"]) == {"end": 4096, "bundles": 16}
    report = value(layout, "verify", "--held", held)
    assert report["logs"][str(layout.audit)]["pruned"] == 4096
    found = [decode(entry) for _, entry in Snapshot(layout.audit, signer(layout).verifier).entries()]
    told = {entry.action: (entry.uid, entry.other_uid) for entry in found}
    assert told[Action.AUDIT_PRUNE_ASKED] == (1000, None)
    assert told[Action.AUDIT_PRUNE] == (1001, 1000)
    assert found[0].sequence == 4096
    assert min(entry["sequence"] for entry in value(layout, "search", "--limit", 10_000)) == 4096


def test_where_there_is_no_log(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    for command in ("tail", "search", "verify", "checkpoint"):
        result = run(layout, command)
        assert result.exit_code == 78, command
        assert "Traceback" not in result.output


def test_a_value_that_people_chose_never_reaches_the_terminal_as_markup(layout: Layout) -> None:
    writer = Writer(layout.audit, signer(layout))
    writer.commit([encode(event(1))])
    writer.close()
    assert "[/]" not in run(layout, "tail").stdout
