"""Claims and passwords: one use, no enumeration, nothing half-made."""

import asyncio

import pytest

from freehold.identity import accounts
from freehold.protocol.errors import Refused
from freehold.storage import users
from tests.conftest import Home

GOOD = {"name": "Ada", "email": "Ada@example.org", "password": "correct horse battery"}


async def redeem(home: Home, secret: str, **change: str) -> users.User:
    return await accounts.redeem_claim(home.database, home.key, home.workspace.id, secret, **{**GOOD, **change})


async def test_a_claim_makes_one_owner_once(home: Home) -> None:
    secret = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    user = await redeem(home, secret)
    assert (user.role, user.email) == ("owner", "ada@example.org")
    with pytest.raises(Refused) as caught:
        await redeem(home, secret, email="b@example.org")
    assert (caught.value.status, caught.value.code) == (403, "claim_invalid")


async def test_two_at_once_make_one_account(home: Home) -> None:
    secret = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    results = await asyncio.gather(
        *(redeem(home, secret, email=f"u{n}@example.org") for n in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, users.User) for result in results) == 1
    async with home.database.read() as connection:
        assert await users.count(connection, home.workspace.id) == 1


async def test_an_expired_and_a_replaced_claim_are_refused(home: Home) -> None:
    expired = await accounts.create_claim(home.database, home.key, home.workspace.id, -1)
    replaced = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    for secret in (expired, replaced, "fhc_x", ""):
        with pytest.raises(Refused) as caught:
            await redeem(home, secret)
        assert caught.value.code == "claim_invalid"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"password": "short"}, "password_weak"),
        ({"password": "x" * 2000}, "password_weak"),
        ({"email": "nobody"}, "email_invalid"),
        ({"email": "a b@c"}, "email_invalid"),
        ({"name": " "}, "name_invalid"),
    ],
)
async def test_a_refused_account_leaves_the_claim_usable(home: Home, change: dict[str, str], code: str) -> None:
    secret = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    with pytest.raises(Refused) as caught:
        await redeem(home, secret, **change)
    assert caught.value.code == code
    await redeem(home, secret)


async def test_wrong_password_and_unknown_address_answer_alike(home: Home) -> None:
    secret = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    await redeem(home, secret)
    user = await accounts.check_password(home.database, home.workspace.id, " ADA@example.org", GOOD["password"])
    assert user.name == "Ada"
    errors = []
    for email, password in (("ada@example.org", "wrong horse battery"), ("eve@example.org", GOOD["password"])):
        with pytest.raises(Refused) as caught:
            await accounts.check_password(home.database, home.workspace.id, email, password)
        errors.append((caught.value.status, caught.value.message, caught.value.code))
    assert errors[0] == errors[1]
    assert errors[0][0] == 401
