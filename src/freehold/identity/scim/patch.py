"""PATCH bodies (RFC 7644, 3.5.2) as a list of operations on attributes, whatever dialect they were sent in.

Entra ID writes `Replace` with a capital letter, wraps single values in lists and puts paths into the names of a
path-less value; Okta sends the whole resource without a path. All become one operation per attribute here, so that
what reads them (`people`, `groups`) knows one form.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from freehold.identity.scim.filters import Filter, parse, plain
from freehold.protocol.errors import Refused

MAX_OPERATIONS, MAX_PATH = 1000, 2000
READ_ONLY = frozenset({"id", "meta", "groups"})

_NAME = re.compile(r"[A-Za-z$][A-Za-z0-9$_-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Operation:
    """`attribute` and `sub` are in lower case, without a core schema's prefix; `where` picks among several values."""

    op: Literal["add", "replace", "remove"]
    attribute: str
    where: Filter | None
    sub: str | None
    value: Any


def operations(body: Mapping[str, Any]) -> list[Operation]:
    """What a PATCH body asks for, in order. Raises Refused 400."""
    listed = member(body, "operations")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_OPERATIONS:
        raise Refused(f"A PATCH request has 1 to {MAX_OPERATIONS} operations in 'Operations'.", code="invalid_syntax")
    found = [operation for sent in listed for operation in _of(sent)]
    if len(found) > MAX_OPERATIONS:
        raise Refused(f"A PATCH request changes at most {MAX_OPERATIONS} attributes.", code="invalid_syntax")
    return found


def assignments(body: Mapping[str, Any]) -> list[Operation]:
    """What a whole resource (POST, PUT) says, as one `replace` an attribute. What only we set is left out."""
    return [
        Operation("replace", plain(name), None, None, value)
        for name, value in body.items()
        if plain(name) not in READ_ONLY | {"schemas"}
    ]


def member(body: Mapping[str, Any], name: str) -> Any:
    """The member of an object whose name is this one in any case (`name` in lower case); None: not there."""
    return next((value for key, value in body.items() if key.lower() == name), None)


def text_of(value: Any, longest: int) -> str | None:
    """A text of at most `longest` characters without the space around it; None for nothing. Raises Refused 400."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value.strip()) > longest or not value.isprintable():
        raise invalid_value()
    return value.strip() or None


def invalid_value() -> Refused:
    """A value of the wrong type, missing, or outside of its bounds."""
    return Refused("A required value is missing, or a value is not one that is taken here.", code="invalid_value")


def _of(sent: Any) -> Iterator[Operation]:
    if not isinstance(sent, dict):
        raise Refused("An operation is an object with 'op', 'path' and 'value'.", code="invalid_syntax")
    op, path, value = member(sent, "op"), member(sent, "path"), member(sent, "value")
    word = _word(op)
    if isinstance(path, str) and path:
        target = _target(path)
        if target.attribute in READ_ONLY:
            raise Refused("This attribute is not changed by a client.", code="immutable")
        yield Operation(word, target.attribute, target.where, target.sub, value)
    elif path not in (None, ""):
        raise _invalid_path()
    elif word == "remove":
        raise Refused("An operation 'remove' needs a path.", code="no_target")
    elif not isinstance(value, dict):
        raise invalid_value()
    else:
        for name, inner in value.items():
            target = _target(name)
            if target.attribute not in READ_ONLY:  # sent along with the rest of the resource
                yield Operation(word, target.attribute, target.where, target.sub, inner)


def _word(op: Any) -> Literal["add", "replace", "remove"]:
    match op.lower() if isinstance(op, str) else None:
        case "add" | "replace" | "remove" as word:
            return word
    raise Refused("An operation is 'add', 'replace' or 'remove'.", code="invalid_syntax")


@dataclass(frozen=True)
class _Target:
    attribute: str
    where: Filter | None
    sub: str | None


def _target(path: str) -> _Target:
    head, bracket, rest = path.strip().partition("[")
    inside, closed, tail = rest.rpartition("]")
    name = plain(head)
    if name.startswith("urn:"):  # an extension's attribute, or a whole extension; nothing of it is kept
        return _Target(name, None, None)
    attribute, _, dotted = name.partition(".")
    sub = tail.removeprefix(".") if tail.startswith(".") else ""
    names = [attribute, dotted or sub] if dotted or sub else [attribute]
    odd = (bracket and (not closed or dotted)) or (tail and not sub)
    if odd or len(path) > MAX_PATH or not all(_NAME.fullmatch(one) for one in names):
        raise _invalid_path()
    try:
        where = parse(inside) if bracket else None
    except Refused:
        raise _invalid_path() from None
    return _Target(attribute, where, (dotted or sub).lower() or None)


def _invalid_path() -> Refused:
    return Refused("The path of an operation is not valid.", code="invalid_path")
