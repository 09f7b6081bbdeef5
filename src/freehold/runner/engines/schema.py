"""Which JSON Schemas the embedded engine's grammar really follows, and the grammar for one that it does.

The engine lets an unsupported keyword pass in silence and then answers without any constraint, so nothing is left to
it: a schema is accepted only when every keyword in it is on this list and well-formed. Tool parameters are
descriptions more than promises; there `narrowed` drops what cannot be followed instead of refusing. A schema that no
value can meet is found by its answer only (`held`).
"""

import re
from typing import Any

import msgspec

_MOST_NODES = 2000
_DEEPEST = 32
_LONGEST_REPEAT = 10_000
_NOTES = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema", "$id", "$comment"}
)
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "definitions"})
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_PAIRS = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))
_ESCAPES = re.compile(r"\\(?![dDwWsSnrt.\-/\\^$|?*+()\[\]{}])")
_GROUPS = re.compile(r"(?<!\\)\(\?(?!:)")
_REPEATS = re.compile(r"\{(\d*),?(\d*)\}")


class Unsupported(ValueError):
    """The schema asks for what the grammar cannot hold."""


def grammar(schema: dict[str, Any]) -> str:
    """The engine's grammar for instances of `schema` without idle white space. Raises Unsupported."""
    Check(schema, strict=True).run()
    return _grammar(schema)


def loose_grammar(schema: dict[str, Any]) -> str:
    """The grammar for what can be held of `schema`. Raises Unsupported only when nothing sensible is left."""
    return _grammar(narrowed(schema))


def narrowed(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without the keywords that cannot be held. Raises Unsupported when it is malformed or too large."""
    result = Check(schema, strict=False).run()
    if not isinstance(result, dict):
        raise Unsupported
    return result


def _grammar(schema: dict[str, Any]) -> str:
    compact = {**schema, "x-guidance": {"whitespace_flexible": False}}
    return "%llguidance {}\nstart: %json " + msgspec.json.encode(compact).decode()


class Check:
    """One walk over a schema: refuses what is malformed, and drops or refuses what the grammar cannot hold."""

    def __init__(self, root: dict[str, Any], *, strict: bool) -> None:
        self._root = root
        self._strict = strict
        self._nodes = 0

    def run(self) -> Any:
        """The schema, possibly narrowed. Raises Unsupported."""
        return self._schema(self._root, 0)

    def _schema(self, node: Any, depth: int) -> Any:
        self._nodes += 1
        _require(depth <= _DEEPEST and self._nodes <= _MOST_NODES)
        if isinstance(node, bool):
            return node
        _require(isinstance(node, dict))
        kept = {name: self._keyword(name, value, depth) for name, value in node.items() if self._keeps(name, value)}
        for low, high in _PAIRS:
            _require(not (low in kept and high in kept) or kept[low] <= kept[high])
        return kept

    def _keeps(self, name: str, value: Any) -> bool:
        """May this keyword stay? Notes go silently; what cannot be held is refused when strict."""
        if name in _NOTES:
            return False
        known = (
            name in _NUMBERS | _COUNTS | _LISTS | _MAPS
            or name in ("type", "enum", "const", "items", "required", "additionalProperties", "$ref")
            or (name == "format" and isinstance(value, str) and value in _FORMATS)
            or (name == "pattern" and isinstance(value, str) and _plain_pattern(value))
        )
        if not known and self._strict:
            raise Unsupported
        return known

    def _keyword(self, name: str, value: Any, depth: int) -> Any:
        if name in _MAPS:
            _require(isinstance(value, dict))
            return {key: self._schema(item, depth + 1) for key, item in value.items()}
        if name in _LISTS:
            _require(isinstance(value, list) and value)
            return [self._schema(item, depth + 1) for item in value]
        if name in ("items", "additionalProperties"):
            return self._schema(value, depth + 1)
        if name == "$ref":
            self._resolves(value)
        elif name == "type":
            kinds = value if isinstance(value, list) else [value]
            _require(kinds and all(isinstance(kind, str) and kind in _TYPES for kind in kinds))
        elif name == "enum":
            _require(isinstance(value, list) and 0 < len(value) <= _MOST_NODES)
        elif name == "required":
            _require(isinstance(value, list) and all(isinstance(item, str) for item in value))
        elif name in _NUMBERS:
            _require(isinstance(value, int | float) and not isinstance(value, bool))
            _require(name != "multipleOf" or value > 0)
        elif name in _COUNTS:
            _require(isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LONGEST_REPEAT)
        return value

    def _resolves(self, reference: Any) -> None:
        _require(isinstance(reference, str) and reference.startswith("#/"))
        node: Any = self._root
        for step in reference[2:].split("/"):
            _require(isinstance(node, dict))
            name = step.replace("~1", "/").replace("~0", "~")
            _require(name in node)
            node = node[name]
        _require(isinstance(node, dict))


def _require(condition: Any) -> None:
    if not condition:
        raise Unsupported


def _plain_pattern(pattern: str) -> bool:
    """A regular expression that every dialect reads the same way, and of bounded size."""
    if len(pattern) > 500 or _ESCAPES.search(pattern) or _GROUPS.search(pattern):
        return False
    if any(int(number) > 1000 for pair in _REPEATS.findall(pattern) for number in pair if number):
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True
