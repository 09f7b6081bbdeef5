"""The strict reader of JSON, beside the standard library's: what it takes means the same there, no name comes twice."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from freehold.protocol.errors import Refused
from freehold.protocol.json import parse_object
from tests.fuzz.bodies import encoded
from tests.fuzz.target import Target

_DEPTH = 8


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def _never(_: str) -> NoReturn:
    raise AssertionError("not a number of JSON")


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


def run(data: bytes) -> None:
    """Read, and compare what was read."""
    try:
        read = parse_object(data, max_depth=_DEPTH)
    except Refused as error:
        assert error.status == 400
        return
    said = json.loads(data, object_pairs_hook=_once, parse_constant=_never)
    assert repr(said) == repr(read)
    assert _depth(read) <= _DEPTH
    json.dumps(read, ensure_ascii=False).encode()


def seeds() -> Iterator[bytes]:
    """Objects of each kind of value, some of them not quite."""
    yield from encoded(
        {"a": [1, -2.5e3, True, None, 'ä\\"\u2028\U0001f600'], "b": {"c": {"d": []}}},
        {"": {"a": {}, "b": [[], [[]]]}},
        {},
    )
    yield b'{"a":1,"a":2}'
    yield b'{"\\u0061":1,"a":2,"\\ud83d\\ude00":"\\ud800"}'
    yield b'{"a":NaN,"b":1e999,"c":-0}'
    yield b"\xef\xbb\xbf{}"


TARGET = Target(run, seeds)
