"""Every dialect against its golden transcripts, and against whatever JSON may come."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.protocol import anthropic, openai, responses
from freehold.protocol.dialect import Bounds
from freehold.protocol.errors import Refused
from tests.protocol import golden


def test_the_transcripts_are_as_they_were() -> None:
    now = golden.rendered()
    assert {path.name for path in golden.FOLDER.glob("*.txt")} == set(now)
    for name, content in now.items():
        assert content == (golden.FOLDER / name).read_text(), name


_SCALARS = st.none() | st.booleans() | st.integers(-5, 5000) | st.floats(-1, 3) | st.text(max_size=5)
_NAMES = sorted(
    {*openai.CHAT_PARAMETERS, *anthropic.PARAMETERS, *responses.PARAMETERS, "role", "content", "type", "text"}
)
_ANY = st.recursive(
    _SCALARS | st.sampled_from(["user", "assistant", "tool", "message", "function", "text", "input_text", "auto"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses"])
@settings(max_examples=300, deadline=None)
@given(more=st.dictionaries(st.sampled_from(_NAMES), _ANY, max_size=5))
def test_whatever_comes_is_asked_or_refused(dialect: str, more: dict[str, Any]) -> None:
    base: dict[str, dict[str, Any]] = {
        "openai": {"messages": [{"role": "user", "content": "Hi"}]},
        "anthropic": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5},
        "responses": {"input": "Hi"},
    }
    body = json.dumps({"model": "m", **base[dialect], **more}).encode()
    try:
        if dialect == "responses":
            asked = responses.read(body, Bounds()).asked()
        else:
            asked = {"openai": openai.parse, "anthropic": anthropic.parse}[dialect](body, Bounds())
    except Refused as error:
        assert error.status == 400
        return
    assert asked.request.messages
    assert 1 <= (asked.request.max_tokens or 0) <= Bounds().max_tokens
    assert asked.capped(3)
