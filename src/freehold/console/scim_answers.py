"""Bodies, questions and answers of the SCIM endpoints: `application/scim+json`, lists, attributes, errors.

Whatever a client asks by the query is bounded before it is looked at, and an error carries a fixed text and SCIM's word
for its kind.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from freehold.identity.scim.filters import plain
from freehold.identity.scim.patch import invalid_value
from freehold.identity.scim.schemas import DEFAULT_RESULTS, MAX_RESULTS
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.json import parse_object

MEDIA_TYPE = "application/scim+json"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
MAX_BODY, MAX_DEPTH, MAX_NAMES = 2 << 20, 12, 50

KINDS = {
    "invalid_filter": "invalidFilter",
    "invalid_path": "invalidPath",
    "invalid_syntax": "invalidSyntax",
    "invalid_json": "invalidSyntax",
    "invalid_value": "invalidValue",
    "name_invalid": "invalidValue",
    "email_invalid": "invalidValue",
    "no_target": "noTarget",
    "immutable": "mutability",
    "last_owner": "mutability",
    "taken": "uniqueness",
}
"""Our word for an error → SCIM's, where it has one."""

_ALWAYS = frozenset({"schemas", "id"})
_NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True)
class Question:
    """What of a resource is wanted, and of which ones. Names are in lower case."""

    filter: str
    attributes: frozenset[str]
    excluded: frozenset[str]

    @property
    def selective(self) -> bool:
        """Whether the client said what it wants to see."""
        return bool(self.attributes or self.excluded)

    def wants(self, name: str) -> bool:
        """Whether an attribute is to be shown, at least in part."""
        if self.attributes:
            return any(asked.partition(".")[0] == name for asked in self.attributes)
        return name not in self.excluded

    def of(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The part of a resource that is wanted."""
        if not self.selective:
            return resource
        return {
            name: value if name in _ALWAYS else self._part(name.lower(), value)
            for name, value in resource.items()
            if name in _ALWAYS or self.wants(name.lower())
        }

    def _part(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._part(name, one) for one in value]
        if not isinstance(value, dict) or name in self.attributes:
            return value
        if self.attributes:
            return {part: inner for part, inner in value.items() if f"{name}.{part}".lower() in self.attributes}
        return {part: inner for part, inner in value.items() if f"{name}.{part}".lower() not in self.excluded}


@dataclass(frozen=True)
class Page:
    """`start` counts from 1."""

    start: int
    count: int


async def read(request: Request) -> dict[str, Any]:
    """The request's body. Raises Refused 400, 413, 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (MEDIA_TYPE, "application/json"):
        raise Refused(f"The content type must be {MEDIA_TYPE}.", status=415, code="content_type")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise Refused("The request body is too large.", status=413, code="body_too_large")
        parts.append(part)
    return parse_object(b"".join(parts), max_depth=MAX_DEPTH)


def question_of(request: Request) -> Question:
    """What the query asks for. Raises Refused 400."""
    return Question(_one(request, "filter"), _names(request, "attributes"), _names(request, "excludedAttributes"))


def page_of(request: Request) -> Page:
    """Which part of a list is asked for; what is out of bounds becomes the nearest that is not."""
    start, count = _number(request, "startIndex", 1), _number(request, "count", DEFAULT_RESULTS)
    return Page(max(1, start), min(max(0, count), MAX_RESULTS))


def with_meta(resource: dict[str, Any], kind: str, created_at: float, location: str) -> dict[str, Any]:
    """A resource with its `meta`."""
    created = datetime.fromtimestamp(created_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**resource, "meta": {"resourceType": kind, "created": created, "location": location}}


def listing(resources: Sequence[dict[str, Any]], total: int, start: int) -> dict[str, Any]:
    """A list answer."""
    return {
        "schemas": [LIST],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }


def answer(value: Any, status: int = 200, *, location: str | None = None) -> Response:
    """A SCIM answer."""
    headers = {"location": location} if location is not None else None
    return Response(msgspec.json.encode(value), status, headers, media_type=MEDIA_TYPE)


def refused(error: Refused | Unavailable) -> Response:
    """An error in SCIM's shape (RFC 7644, 3.12)."""
    body = {"schemas": [ERROR], "status": str(error.status), "detail": error.message}
    if (kind := KINDS.get(error.code or "")) is not None:
        body["scimType"] = kind
    response = answer(body, error.status)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["retry-after"] = str(max(1, round(error.retry_after)))
    return response


def _one(request: Request, name: str) -> str:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise invalid_value()
    return values[0] if values else ""


def _names(request: Request, name: str) -> frozenset[str]:
    names = [plain(part.strip()) for part in _one(request, name).split(",", MAX_NAMES) if part.strip()]
    if len(names) > MAX_NAMES:
        raise invalid_value()
    return frozenset(names)


def _number(request: Request, name: str, default: int) -> int:
    text = _one(request, name)
    if text and not _NUMBER.fullmatch(text):
        raise invalid_value()
    return int(text) if text else default
