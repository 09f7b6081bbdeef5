"""What the page sends, as closed types, and answers as JSON."""

from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from freehold.identity.passkeys import Assertion, Registration
from freehold.protocol.errors import Refused
from freehold.protocol.json import parse_object

T = TypeVar("T", bound=msgspec.Struct)

_LIMIT = 256 << 10


class Claim(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/claim`."""

    token: str
    name: str
    email: str
    password: str


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/sign-in`."""

    email: str
    password: str


class Title(msgspec.Struct, forbid_unknown_fields=True):
    """`PATCH /api/conversations/{id}`."""

    title: str


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/conversations/{id}/messages`: a question, or `regenerate` for another answer to the last one."""

    assistant: str
    content: str = ""
    regenerate: bool = False


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/keys`, and a service's. Empty rules mean: for everything, from anywhere, for ever."""

    name: str
    scopes: list[str] = []
    assistants: list[str] = []
    sources: list[str] = []
    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None


class Code(msgspec.Struct, forbid_unknown_fields=True):
    """A code of an authenticator app, or a recovery code."""

    code: str


class Token(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/join/look`."""

    token: str


class Join(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/join`."""

    token: str
    name: str
    password: str


class Password(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/account/confirm`."""

    password: str


class NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/account/password`. `current` is not looked at where there is no password yet."""

    password: str
    current: str = ""


class PasskeySignIn(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/sign-in/passkey`."""

    credential: Assertion


class NewPasskey(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/passkeys`."""

    name: str
    credential: Registration


class Name(msgspec.Struct, forbid_unknown_fields=True):
    """A new name of a passkey, or the name of a new service account."""

    name: str


class PersonChange(msgspec.Struct, forbid_unknown_fields=True):
    """`PATCH /api/people/{id}`: what is to change."""

    name: str | None = None
    role: str | None = None
    disabled: bool | None = None


class Invitation(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/invitations`."""

    email: str
    role: str = "member"


class GroupBody(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/groups` and `PATCH /api/groups/{id}`."""

    name: str
    role: str | None = None


class Member(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /api/groups/{id}/members`."""

    person: str


async def read(request: Request, kind: type[T]) -> T:
    """The request's body as `kind`. Raises Refused 400 or 413."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LIMIT:
            raise Refused("The request body is too large.", status=413, code="body_too_large")
        parts.append(part)
    try:
        return msgspec.convert(parse_object(b"".join(parts), max_depth=8), kind)
    except msgspec.ValidationError:
        names = ", ".join(kind.__struct_fields__)
        raise Refused(f"The request body must have exactly these members: {names}.", code="invalid_body") from None


def reply(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
