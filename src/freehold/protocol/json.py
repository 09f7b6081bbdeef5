"""Strict JSON for what strangers send: bounded depth, no duplicate names, no NaN, no lone surrogates (BAR-11)."""

import json
from typing import Any, NoReturn

from freehold.protocol.errors import Refused


def parse_object(body: bytes, *, max_depth: int) -> dict[str, Any]:
    """The JSON object in `body`. Raises Refused 400 with a fixed text for anything else."""
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        deep = _deeper_than(value, max_depth)
    except RecursionError:
        deep = True
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
