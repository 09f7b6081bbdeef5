"""A person as a provisioning client says it: read from POST, PUT and PATCH bodies, kept as JSON, shown again.

What the client may say is `Draft`; everything else that it sends (a password, a role, the enterprise extension) is
taken and dropped. From a draft come the account's name and address; the draft itself is kept, so that the client reads
back what it wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from freehold.identity import accounts
from freehold.identity.scim.filters import Both, Compare, Filter, holds
from freehold.identity.scim.patch import Operation, invalid_value, text_of
from freehold.protocol.errors import Refused
from freehold.storage.provisioned import Person

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
MAX_EMAILS = 10
_TEXTS = {"username": 254, "externalid": 200, "displayname": 100}
_NAME = {"formatted": "formatted", "givenname": "givenName", "familyname": "familyName"}


class Email(msgspec.Struct, omit_defaults=True):
    """One address."""

    value: str
    type: str | None = None
    primary: bool | None = None


class Draft(msgspec.Struct, omit_defaults=True):
    """What a client says of a person. `active` None: nothing said of it."""

    username: str = ""
    externalid: str | None = None
    displayname: str | None = None
    name: dict[str, str] = {}
    emails: list[Email] = []
    active: bool | None = None

    def apply(self, operation: Operation) -> None:
        """Change what the operation says; what is not ours passes without a trace. Raises Refused 400."""
        value = None if operation.op == "remove" else operation.value
        match operation.attribute:
            case "username" | "externalid" | "displayname" as field:
                setattr(self, field, text_of(_single(value), _TEXTS[field]) or ("" if field == "username" else None))
            case "active":
                if operation.op == "remove":
                    raise Refused("Say of an account that it is active or not.", code="immutable")
                self.active = _flag(_single(value))
            case "name":
                self._name(operation, _single(value))
            case "emails":
                self._emails(operation, value)

    def check(self) -> None:
        """Raise Refused 400 for what cannot be an account."""
        if not self.username or len(self.emails) > MAX_EMAILS:
            raise invalid_value()
        if sum(email.primary is True for email in self.emails) > 1:
            raise invalid_value()
        if self.address is not None:
            accounts.checked_email(self.address)

    @property
    def address(self) -> str | None:
        """The account's e-mail address: the primary one, else the one for work, else the first, else the user name."""
        ranked = sorted(self.emails, key=lambda email: (not email.primary, email.type != "work"))
        if ranked:
            return ranked[0].value
        try:
            return accounts.checked_email(self.username)
        except Refused:
            return None

    @property
    def called(self) -> str:
        """The account's name."""
        parts = " ".join(filter(None, (self.name.get("givenName"), self.name.get("familyName"))))
        return (self.displayname or self.name.get("formatted") or parts or self.username)[:100].strip()

    def _name(self, operation: Operation, value: Any) -> None:
        if operation.sub is not None:
            value = {operation.sub: value}
        elif operation.op != "add":
            self.name = {}
        if value is None:
            return
        if not isinstance(value, dict):
            raise invalid_value()
        for key, part in value.items():
            field = _NAME.get(key.lower())
            if field is None:
                continue
            text = text_of(part, 100)
            if text:
                self.name = {**self.name, field: text}
            else:
                self.name = {name: kept for name, kept in self.name.items() if name != field}

    def _emails(self, operation: Operation, value: Any) -> None:
        if operation.where is not None or operation.sub is not None:
            self._some_emails(operation, value)
        elif operation.op == "remove":
            given = operation.value is not None
            leaving = {email.value for email in _addresses(operation.value)}
            self.emails = [email for email in self.emails if given and email.value not in leaving]
        elif operation.op == "replace":
            self.emails = _addresses(value)
        else:
            self._add(_addresses(value))

    def _some_emails(self, operation: Operation, value: Any) -> None:
        meant = [one for one in self.emails if operation.where is None or holds(operation.where, _plain(one))]
        if operation.op == "remove" and operation.sub in (None, "value"):
            self.emails = [email for email in self.emails if email not in meant]
            return
        said = _single(value) if operation.sub is None else {operation.sub: _single(value)}
        if not isinstance(said, dict):
            raise invalid_value()
        if not meant:  # Entra ID replaces the address of somebody who has none
            if operation.op == "remove":
                return
            self._add(_addresses([{**_constraints(operation.where), **said}]))
            return
        changed = [_email({**_plain(email), **{k.lower(): v for k, v in said.items()}}) for email in meant]
        self.emails = [email for email in self.emails if email not in meant]
        self._add(changed)

    def _add(self, more: Sequence[Email]) -> None:
        new = {email.value.lower() for email in more}
        kept = [email for email in self.emails if email.value.lower() not in new]
        if any(email.primary for email in more):
            for email in kept:
                email.primary = False if email.primary else email.primary
        self.emails = [*kept, *more]


def draft_of(person: Person) -> Draft:
    """What the client said of an account; for one that none has touched, what it would say."""
    user = person.user
    if person.said is not None:
        draft = msgspec.json.decode(person.said, type=Draft)
    else:
        emails = [Email(user.email, "work", True)] if user.email else []
        draft = Draft(username=user.email or user.id, displayname=user.name, emails=emails)
    draft.externalid = user.external_id
    draft.active = user.disabled_at is None
    return draft


def said(draft: Draft) -> str:
    """A draft as it is kept; what the account itself says is left out."""
    return msgspec.json.encode(msgspec.structs.replace(draft, externalid=None, active=None)).decode()


def shown(person: Person, groups: Sequence[tuple[str, str]], base: str) -> dict[str, Any]:
    """A person as JSON. `groups`: ids and names; `base`: the address of the endpoint."""
    draft, user = draft_of(person), person.user
    resource: dict[str, Any] = {
        "schemas": [SCHEMA],
        "id": user.id,
        "externalId": draft.externalid,
        "userName": draft.username,
        "displayName": draft.displayname,
        "name": draft.name or None,
        "emails": msgspec.to_builtins(draft.emails) or None,
        "active": draft.active,
        "groups": [
            {"value": group_id, "display": name, "$ref": f"{base}/Groups/{group_id}", "type": "direct"}
            for group_id, name in groups
        ]
        or None,
    }
    return {name: value for name, value in resource.items() if value is not None}


def _single(value: Any) -> Any:
    """The value of a single-valued attribute, which some clients wrap in a list of one `{"value": …}`."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return value[0].get("value", value[0])
    return value


def _flag(value: Any) -> bool | None:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is None or isinstance(value, bool):
        return value
    raise invalid_value()


def _addresses(value: Any) -> list[Email]:
    if value is None:
        return []
    listed = value if isinstance(value, list) else [value]
    if len(listed) > MAX_EMAILS:
        raise invalid_value()
    found = [_email({k.lower(): v for k, v in one.items()}) if isinstance(one, dict) else None for one in listed]
    if not all(found):
        raise invalid_value()
    return [email for email in found if email is not None]


def _email(value: Mapping[str, Any]) -> Email:
    address = text_of(value.get("value"), 254)
    if address is None:
        raise invalid_value()
    return Email(address, text_of(value.get("type"), 40), _flag(value.get("primary")))


def _plain(email: Email) -> dict[str, Any]:
    return {"value": email.value, "type": email.type, "primary": email.primary}


def _constraints(where: Filter | None) -> dict[str, Any]:
    """What a new value must be to be the one that a filter means: its equalities."""
    match where:
        case Compare(attribute, "eq", value):
            return {attribute: value}
        case Both(parts):
            return {key: value for part in parts for key, value in _constraints(part).items()}
    return {}
