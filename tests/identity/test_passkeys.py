"""Whatever a hostile browser sends to a ceremony is a clean refusal: no other error leaves the room."""

import base64
from typing import Any

import pytest
from fido2 import cbor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.identity import passkeys
from freehold.identity.passkeys import Assertion, Made, Registration, Signed, Site
from freehold.protocol.errors import Refused
from freehold.storage import users
from freehold.storage.users import User
from tests.conftest import Home
from tests.identity.authenticator import Authenticator, b64, unb64

SITE = Site("localhost", "https://localhost:8443", "T")
QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def ada(home: Home) -> User:
    async with home.database.write() as connection:
        found = await users.by_email(connection, home.workspace.id, "ada@example.org")
        return found or await users.create(
            connection, home.workspace.id, name="Ada", email="ada@example.org", role="owner"
        )


texts = st.one_of(st.text(max_size=80), st.binary(max_size=120).map(lambda b: base64.urlsafe_b64encode(b).decode()))
structures: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**31), 2**31) | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


damages = st.tuples(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=3), st.integers(0, 400))
FIELDS = ("clientDataJSON", "authenticatorData", "signature", "userHandle")


@QUIET
@given(
    kind=st.sampled_from(["texts", "bytes", "cbor"]),
    text=texts,
    structure=structures,
    damage=damages,
    which=st.sampled_from(FIELDS),
)
async def test_hostile_ceremonies_are_refused(
    home: Home, kind: str, text: str, structure: Any, damage: tuple[list[tuple[int, int]], int], which: str
) -> None:
    user, device = await ada(home), Authenticator()
    options, state = await passkeys.begin_registration(home.database, SITE, user)
    told = device.make(options)["response"]
    if kind == "texts":
        made = Made(text, text)
    elif kind == "cbor":
        made = Made(told["clientDataJSON"], b64(cbor.encode(structure)))
    else:
        made = Made(told["clientDataJSON"], _damaged(damage, told["attestationObject"]))
    try:
        await passkeys.register(home.database, SITE, user, state, Registration(b64(device.credential), made), "x")
    except Refused as error:
        assert error.code in ("passkey_invalid", "too_many_passkeys")
    options, state = passkeys.begin_sign_in(SITE)
    signed = device.sign(options)["response"]
    damaged = {**signed, which: text if kind == "texts" else _damaged(damage, signed[which])}
    with pytest.raises(Refused) as caught:
        await passkeys.sign_in(
            home.database, SITE, home.workspace.id, state, Assertion(b64(b"unknown" * 4), Signed(**damaged))
        )
    assert (caught.value.status, caught.value.code) == (401, "sign_in_failed")


def _damaged(damage: tuple[list[tuple[int, int]], int], text: str) -> str:
    raw = bytearray(unb64(text))
    changes, length = damage
    for at, value in changes:
        if raw:
            raw[at % len(raw)] = value
    return b64(bytes(raw[:length]))


async def test_options_ask_for_a_verified_discoverable_passkey(home: Home) -> None:
    user = await ada(home)
    options, _ = await passkeys.begin_registration(home.database, SITE, user)
    chosen: dict[str, Any] = dict(options["authenticatorSelection"])
    assert (chosen["residentKey"], chosen["userVerification"]) == ("required", "required")
    assert [p["alg"] for p in options["pubKeyCredParams"]] == [-7, -8, -257]
    assert len(unb64(options["challenge"])) >= 16
    asked, _ = passkeys.begin_sign_in(SITE)
    assert set(asked) == {"challenge", "rpId", "userVerification"}
