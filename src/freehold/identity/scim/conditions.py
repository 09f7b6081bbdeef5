"""SCIM filters as conditions of a query. What a client sent becomes bound values and nothing else.

`storage.provisioned` says which attributes there are and what each is in the tables; an attribute that is not there is
refused, so that a client never takes "nobody" for an answer that was not looked for.
"""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, true

from freehold.identity.scim.filters import Both, Compare, Either, Filter, Not, Within, invalid_filter
from freehold.storage.provisioned import Attribute, Fixed, Flag, Held, Text


def condition(found: Filter, attributes: Mapping[str, Attribute], prefix: str = "") -> ColumnElement[bool]:
    """The condition that a filter means. Raises Refused 400 `invalid_filter`."""
    match found:
        case Both(parts):
            return and_(*(condition(part, attributes, prefix) for part in parts))
        case Either(parts):
            return or_(*(condition(part, attributes, prefix) for part in parts))
        case Not(part):
            return not_(func.coalesce(condition(part, attributes, prefix), false()))
        case Within(attribute, part) if not prefix:
            return condition(part, attributes, f"{attribute}.")
        case Compare(attribute, operator, value):
            meant = attributes.get(prefix + attribute)
            if meant is not None:
                return _compared(meant, operator, value)
    raise invalid_filter()


def _compared(meant: Attribute, operator: str, value: str | int | float | bool | None) -> ColumnElement[bool]:
    match meant:
        case Text() if value is None or isinstance(value, str):
            return _text(meant, operator, value)
        case Flag(expression) if operator == "pr":
            return true()
        case Flag(expression) if operator in ("eq", "ne") and str(value).lower() in ("true", "false"):
            wanted = (str(value).lower() == "true") == (operator == "eq")
            return expression if wanted else not_(expression)
        case Held(exists) if operator == "eq" and isinstance(value, str):
            return exists(value)
        case Fixed(known) if operator == "pr":
            return true()
        case Fixed(known) if operator in ("eq", "ne"):
            return true() if (str(known).lower() == str(value).lower()) == (operator == "eq") else false()
    raise invalid_filter()


def _text(meant: Text, operator: str, value: str | None) -> ColumnElement[bool]:
    column = meant.column
    if operator == "pr" or (operator == "ne" and value is None):
        return and_(column.is_not(None), column != "")
    if value is None:
        if operator == "eq":
            return column.is_(None)
        raise invalid_filter()
    if operator in ("eq", "ne"):
        same = {
            "exact": column == value,
            "lowered": column == value.lower(),
            "any": func.lower(column) == func.lower(value),
        }[meant.case]
        return same if operator == "eq" else or_(column.is_(None), not_(same))
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = {"co": f"%{escaped}%", "sw": f"{escaped}%", "ew": f"%{escaped}"}.get(operator)
    if pattern is None:
        raise invalid_filter()
    return func.lower(column).like(func.lower(pattern), escape="\\")
