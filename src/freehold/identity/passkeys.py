"""Passkeys (WebAuthn level 3), over the fido2 package: registration and sign-in, as pure verification plus storage.

The relying party is the host name that the browser shows, without the port; the origin must be the page's own. A
passkey is discoverable, so sign-in asks for no address, and always verifies the person (PIN, finger, face): it counts
as two factors. Challenges are the caller's: one use, a few minutes. Attestation is not asked for.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.server import Fido2Server
from fido2.webauthn import (
    Aaguid,
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from sqlalchemy.exc import IntegrityError

from freehold.audit.events import Action, Method
from freehold.audit.trail import written
from freehold.identity.accounts import checked_name
from freehold.protocol.errors import Refused
from freehold.storage import factors, users
from freehold.storage.engine import Database

MOST_PASSKEYS = 20
_ALGORITHMS = (-7, -8, -257)  # ES256, EdDSA, RS256
_MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    AssertionError,
    OverflowError,
    RecursionError,
    struct.error,
    UnsupportedAlgorithm,
)
"""What the parsing of hostile bytes raises in fido2 and below."""

State = Mapping[str, Any]
"""What a challenge is checked against; kept by the caller between the two requests of a ceremony."""


class Made(msgspec.Struct, frozen=True):
    """The authenticator's part of a registration, base64url."""

    clientDataJSON: str
    attestationObject: str


class Signed(msgspec.Struct, frozen=True):
    """The authenticator's part of a sign-in, base64url."""

    clientDataJSON: str
    authenticatorData: str
    signature: str
    userHandle: str | None = None


class Registration(msgspec.Struct, frozen=True):
    """`PublicKeyCredential.toJSON()` after `create`, of it what is needed."""

    id: str
    response: Made


class Assertion(msgspec.Struct, frozen=True):
    """`PublicKeyCredential.toJSON()` after `get`, of it what is needed."""

    id: str
    response: Signed


@dataclass(frozen=True)
class Site:
    """Where a ceremony takes place: the host name without a port, the page's origin, the workspace's name."""

    host: str
    origin: str
    title: str

    def server(self) -> Fido2Server:
        """The relying party."""
        made = Fido2Server(
            PublicKeyCredentialRpEntity(name=self.title, id=self.host),
            attestation=AttestationConveyancePreference.NONE,
            verify_origin=lambda origin: origin == self.origin,
        )
        made.allowed_algorithms = [
            PublicKeyCredentialParameters(type=PublicKeyCredentialType.PUBLIC_KEY, alg=alg) for alg in _ALGORITHMS
        ]
        return made


async def begin_registration(database: Database, site: Site, user: users.User) -> tuple[dict[str, Any], State]:
    """The options for the browser, and the state to keep. Raises Refused 409 when there are too many."""
    async with database.read() as connection:
        present = await factors.passkeys_of(connection, user.id)
    if len(present) >= MOST_PASSKEYS:
        raise Refused(f"There are {MOST_PASSKEYS} passkeys already.", status=409, code="too_many_passkeys")
    options, state = site.server().register_begin(
        PublicKeyCredentialUserEntity(id=user.id.encode(), name=user.email or user.name, display_name=user.name),
        [PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=p.credential) for p in present],
        resident_key_requirement=ResidentKeyRequirement.REQUIRED,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return dict(options.public_key), state


async def register(
    database: Database, site: Site, user: users.User, state: State, answer: Registration, name: str
) -> factors.Passkey:
    """Remember the passkey that the browser made. Raises Refused 400 when its proof does not hold."""
    name = checked_name(name)
    told = {**_told(answer), "response": msgspec.to_builtins(answer.response)}
    try:
        found = site.server().register_complete(state, told)
        made = found.credential_data
        if made is None or made.public_key.get(3) not in _ALGORITHMS or not 16 <= len(made.credential_id) <= 1023:
            raise _not_made()
    except _MALFORMED:
        raise _not_made() from None
    async with written(database) as (connection, tell):
        try:
            passkey = await factors.add_passkey(
                connection,
                user.id,
                credential=made.credential_id,
                public_key=bytes(made),
                sign_count=found.counter,
                name=name,
            )
        except IntegrityError:
            raise _not_made() from None
        tell(Action.FACTOR_ADD, subject=user.id, other=passkey.id, method=Method.PASSKEY)
        return passkey


def begin_sign_in(site: Site) -> tuple[dict[str, Any], State]:
    """The options for the browser, and the state to keep. The same for everybody."""
    options, state = site.server().authenticate_begin(user_verification=UserVerificationRequirement.REQUIRED)
    return dict(options.public_key), state


async def sign_in(database: Database, site: Site, workspace_id: str, state: State, answer: Assertion) -> users.User:
    """The person whose passkey signed. Raises Refused 401, the same for every reason."""
    told = {**_told(answer), "response": _without_none(msgspec.to_builtins(answer.response))}
    try:
        parsed = AuthenticationResponse.from_dict(told)
    except _MALFORMED:
        raise sign_in_failed() from None
    async with database.read() as connection:
        passkey = await factors.passkey_by_credential(connection, workspace_id, parsed.raw_id)
        user = await users.get(connection, passkey.user_id if passkey is not None else "")
    try:
        known = AttestedCredentialData(passkey.public_key) if passkey is not None else _nobody(parsed.raw_id)
        site.server().authenticate_complete(state, [known], told)
    except _MALFORMED:
        raise sign_in_failed() from None
    if passkey is None or user is None or user.disabled_at is not None:
        raise sign_in_failed()
    if parsed.response.user_handle not in (None, user.id.encode()):
        raise sign_in_failed()
    count = parsed.response.authenticator_data.counter
    if (count or passkey.sign_count) and count <= passkey.sign_count:
        raise sign_in_failed()  # a copy of the authenticator was used
    async with database.write() as connection:
        if not await factors.passkey_used(connection, passkey, count):
            raise sign_in_failed()
    return user


async def rename(database: Database, user_id: str, passkey_id: str, name: str) -> None:
    """Rename one of a person's passkeys. Raises Refused 400, 404."""
    name = checked_name(name)
    async with database.write() as connection:
        if not await factors.rename_passkey(connection, user_id, passkey_id, name):
            raise _no_passkey()


async def remove(database: Database, user_id: str, passkey_id: str) -> None:
    """Forget one of a person's passkeys. Raises Refused 404."""
    async with written(database) as (connection, tell):
        if not await factors.remove_passkey(connection, user_id, passkey_id):
            raise _no_passkey()
        tell(Action.FACTOR_REMOVE, subject=user_id, other=passkey_id, method=Method.PASSKEY)


def sign_in_failed() -> Refused:
    """The answer to everything that is not a valid passkey of this workspace."""
    return Refused("This passkey does not open this workspace.", status=401, code="sign_in_failed")


def _told(answer: Registration | Assertion) -> dict[str, Any]:
    return {"id": answer.id, "rawId": answer.id, "type": "public-key"}


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _nobody(credential: bytes) -> AttestedCredentialData:
    """A passkey that nobody holds, so that an unknown one costs the same check."""
    return AttestedCredentialData.create(Aaguid.NONE, credential[:1023], _NOBODY)


_NOBODY = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())  # type: ignore[no-untyped-call]


def _not_made() -> Refused:
    return Refused("This passkey could not be added. Try again.", code="passkey_invalid")


def _no_passkey() -> Refused:
    return Refused("There is no such passkey.", status=404, code="passkey_not_found")
