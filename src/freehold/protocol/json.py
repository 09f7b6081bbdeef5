"""Strict JSON for what strangers send: bounded depth and count, no name twice, no NaN, no lone surrogates (BAR-11).

The count is bounded before anything is built: three bytes of text can become a hundred bytes of objects.
"""

import json
import re
from typing import Any, NoReturn

import msgspec

from freehold.protocol.errors import Refused


def parse_object(body: bytes, *, max_depth: int) -> dict[str, Any]:
    """The JSON object in `body`. Raises Refused 400 with a fixed text for anything else.

    What is well-formed is read by msgspec, and the names in the text are counted to know that none came twice; only
    what this finds odd is read again, slowly, to say what is wrong.
    """
    marks = _marks(body)
    try:
        quick = _decoder.decode(body)
        shallow = marks.count(b"{") + marks.count(b"[") <= max_depth
        if isinstance(quick, dict) and shallow and _names(quick) == marks.count(b":"):
            return quick
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return _read_slowly(body, max_depth)


_decoder = msgspec.json.Decoder()
_STRING = re.compile(rb'"[^"]*"')
_MOST = 50_000  # values of one body: members, items, strings


def _marks(body: bytes) -> bytes:
    """The body without its strings. Raises Refused 400 when it holds more values than any request needs."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    if plain.count(b'"') <= 2 * _MOST:
        marks = _STRING.sub(b"", plain)
        if marks.count(b",") + marks.count(b"}") + marks.count(b"]") <= _MOST:
            return marks
    raise _malformed("The request body holds too many values.")


def _names(value: dict[str, Any] | list[Any]) -> int:
    """How many members all objects in it have together."""
    count = len(value) if isinstance(value, dict) else 0
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict) or isinstance(item, list):  # noqa: SIM101 - half the cost of a tuple
            count += _names(item)
    return count


def _read_slowly(body: bytes, max_depth: int) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        deep = _deeper_than(value, max_depth)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        deep = True
    except UnicodeEncodeError:  # half of a surrogate pair, which this reader takes and nothing can store or pass on
        raise _malformed("The request body has a text that is not valid Unicode.") from None
    except ValueError:
        raise _malformed("The request body is not valid JSON.") from None
    if deep:
        raise _malformed(f"The request body is nested more than {max_depth} levels deep.")
    if not isinstance(value, dict):
        raise _malformed("The request body must be a JSON object.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _malformed("The request body names a member twice.")
    return result


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _deeper_than(value: Any, left: int) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(
            _deeper_than(item, left - 1) for item in value.values() if isinstance(item, dict | list)
        )
    if isinstance(value, list):
        return left == 0 or any(_deeper_than(item, left - 1) for item in value if isinstance(item, dict | list))
    return False


def _malformed(message: str) -> Refused:
    return Refused(message, code="invalid_json")
