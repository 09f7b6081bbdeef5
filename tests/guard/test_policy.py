"""Policies: closed, checked, and what the command line does with them, on a state folder that is not running."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.guard import book
from freehold.guard.detector import KINDS
from freehold.guard.passage import Guard
from freehold.guard.policy import DIRECTIONS, OwnPattern, Policy, Rule, check, read_policy
from freehold.protocol.errors import Refused
from freehold.settings import Settings
from freehold.storage import guard as stored
from freehold.storage import workspaces
from freehold.storage.engine import Database
from tests import commanding
from tests.commanding import folder, second


@pytest.fixture
def state(tmp_path: Path, migrated: Path) -> Settings:
    """A folder with two workspaces."""
    return folder(tmp_path, migrated, second)


def run(state: Settings, *arguments: str, code: int = 0, given: str | None = None) -> Any:
    return commanding.run(state, "guard", *arguments, code=code, given=given)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"rule": {}}',
        '{"rules": {"sideways": {}}}',
        '{"rules": {"prompt": {"CAT": {"action": "mask"}}}}',
        '{"rules": {"prompt": {"CARD": {"action": "eat"}}}}',
        '{"rules": {"prompt": {"CARD": {"action": "mask", "sure": 2}}}}',
        '{"rules": {"prompt": {"CARD": {"action": "mask", "why": 1}}}}',
        '{"patterns": [{"name": "X"}]}',
        '{"patterns": [{"name": "x"}]}',
        '{"patterns": [{"name": "x", "pattern": "a*"}]}',
        '{"patterns": [{"name": "x", "pattern": "(?:a{99}){99}"}]}',
        '{"patterns": [{"name": "x", "pattern": "a", "words": ["bb"]}]}',
        '{"patterns": [{"name": "x", "pattern": "a"}, {"name": "x", "pattern": "b"}]}',
        '{"phone_regions": ["XX"]}',
    ],
)
def test_a_wrong_policy_is_refused_with_a_fixed_text(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_policy(text)
    assert "sideways" not in refused.value.message
    assert refused.value.code in ("invalid_policy", "invalid_pattern")


def test_a_policy_comes_back_as_it_was_and_says_only_what_departs() -> None:
    policy = Policy(rules={"answer": {"CARD": Rule("allow")}}, patterns=(OwnPattern("staff", r"EMP-\d{6}"),))
    text = msgspec.json.encode(policy)
    assert read_policy(text) == policy
    assert msgspec.json.encode(Policy()) == b"{}"


def test_every_class_has_a_rule_in_every_direction() -> None:
    for direction in DIRECTIONS:
        for kind in KINDS:
            assert Policy().rule(direction, kind).action in ("allow", "flag", "mask", "block")
    assert Policy().rule("log", "PERSON").action == "mask"
    assert Policy().rule("answer", "EMAIL").action == "allow", "a usual chat is not disturbed"


def _custom_only(policy: Policy) -> Policy:
    """Quick to compile: nothing but the own patterns."""
    rules = {kind: Rule("mask" if kind == "CUSTOM" else "allow") for kind in KINDS}
    return msgspec.structs.replace(policy, rules={"answer": rules})


def test_own_patterns_and_words_are_found() -> None:
    policy = Policy(
        patterns=(OwnPattern("staff", r"\bEMP-\d{4,6}\b"), OwnPattern("code", words=("Blue Moon", "X-9", "Köln")))
    )
    check(policy)
    guard = Guard(_custom_only(policy))
    assert guard.text("answer", "EMP-12345 and blue MOON, X-9; KÖLN. bluemoons EMP-1").text == (
        "[CUSTOM] and [CUSTOM], [CUSTOM]; [CUSTOM]. bluemoons EMP-1"
    )


def test_a_hostile_own_pattern_stays_linear() -> None:
    guard = Guard(_custom_only(Policy(patterns=(OwnPattern("bad", "(?:a|a|aa){1,100}b"),))))
    assert "[CUSTOM]" in guard.text("answer", "a" * 50_000 + "b").text


def test_the_policy_by_the_command_line(state: Settings) -> None:
    shown = run(state, "policy", "show")
    assert shown["rules"]["answer"]["CARD"] == {"action": "mask", "sure": 0.9}
    run(state, "policy", "set", "prompt", "EMAIL", "mask", "--sure", "0.5")
    assert run(state, "policy", "show")["rules"]["prompt"]["EMAIL"] == {"action": "mask", "sure": 0.5}
    assert run(state, "policy", "show", "--workspace", "Second")["rules"]["prompt"]["EMAIL"]["action"] == "allow"
    tried = run(state, "test", "mail ada@example.org", "--direction", "prompt")
    assert tried["text"] == "mail [EMAIL]"
    assert [f["kind"] for f in tried["findings"]] == ["EMAIL"]
    run(state, "policy", "allow", "ada@example.org")
    assert (
        run(state, "test", "-", "--direction", "prompt", given="mail Ada@example.org")["text"] == "mail Ada@example.org"
    )


def test_patterns_by_the_command_line(state: Settings) -> None:
    run(state, "policy", "set", "prompt", "CUSTOM", "mask")
    run(state, "pattern", "add", "staff", r"EMP-\d{6}")
    run(state, "pattern", "add", "towns", "--word", "Graz", "--word", "Linz")
    assert [own["name"] for own in run(state, "pattern", "list")] == ["staff", "towns"]
    assert run(state, "test", "EMP-123456 in graz", "--direction", "prompt")["text"] == "[CUSTOM] in [CUSTOM]"
    run(state, "pattern", "remove", "staff")
    assert [own["name"] for own in run(state, "pattern", "list")] == ["towns"]
    run(state, "pattern", "remove", "staff", code=1)
    run(state, "pattern", "add", "bad", "a*", code=1)
    run(state, "pattern", "add", "Bad Name", "a", code=1)


def test_values_by_the_command_line(state: Settings, tmp_path: Path) -> None:
    file = tmp_path / "customers.txt"
    file.write_text("Anna Österberg\n4711081512345\n\nab\nAnna Österberg\n")
    assert run(state, "values", "add", str(file), "--kind", "customer") == {
        "added": 2,
        "skipped": 1,
        "kind": "customer",
        "label": "customers.txt",
    }
    assert run(state, "values", "add", str(file))["added"] == 0
    assert run(state, "values", "list") == [{"kind": "customer", "label": "customers.txt", "count": 2}]
    assert run(state, "test", "for ANNA osterberg")["text"] == "for [VALUE]"
    foreign = run(state, "test", "for anna osterberg", "--workspace", "Second")
    assert foreign["blocked"]
    raw = b"".join(path.read_bytes() for path in state.state.glob("freehold.db*"))
    assert b"sterberg" not in raw
    assert b"4711081512345" not in raw
    run(state, "values", "remove", "customers.txt")
    assert run(state, "values", "list") == []
    run(state, "values", "remove", "customers.txt", code=1)
    run(state, "values", "add", str(tmp_path / "none"), code=1)


def test_changes_are_announced(state: Settings) -> None:
    run(state, "policy", "set", "prompt", "CARD", "block")

    async def look() -> tuple[list[str], bool]:
        from freehold.storage import changes

        async with Database(state.database_url) as database, database.read() as connection:
            first = await workspaces.first(connection)
            assert first is not None
            topics = [change.topic for change in await changes.since(connection, 0)]
            guard = await book.guard_of(connection, first.id, state.layout.secret(book.SECRET))
            assert set(await stored.policies(connection)) == {first.id}
        return topics, guard.text("prompt", "4929381332664295").blocked

    topics, blocked = asyncio.run(look())
    assert "guard" in topics
    assert blocked
