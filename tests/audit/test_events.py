"""What an event may carry: ids of ours, words of closed lists, counts and keyed hashes. No text, ever."""

import enum
import re
import types
import typing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.audit import events
from freehold.audit.events import Action, Digest, Entry, Event, Finding, Id, Keyed, KeyedHash, decode, encode, placed
from freehold.protocol.ids import new_id
from tests.audit.making import event

ALLOWED = (Id, KeyedHash, Digest)
TEXT_FIELDS = {
    name: kind
    for name, hint in typing.get_type_hints(Event).items()
    for kind in typing.get_args(hint)
    if kind in ALLOWED
}


def _parts(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) or (hint,)


@pytest.mark.parametrize(("name", "hint"), typing.get_type_hints(Event).items())
def test_no_field_can_hold_free_text(name: str, hint: object) -> None:
    for part in _parts(hint):
        closed = isinstance(part, type) and issubclass(part, enum.Enum)
        assert part in (int, types.NoneType, *ALLOWED) or closed, f"{name} could carry text"


def test_actions_are_subject_and_verb_and_explained() -> None:
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text()
    for action in Action:
        assert re.fullmatch(r"[a-z]+:[a-z-]+", action.value)
        assert f"`{action.value}`" in page, f"docs/audit.md does not tell what {action.value} is"


@given(st.sampled_from(sorted(TEXT_FIELDS)), st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_what_is_not_of_its_form_is_refused_and_not_quoted(name: str, value: str) -> None:
    form = {Id: r"[a-z]{1,8}_[\w-]{16}(-\d\d)?", KeyedHash: r"kh_[\w-]{22}", Digest: r"[0-9a-f]{64}"}[TEXT_FIELDS[name]]
    if re.fullmatch(form, value, re.ASCII):
        return
    with pytest.raises(ValueError) as caught:
        encode(Event(action=Action.KEY_CREATE, **{name: value}))  # type: ignore[arg-type]
    assert not value or len(value) < 3 or value not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"finding": "mario@example.com"},
        {"reason": "because I say so"},
        {"status": "200"},
        {"count": 1 << 60},
        {"count": True},
        {"count": 1.5},
        {"actor": b"usr_0123456789abcdef"},
        {"actor": "usr_0123456789abcdef\n"},
        {"digest": "A" * 64},
        {"email": "mario@example.com"},
    ],
)
def test_hostile_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        encode(Event(action=Action.KEY_CREATE, **wrong))  # type: ignore[arg-type]


def test_a_word_of_the_wrong_list_is_refused() -> None:
    with pytest.raises(ValueError):
        encode(Event(action=Finding.CARD))  # type: ignore[arg-type]


def test_ids_of_the_product_fit() -> None:
    for prefix in ("ws", "usr", "key", "ses", "exg", "eng", "grp", "tok"):
        encode(Event(action=Action.KEY_CREATE, actor=Id(new_id(prefix))))
    encode(Event(action=Action.RUNNER_START, runner=Id(f"{new_id('ws')}-07")))


def test_an_entry_reads_back_and_is_canonical() -> None:
    entry = placed(encode(event(7)), 12, 1_700_000_000_000)
    assert entry.startswith(b'{"sequence":12,"at":1700000000000,"action":"exchange:intent",')
    found = decode(entry)
    assert (found.sequence, found.count, found.action) == (12, 7, Action.EXCHANGE_INTENT)
    assert events.is_canonical(entry)
    assert not events.is_canonical(entry.replace(b",", b", ", 1))
    with pytest.raises(msgspec.ValidationError):
        decode(entry.replace(b"exchange:intent", b"exchange:secret"))


def test_keyed_hashes_say_nothing_without_the_key() -> None:
    one, other = Keyed(b"a" * 32), Keyed(b"b" * 32)
    assert one.hash("email", "Mario@Example.com ") == one.hash("email", "mario@example.com")
    assert len({one.hash("email", "x"), one.hash("name", "x"), other.hash("email", "x")}) == 3
    encode(Event(action=Action.SESSION_REFUSED, email=one.hash("email", "mario@example.com")))


def test_entries_have_exactly_two_fields_more() -> None:
    assert set(Entry.__struct_fields__) - set(Event.__struct_fields__) == {"sequence", "at"}
