"""Secrets: recognisable, checked, never guessable from a part."""

from hypothesis import given
from hypothesis import strategies as st

from freehold.protocol.ids import new_id, new_secret, secret_kind


def test_secrets_are_distinct_and_recognised() -> None:
    made = {new_secret("fh") for _ in range(1000)}
    assert len(made) == 1000
    assert all(secret_kind(secret) == "fh" for secret in made)
    assert secret_kind(new_secret("fhs")) == "fhs"


@given(st.integers(3, 51), st.sampled_from("abcXYZ019-_"))
def test_a_changed_character_is_noticed(position: int, letter: str) -> None:
    secret = new_secret("fh")
    changed = secret[:position] + letter + secret[position + 1 :]
    assert (secret_kind(changed) is None) == (changed != secret)


@given(st.text())
def test_any_text_is_judged_without_error(text: str) -> None:
    assert secret_kind(text) in (None, "fh", "fhs", "fhc")


def test_the_prefix_is_part_of_the_check() -> None:
    assert secret_kind(new_secret("fh").replace("fh_", "fhs_")) is None


def test_ids_are_distinct() -> None:
    assert len({new_id("exg") for _ in range(1000)}) == 1000
