"""A copy of the state holds no usable secret: everything that was handed out, in every form, in every file and row.

The keys' own folder is not part of it: without it the copy is of no use, which is the claim.
"""

import base64
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from freehold.identity import accounts, passwords, totp
from freehold.storage.tables import metadata
from tests.console.conftest import BUILT, PASSWORD, House

pytestmark = [BUILT, pytest.mark.slow]


def forms(secret: str) -> set[bytes]:
    """How a secret may be written down: itself, without its prefix and check value, hex, base64 at every offset."""
    raw = secret.encode()
    plain = {raw}
    if secret.startswith("fh"):
        body = secret.partition("_")[2][:-6]
        plain |= {body.encode(), base64.urlsafe_b64decode(body + "=")}
    found = set(plain)
    for one in plain:
        found |= {one.hex().encode(), one.hex().upper().encode(), one[::-1]}
        for offset in range(3):
            coded = base64.b64encode(b"\0" * offset + one)[4 if offset else 0 : -4]
            found |= {coded, coded.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in found if len(form) >= 8}


async def dump(house: House) -> dict[str, bytes]:
    """Every column of every table as text and as bytes, and every file outside of the keys' folder."""
    sinks: dict[str, bytes] = {}
    async with house.home.database.read() as connection:
        for table in metadata.sorted_tables:
            for row in (await connection.execute(table.select())).mappings():
                for column, value in row.items():
                    data = value if isinstance(value, bytes) else str(value).encode()
                    sinks[f"{table.name}.{column}"] = sinks.get(f"{table.name}.{column}", b"") + b"\n" + data
    state = house.home.settings.state
    for path in [p for p in state.rglob("*") if p.is_file() and p.parent != house.home.settings.layout.keys]:
        sinks[str(path.relative_to(state))] = Path(path).read_bytes()
    return sinks


def found_in(sinks: dict[str, bytes], secret: str) -> set[str]:
    return {name for name, data in sinks.items() if any(form in data for form in forms(secret))}


async def used(house: House) -> dict[str, str]:
    """Use everything that gives out a secret; what was given out."""
    home = house.home
    ada = await house.account("owner", password_hash=await passwords.hashed(PASSWORD), email="ada@example.org")
    browser = house.browser()
    assert (await browser.post("/api/sign-in", {"email": ada.email, "password": PASSWORD})).status == 200
    given = {"password": PASSWORD, "first session": browser.session, "workspace's key": home.api_key}
    given["key"] = (await browser.post("/api/keys", {"name": "k"})).json()["secret"]
    service = (await browser.post("/api/services", {"name": "s"})).json()["service"]["id"]
    given["service's key"] = (await browser.post(f"/api/services/{service}/keys", {"name": "k"})).json()["secret"]
    invited = await browser.post("/api/invitations", {"email": "bo@example.org", "role": "member"})
    given["invitation"] = invited.json()["path"].partition("token=")[2]
    given["claim"] = await accounts.create_claim(home.database, home.key, home.workspace.id, 1)
    await browser.post("/api/passkeys/options")
    given["step"] = browser.cookies["__Host-freehold-step"]
    given["totp"] = (await browser.post("/api/factors/totp")).json()["secret"]
    seed = base64.b32decode(given["totp"])
    given["totp bytes"] = seed.decode("latin-1")
    code = totp.code(seed, int(time.time() // totp.STEP_SECONDS))
    codes = (await browser.post("/api/factors/totp/confirm", {"code": code})).json()["recovery_codes"]
    given |= {f"recovery {n}": code for n, code in enumerate(codes)}
    given["session"] = browser.session
    assert (await browser.get("/api/me")).status == 200
    return given


async def test_a_copy_of_the_state_holds_no_usable_secret(house: House) -> None:
    given = await used(house)
    assert len(given) == 21, sorted(given)
    assert all(given.values())
    sinks = await dump(house)
    assert "freehold.db" in sinks
    assert sum(map(len, sinks.values())) > 10_000
    for name, secret in given.items():
        assert not found_in(sinks, secret), name
    for name in ("key", "invitation", "session"):  # the hint that lists show is no part that helps
        hint = given[name][:9]
        assert len(given[name]) - len(hint) >= 43


async def test_the_scan_finds_what_is_planted_in_any_form(house: House) -> None:
    given = await used(house)
    for form in sorted(forms(given["key"])):
        async with house.home.database.write() as connection:
            await connection.execute(text("UPDATE totp SET secret = :value"), {"value": b"some" + form + b"more"})
        found = found_in(await dump(house), given["key"])
        assert "totp.secret" in found, form
