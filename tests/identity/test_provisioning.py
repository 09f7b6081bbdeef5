"""Provisioning without a console: filters mean in SQL what they say, any body is read or refused, and the commands."""

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from freehold.identity import provisioning
from freehold.identity.scim.conditions import condition
from freehold.identity.scim.filters import MAX_DEPTH, MAX_TERMS, Both, Compare, Either, Filter, Not, parse
from freehold.identity.scim.groups import Change
from freehold.identity.scim.patch import Operation, assignments, operations
from freehold.identity.scim.people import Draft, said
from freehold.protocol.errors import Refused
from freehold.settings import Settings
from freehold.storage import provisioned
from tests.commanding import run
from tests.conftest import Home

PEOPLE: list[dict[str, Any]] = [
    {"username": "ada@example.org", "externalid": "E-1", "displayname": "Ada", "active": True},
    {"username": "bo%_@example.org", "externalid": None, "displayname": "Bo\\%_'\"", "active": False},
    {"username": "cy@example.org", "externalid": "e-1", "displayname": "ada", "active": True},
]
_WORDS = st.sampled_from(
    ["ada", "ADA", "a", "", "E-1", "e-1", "%", "_", "\\", "'", '"', "bo%_@example.org", "example", "%ada%", "cy@"]
)  # fmt: skip
_COMPARE = st.one_of(
    st.builds(
        Compare,
        st.sampled_from(["username", "displayname", "externalid"]),
        st.sampled_from(["eq", "ne", "co", "sw", "ew"]),
        _WORDS,
    ),
    st.builds(Compare, st.sampled_from(["externalid", "displayname", "active"]), st.just("pr"), st.none()),
    st.builds(Compare, st.just("active"), st.sampled_from(["eq", "ne"]), st.booleans()),
)
FILTERS = st.recursive(
    _COMPARE,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(lambda *parts: Both(parts), inner, inner)
        | st.builds(lambda *parts: Either(parts), inner, inner)
    ),
    max_leaves=6,
)


def written(found: Filter) -> str:
    """A filter as a client writes it, with every bracket."""
    match found:
        case Compare(attribute, "pr", _):
            return f"{attribute} pr"
        case Compare(attribute, operator, value):
            return f"{attribute} {operator} {json.dumps(value)}"
        case Not(part):
            return f"not ({written(part)})"
        case Both(parts):
            return "(" + ") and (".join(map(written, parts)) + ")"
        case Either(parts):
            return "(" + ") or (".join(map(written, parts)) + ")"
    raise AssertionError(found)


def meant(found: Filter, person: dict[str, Any]) -> bool:
    """Whether somebody is meant: written anew from the RFC's table, to compare with."""
    match found:
        case Both(parts):
            return all(meant(part, person) for part in parts)
        case Either(parts):
            return any(meant(part, person) for part in parts)
        case Not(part):
            return not meant(part, person)
        case Compare(attribute, "pr", _):
            return person[attribute] is not None
        case Compare("active", operator, value):
            return bool(person["active"] == value) == (operator == "eq")
        case Compare(attribute, operator, str(value)):
            has = person[attribute]
            if has is None:
                return operator == "ne"
            same = has == value if attribute == "externalid" else has.lower() == value.lower()
            has, value = has.lower(), value.lower()
            return bool(
                {
                    "eq": same,
                    "ne": not same,
                    "co": value in has,
                    "sw": has.startswith(value),
                    "ew": has.endswith(value),
                }[operator]
            )
    raise AssertionError(found)


def nesting(text: str) -> int:
    """How deep the brackets go."""
    return max(itertools.accumulate((c == "(") - (c == ")") for c in text))


