"""What the SCIM endpoints say of themselves: configuration, resource types, schemas (RFC 7643, 5 to 7).

Only what is kept is in the schemas. A password is not: accounts that are provisioned sign in by a provider or a
passkey, and what a client sends as one is dropped unread.
"""

from typing import Any

from freehold.identity.scim import groups, people

MAX_RESULTS, DEFAULT_RESULTS = 200, 100
"""The most resources of one page, and how many there are when nothing is asked for."""

_CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"


def configuration(base: str) -> dict[str, Any]:
    """`/ServiceProviderConfig`."""
    return {
        "schemas": [_CONFIG],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MAX_RESULTS},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A token that 'freehold scim token create' makes.",
                "primary": True,
            }
        ],
        "meta": _meta("ServiceProviderConfig", f"{base}/ServiceProviderConfig"),
    }


def resource_types(base: str) -> list[dict[str, Any]]:
    """`/ResourceTypes`."""
    return [
        {
            "schemas": [_TYPE],
            "id": name,
            "name": name,
            "endpoint": f"/{name}s",
            "schema": schema,
            "schemaExtensions": [],
            "meta": _meta("ResourceType", f"{base}/ResourceTypes/{name}"),
        }
        for name, schema in (("User", people.SCHEMA), ("Group", groups.SCHEMA))
    ]


def schemas(base: str) -> list[dict[str, Any]]:
    """`/Schemas`."""
    return [
        {
            "schemas": [_SCHEMA],
            "id": schema,
            "name": name,
            "description": description,
            "attributes": attributes,
            "meta": _meta("Schema", f"{base}/Schemas/{schema}"),
        }
        for name, schema, description, attributes in (
            ("User", people.SCHEMA, "A person with an account.", _USER),
            ("Group", groups.SCHEMA, "A group of people.", _GROUP),
        )
    ]


def _meta(kind: str, location: str) -> dict[str, str]:
    return {"resourceType": kind, "location": location}


def _attribute(
    name: str,
    description: str,
    *,
    kind: str = "string",
    parts: list[dict[str, Any]] | None = None,
    many: bool = False,
    required: bool = False,
    exact: bool = False,
    mutability: str = "readWrite",
    unique: bool = False,
    refers: list[str] | None = None,
    only: str | None = None,
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name,
        "type": "complex" if parts else kind,
        "multiValued": many,
        "description": description,
        "required": required,
        "mutability": mutability,
        "returned": "default",
    }
    if parts:
        made["subAttributes"] = parts
    elif kind in ("string", "reference"):
        made["caseExact"] = exact
        made["uniqueness"] = "server" if unique else "none"
    if refers:
        made["referenceTypes"] = refers
    if only:
        made["canonicalValues"] = [only]
    return made


_USER = [
    _attribute("userName", "What the client calls the account.", required=True, unique=True),
    _attribute("displayName", "The person's name as it is shown."),
    _attribute(
        "name",
        "The person's name in parts.",
        parts=[
            _attribute("formatted", "The whole name."),
            _attribute("givenName", "The given name."),
            _attribute("familyName", "The family name."),
        ],
    ),
    _attribute(
        "emails",
        "Addresses; the primary one is the account's.",
        many=True,
        parts=[
            _attribute("value", "The address."),
            _attribute("type", "What it is for, such as 'work'."),
            _attribute("primary", "Whether it is the account's.", kind="boolean"),
        ],
    ),
    _attribute("active", "Whether the account can be used.", kind="boolean"),
    _attribute(
        "groups",
        "The pushed groups that the person is in.",
        many=True,
        mutability="readOnly",
        parts=[
            _attribute("value", "The group's id.", exact=True, mutability="readOnly"),
            _attribute("$ref", "The group.", kind="reference", exact=True, mutability="readOnly", refers=["Group"]),
            _attribute("display", "The group's name.", mutability="readOnly"),
            _attribute("type", "How the person is in it.", mutability="readOnly", only="direct"),
        ],
    ),
]

_GROUP = [
    _attribute("displayName", "The group's name.", required=True, unique=True),
    _attribute(
        "members",
        "Who is in the group.",
        many=True,
        parts=[
            _attribute("value", "The person's id.", exact=True, mutability="immutable"),
            _attribute("$ref", "The person.", kind="reference", exact=True, mutability="immutable", refers=["User"]),
            _attribute("type", "What a member is.", mutability="immutable", only="User"),
        ],
    ),
]
