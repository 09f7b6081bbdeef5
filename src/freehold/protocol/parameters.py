"""What the dialects' parsers share: which parameters are understood, ignored or refused, and errors in our own words.

Error texts name only parameters of a dialect's tables, never what the client sent (BAR-7).
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from freehold.protocol.errors import Refused

T = TypeVar("T")


class Table(msgspec.Struct, frozen=True):
    """The parameters of a dialect that its structs do not have. One that is in neither set is refused too.

    `ignored` cannot change the answer. `refused` would, and cannot be honoured: a clear 400, unless null or one of its
    `neutral` values.
    """

    ignored: frozenset[str]
    refused: frozenset[str]
    neutral: Mapping[str, tuple[Any, ...]] = {}

    def convert(self, sent: dict[str, Any], kind: type[T]) -> T:
        """What was sent as `kind`. Raises Refused 400."""
        known = kind.__struct_fields__  # type: ignore[attr-defined]
        for name, value in sent.items():
            if name in known or name in self.ignored or value is None:
                continue
            if name not in self.refused:
                raise Refused(
                    f"The request has a parameter that this API does not know. Known here: {', '.join(known)}.",
                    code="unknown_parameter",
                )
            if value not in self.neutral.get(name, ()):
                raise Refused(
                    f"The parameter '{name}' is not offered. Leave it out.", code="unsupported_parameter", param=name
                )
        try:
            return msgspec.convert(sent, kind, strict=True)
        except msgspec.ValidationError as error:
            raise _invalid(str(error)) from None


def check_ranges(sent: msgspec.Struct, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise Refused 400 for a number that does not lie in its range."""
    for name, (low, high) in ranges.items():
        value = getattr(sent, name)
        if value is not None and not low <= value <= high:
            raise wrong(name, f"It must lie between {low} and {high}.")


def wrong(name: str, hint: str) -> Refused:
    """A parameter with a value that cannot be."""
    return Refused(f"The parameter '{name}' has a wrong value. {hint}", code="invalid_parameter", param=name)


def encode(value: msgspec.Struct) -> bytes:
    """A request as the runner reads it. Raises Refused 400 for a text that is not Unicode."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise Refused("The request body has a text that is not valid Unicode.", code="invalid_json") from None


_WHERE = re.compile(r" - at `\$\.?([A-Za-z_.\[\]0-9]*)`$")
_EXPECTED = re.compile(r"^Expected `([a-z_ |]+)`")


def _invalid(text: str) -> Refused:
    """msgspec's finding in our own words: the path holds names of our tables only, values are left out."""
    where, expected = _WHERE.search(text), _EXPECTED.match(text)
    path = where.group(1) if where else ""
    if missing := re.match(r"Object missing required field `([a-z_]+)`", text):
        name = f"{path}.{missing.group(1)}".lstrip(".")
        return Refused(f"The parameter '{name}' is missing.", code="missing_parameter", param=name)
    hint = f" It must be of type {expected.group(1)}." if expected else ""
    if path.startswith("messages") and "content" in path:
        hint = hint or " Only text parts are understood."
    return Refused(
        f"The parameter '{path or 'body'}' has a wrong type or value.{hint}", code="invalid_parameter", param=path
    )