@pytest.fixture
async def peopled(home: Home) -> Home:
    for person in PEOPLE:
        draft = Draft(person["username"], person["externalid"], person["displayname"], active=person["active"])
        await provisioning.create_person(home.database, home.workspace.id, draft)
    return home


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILTERS)
async def test_a_filter_finds_whom_it_means(peopled: Home, asked: Filter) -> None:
    text = written(asked)
    try:
        where = condition(parse(text), provisioned.PEOPLE)
    except Refused:
        assert (
            nesting(text) > MAX_DEPTH
            or text.count("(") + len(re.findall(r"\w (?:eq|ne|co|sw|ew|pr)", text)) > MAX_TERMS
        )
        return
    found, _, total = await provisioning.find_people(peopled.database, peopled.workspace.id, where, offset=0, limit=10)
    expected = [person["username"] for person in PEOPLE if meant(asked, person)]
    assert [json.loads(one.said or "")["username"] for one in found] == expected, text
    assert total == len(expected)
    compiled = where.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    assert "example" not in str(compiled)
    assert "ada" not in str(compiled)  # values are bound, never part of the text


PIECES = ["(", ")", "[", "]", "not", "and", "or", "eq", "pr", '"a"', '"', "\\", "emails", ".value", "1", "true", " "]


@settings(max_examples=200, deadline=500)
@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join))
def test_any_filter_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
        condition(found, provisioned.PEOPLE)
        condition(found, provisioned.GROUPS)
    except Refused as error:
        assert (error.status, error.code) == (400, "invalid_filter")


NAMES = ["value", "type", "primary", "givenName", "members", "emails", 'emails[type eq "work"].value', "active", "x"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.sampled_from(["a@b.c", "True", "usr_x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
_PATHS = st.sampled_from(
    ["userName", "active", "name", "name.givenName", "emails", "emails.value", 'emails[type eq "work"]', "members",
     "id", 'emails[type eq "work"].value', 'emails[not (value co "a")].primary', 'members[value eq "usr_x"]',
     "displayName", "externalId", "urn:x:y", "x[", ""]
)  # fmt: skip
_OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "Replace", "REMOVE"]), "value": _JSON}, optional={"path": _PATHS}
)


@settings(max_examples=200, deadline=500)
@given(st.lists(_OPERATION, min_size=1, max_size=4), _JSON)
def test_any_body_is_read_or_refused(sent: list[Any], whole: Any) -> None:
    body = whole if isinstance(whole, dict) else {}
    ways: list[Callable[[], list[Operation]]] = [lambda: operations({"Operations": sent}), lambda: assignments(body)]
    for read in ways:
        draft, change = Draft(username="bo"), Change()
        try:
            for operation in read():
                draft.apply(operation)
            draft.check()
            assert len(said(draft)) < 10_000
        except Refused as error:
            assert 400 <= error.status < 410
        try:
            for operation in read():
                change.apply(operation)
        except Refused as error:
            assert error.status == 400
        assert not change.come & change.go


def test_tokens_are_made_listed_and_revoked(state: Settings) -> None:
    made = run(state, "scim", "token", "create", "Entra ID", "--days", "30")
    assert made["url"] == "https://localhost:8443/scim/v2"
    assert made["token"].startswith("fhp_")
    there = run(state, "scim", "token", "create", "Okta", "--workspace", "Second")
    assert there["url"] == "https://second.example:8443/scim/v2"
    assert 364 * 86400 < there["expires_at"] - made["expires_at"] + 30 * 86400 < 366 * 86400
    listed = run(state, "scim", "token", "list")
    assert [(one["name"], one["revoked_at"], one["last_used_at"]) for one in listed] == [("Entra ID", None, None)]
    assert made["token"] not in json.dumps(listed)
    assert run(state, "key", "list") == []
    run(state, "key", "revoke", made["id"], code=1)
    run(state, "scim", "token", "revoke", there["id"], code=1)
    assert run(state, "scim", "token", "revoke", made["id"]) == {"revoked": made["id"]}
    run(state, "scim", "token", "revoke", made["id"], code=1)
    assert run(state, "scim", "token", "list")[0]["revoked_at"] is not None
    run(state, "scim", "token", "create", " ", code=1)
