"""A group as a provisioning client says it, and the net change of a body: who comes in, who goes, what it is called.

However many operations a body has, they are one `Change` before the database is asked, so that a push of thousands of
members is a few statements. The group's role is none of a client's business: it is neither read nor shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from freehold.identity.scim.filters import Compare, Either, Filter
from freehold.identity.scim.patch import Operation, invalid_value, text_of
from freehold.protocol.errors import Refused
from freehold.storage.groups import Group

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
_MAX_ID = 40


@dataclass
class Change:
    """`emptied`: who is not in `come` goes. `external_id` counts only if `identified`."""

    name: str | None = None
    identified: bool = False
    external_id: str | None = None
    emptied: bool = False
    come: set[str] = field(default_factory=set)
    go: set[str] = field(default_factory=set)

    def apply(self, operation: Operation) -> None:
        """Take an operation in; what is not ours passes without a trace. Raises Refused 400."""
        value = None if operation.op == "remove" else operation.value
        match operation.attribute:
            case "displayname":
                self.name = text_of(value, 100)
                if self.name is None:
                    raise invalid_value()
            case "externalid":
                self.identified, self.external_id = True, text_of(value, 200)
            case "members":
                self._members(operation)

    def _members(self, operation: Operation) -> None:
        if operation.sub not in (None, "value"):
            return
        if operation.where is not None:
            if operation.op != "remove":
                raise Refused("A member is added or removed, not changed.", code="invalid_path")
            self._leave(_named(operation.where))
            return
        ids = _ids(operation.value)
        if operation.op == "remove" and operation.value is not None:  # Entra ID names who goes in the value
            self._leave(ids)
            return
        if operation.op != "add":
            self.emptied, self.come, self.go = True, set(), set()
        self.come |= ids
        self.go -= ids

    def _leave(self, ids: set[str]) -> None:
        self.go |= ids
        self.come -= ids


def shown(group: Group, members: Sequence[str] | None, base: str) -> dict[str, Any]:
    """A group as JSON. `members` None: they were not asked for."""
    resource: dict[str, Any] = {
        "schemas": [SCHEMA],
        "id": group.id,
        "externalId": group.external_id,
        "displayName": group.name,
    }
    if members:
        resource["members"] = [
            {"value": user_id, "$ref": f"{base}/Users/{user_id}", "type": "User"} for user_id in members
        ]
    return {name: value for name, value in resource.items() if value is not None}


def _ids(value: Any) -> set[str]:
    if value is None:
        return set()
    found = set()
    for one in value if isinstance(value, list) else [value]:
        user_id = next((v for k, v in one.items() if k.lower() == "value"), None) if isinstance(one, dict) else one
        if not isinstance(user_id, str) or not 1 <= len(user_id) <= _MAX_ID or not user_id.isprintable():
            raise invalid_value()
        found.add(user_id)
    return found


def _named(where: Filter) -> set[str]:
    match where:
        case Compare("value", "eq", str(user_id)):
            return {user_id}
        case Either(parts):
            return {user_id for part in parts for user_id in _named(part)}
    raise Refused("Members are named by 'members[value eq \"ID\"]'.", code="invalid_path")
