"""Strict JSON: the quick reading says what the slow one says, whatever bytes come."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.protocol import json as strict
from freehold.protocol.errors import Refused

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
_ODD = [b'"', b"\\", b":", b"{", b"}", b",", b"a", b"\\u", b"\xff", b"1", b'"a":1,', b"[", b"\x00"]


def said(read: Any, body: bytes) -> str:
    try:
        return repr(read(body))
    except Refused as error:
        return error.message


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text(max_size=3), _VALUES, max_size=4), st.data())
def test_the_quick_way_and_the_slow_way_agree(value: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass"))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from(_ODD))
    sent = bytes(body)
    assert said(lambda b: strict.parse_object(b, max_depth=4), sent) == said(lambda b: strict._read_slowly(b, 4), sent)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"a":1,"a":1}', "twice"),
        (b'{"x":{"a":1,"b":2,"a":3}}', "twice"),
        (b'{"\\u0061":1,"a":2}', "twice"),
        (b'{"a":[{"b":1,"b":1}]}', "twice"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested"),
        (b"[" * 100_000, "nested"),
        (b"[1]", "object"),
        (b'{"a":NaN}', "valid JSON"),
        (b'{"a":1}}', "valid JSON"),
        (b"", "valid JSON"),
        (b"\xef\xbb\xbf{}", "valid JSON"),
    ],
)
def test_what_is_refused(body: bytes, word: str) -> None:
    with pytest.raises(Refused) as caught:
        strict.parse_object(body, max_depth=64)
    assert word in caught.value.message


def test_marks_inside_texts_do_not_count() -> None:
    body = json.dumps({'a:"b': '{"x":1,"x":[[[[', "c": ["\\", ':"', "\\\\"]}).encode()
    assert strict.parse_object(body, max_depth=2) == json.loads(body)
