"""Codes by the standard's own vectors, sealed secrets, passwords that are refused, throttling as a pure decision."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.identity import passwords, totp
from freehold.identity.factors import Factors
from freehold.identity.sealing import Sealer
from freehold.identity.sessions import coarse
from freehold.identity.throttle import Doors, Throttle
from freehold.protocol.errors import Refused
from freehold.storage import users
from tests.conftest import Home

RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("moment", "eight_digits"),
    [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"),
     (2000000000, "69279037"), (20000000000, "65353130")],
)  # fmt: skip
def test_the_standards_vectors(moment: int, eight_digits: str) -> None:
    assert totp.code(RFC_SECRET, moment // 30) == eight_digits[-6:]


@pytest.mark.parametrize(("offset", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_differ_by_one_step(offset: int, taken: bool) -> None:
    now = 1_234_567_890.0
    step = int(now // 30) + offset
    assert totp.matching_step(RFC_SECRET, totp.code(RFC_SECRET, step), now) == (step if taken else None)


@pytest.mark.parametrize("given", ["", "é" * 6, "12345", "1234567", "٠٠٠٠٠٠", "\ud800" * 6])
def test_what_is_no_code_is_none(given: str) -> None:
    assert totp.matching_step(RFC_SECRET, given, 59.0) is None


def test_the_address_and_its_picture() -> None:
    address = totp.address(RFC_SECRET, "Ac/me: Labs", "a+b@example.org")
    assert address == (
        "otpauth://totp/Ac%2Fme%3A%20Labs:a%2Bb@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        "&issuer=Ac%2Fme%3A%20Labs&digits=6&period=30"
    )
    picture = totp.drawn(address)
    assert isinstance(picture["size"], int)
    assert str(picture["path"]).startswith("M4 4h1v1h-1z")


async def test_each_step_counts_once_and_never_an_earlier_one(home: Home) -> None:
    now = 1_000_000_000.0
    factors = Factors(home.database, home.key, clock=lambda: now)
    async with home.database.write() as connection:
        user = await users.create(connection, home.workspace.id, name="Ada", email="a@example.org", role="owner")
    secret = base64.b32decode((await factors.begin(user, "W")).secret)
    step = int(now // 30)
    assert await factors.check(user.id, totp.code(secret, step)) is None  # not confirmed yet
    with pytest.raises(Refused):
        await factors.confirm(user.id, "000000" if totp.code(secret, step) != "000000" else "000001")
    await factors.confirm(user.id, totp.code(secret, step))
    assert await factors.check(user.id, totp.code(secret, step)) is None
    following = totp.code(secret, step + 1)
    assert await factors.check(user.id, f" {following[:3]} {following[3:]}") == "otp"
    assert await factors.check(user.id, totp.code(secret, step)) is None
    assert await factors.check("usr_nobody", totp.code(secret, step + 1)) is None
    dump = b"".join(path.read_bytes() for path in home.settings.state.glob("freehold.db*"))
    assert secret not in dump
    assert base64.b32encode(secret) not in dump


@given(st.binary(max_size=64), st.text(max_size=20), st.integers(min_value=0), st.integers(1, 255))
def test_what_is_sealed_opens_whole_in_its_place_only(plain: bytes, place: str, at: int, flip: int) -> None:
    place = place.encode("utf-8", "replace").decode()
    sealer = Sealer(b"k" * 32, "totp")
    sealed = sealer.seal(plain, place)
    assert sealer.open(sealed, place) == plain
    assert sealer.open(sealed, place + "x") is None
    assert Sealer(b"k" * 32, "provider").open(sealed, place) is None
    assert Sealer(b"l" * 32, "totp").open(sealed, place) is None
    changed = bytearray(sealed)
    changed[at % len(sealed)] ^= flip
    assert sealer.open(bytes(changed), place) is None
    assert sealer.open(sealed[: at % len(sealed)], place) is None


GUESSED = (
    "password1234", "PASSWORD12345", "passwordpassword", "123456123456", "qwertyuiop12", "1qaz2wsx3edc",
    "aaaaaaaaaaaa", "!!!dragon2024!!!", "abababababab", "freehold12345", "lovelace-ada-lovelace", "            ",
)  # fmt: skip


@pytest.mark.parametrize("password", GUESSED)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(Refused) as caught:
        passwords.check(password, ("Ada Lovelace", "ada.lovelace@example.org"))
    assert caught.value.code == "password_common"


@pytest.mark.parametrize("password", ["correct horse battery", "gN4$x1QzgN4$7w", "ünïcödé für alle", "x1y2z3ab" * 128])
def test_anything_else_of_the_right_length_is_taken(password: str) -> None:
    passwords.check(password)
    for wrong in (password[:11], password * 200):
        with pytest.raises(Refused) as caught:
            passwords.check(wrong)
        assert caught.value.code == "password_weak"


def test_the_blocklist_is_there() -> None:
    assert len(passwords._common()) >= 3000
    assert {"123456", "password", "qwerty"} <= passwords._common()


@given(st.lists(st.floats(0, 50), max_size=60))
def test_a_throttle_admits_its_burst_and_its_rate(gaps: list[float]) -> None:
    now, admitted = 0.0, []
    throttle = Throttle(3, 10.0, clock=lambda: now)
    for gap in gaps:
        now += gap
        try:
            throttle.take("key")
            admitted.append(now)
        except Refused as error:
            assert error.retry_after is not None
            assert 0 < error.retry_after <= 10.0001
            assert error.status == 429
    for first, at in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= 3 + (admitted[last] - at) / 10.0 + 1e-6


def test_a_household_of_addresses_is_one() -> None:
    doors = Doors(clock=lambda: 0.0)
    for n in range(100):
        doors.knock(f"2001:db8:1:2::{n:x}")
    with pytest.raises(Refused):
        doors.knock("2001:db8:1:2:ffff::1")
    doors.knock("2001:db8:1:3::1")


@pytest.mark.parametrize(
    ("address", "shown"),
    [("192.0.2.77", "192.0.2.0/24"), ("255.255.255.255", "255.255.255.0/24"), ("2001:db8:9::1", "2001:db8::/32"),
     ("ffff:ffff::", "ffff:ffff::/32"), ("", ""), ("nonsense", "")],
)  # fmt: skip
def test_where_from_is_coarse(address: str, shown: str) -> None:
    assert coarse(address) == shown
