"""Who somebody is that a provider vouches for: made once, never taken over, groups that come and go, never an owner."""

import asyncio
import time
from typing import Any

import pytest

from freehold.identity import declaring, federation
from freehold.identity import providers as identity
from freehold.identity.declaring import Declaration
from freehold.identity.providers import Metadata
from freehold.identity.sealing import Sealer
from freehold.protocol.errors import Misconfigured, Refused
from freehold.storage import changes, credentials, groups, providers, users
from freehold.storage.users import Role, User
from tests.conftest import Home

ISSUER = "https://login.example.org/realms/a"
METADATA = Metadata(f"{ISSUER}/auth", f"{ISSUER}/token", f"{ISSUER}/jwks")
ADA = {"sub": "ada-1", "email": "Ada@Example.org", "email_verified": True, "name": "Ada Lovelace"}


async def declared(home: Home, name: str = "staff", **more: Any) -> providers.Provider:
    """A provider as the operator declares it."""
    wanted = Declaration(name, name.title(), ISSUER, "freehold", **more)
    return await declaring.declare(home.database, home.key, home.workspace.id, wanted, METADATA)


async def account(home: Home, email: str | None, role: Role = "member", name: str = "Somebody") -> User:
    async with home.database.write() as connection:
        return await users.create(connection, home.workspace.id, name=name, email=email, role=role)


@pytest.fixture
async def owned(home: Home) -> Home:
    """A workspace with an owner."""
    await account(home, "owner@example.org", "owner")
    return home


async def refused(home: Home, provider: providers.Provider, claims: dict[str, Any]) -> str | None:
    """Why somebody is not let in; None when they are."""
    try:
        await federation.arrive(home.database, provider, claims)
    except Refused as error:
        assert error.status == 403
        assert not any(str(value) in error.message for value in claims.values() if len(str(value)) > 4)
        return error.code
    return None


async def groups_of(home: Home, user: User) -> set[str]:
    async with home.database.read() as connection:
        given = await credentials.groups_of(connection, user.id)
        return {group.name for group in await groups.listed(connection, home.workspace.id) if group.id in given}


async def test_an_account_is_made_once_and_known_by_its_subject(owned: Home) -> None:
    provider = await declared(owned)
    ada = await federation.arrive(owned.database, provider, ADA)
    assert (ada.name, ada.email, ada.role, ada.password_hash) == ("Ada Lovelace", "ada@example.org", "member", None)
    again = await federation.arrive(owned.database, provider, {"sub": "ada-1"})
    assert again.id == ada.id, "an address is needed the first time only"
    renamed = await federation.arrive(owned.database, provider, {**ADA, "email": "new@example.org", "name": "A"})
    assert (renamed.id, renamed.email) == (ada.id, "ada@example.org")
    assert await refused(owned, provider, {**ADA, "sub": "eve-2"}) == "provider_email_taken", (
        "a subject is not an address"
    )


async def test_nobody_takes_over_an_account_by_its_address(owned: Home) -> None:
    await account(owned, "ada@example.org", "admin")
    strict, linking = await declared(owned), await declared(owned, "linking", link_by_email=True)
    trusting = await declared(owned, "trusting", link_by_email=True, trust_email=True)
    for verified in (False, None, "true", "false", 1, "1", [True], {"x": 1}):
        for provider in (strict, linking):
            assert await refused(owned, provider, {**ADA, "email_verified": verified}) == "provider_email_unverified"
        assert await refused(owned, trusting, {**ADA, "email_verified": verified}) == "provider_email_taken"
    assert await refused(owned, strict, ADA) == "provider_email_taken"
    for email in ("ADA@EXAMPLE.ORG", "ada@example.org ", "ada@example.org"):
        assert await refused(owned, strict, {**ADA, "email": email}) == "provider_email_taken"
    async with owned.database.read() as connection:
        assert await providers.count_linked(connection, strict.id) == 0


async def test_an_account_is_linked_where_the_operator_allowed_it_and_the_address_is_verified(owned: Home) -> None:
    there = await account(owned, "ada@example.org", "reviewer")
    provider = await declared(owned, link_by_email=True)
    linked = await federation.arrive(owned.database, provider, ADA)
    assert (linked.id, linked.role) == (there.id, "reviewer")
    async with owned.database.read() as connection:
        assert [one.name for one in await providers.linked(connection, there.id)] == ["staff"]


NO_ADDRESSES: tuple[Any, ...] = (
    None, "", "ada", "@example.org", "ada@", 1, ["ada@example.org"], "a b@example.org", "ädä@example.org",
    "ada@e\u0445ample.org", "x" * 300 + "@example.org", "ada@example.org,eve@evil.example",
)  # fmt: skip
OTHER_DOMAINS = ("evil.example", "example.org.evil.example", "sub.example.org", "xexample.org", "example.or")


async def test_what_is_no_address_or_of_another_domain_makes_no_account(owned: Home) -> None:
    provider = await declared(owned, email_domains=["Example.org", "other.example"])
    for email in NO_ADDRESSES:
        code = await refused(owned, provider, {**ADA, "email": email})
        assert code in ("provider_email_unverified", "provider_email_domain"), email
    for domain in OTHER_DOMAINS:
        assert await refused(owned, provider, {**ADA, "email": f"ada@{domain}"}) == "provider_email_domain"
    assert await refused(owned, provider, ADA) is None


async def test_where_no_accounts_are_made_only_linked_ones_come_in(owned: Home) -> None:
    provider = await declared(owned, create=False)
    assert await refused(owned, provider, ADA) == "provider_no_account"
    there = await account(owned, "someone@example.org")
    await declaring.link(owned.database, provider, "ada-1", there)
    assert (await federation.arrive(owned.database, provider, ADA)).id == there.id
    with pytest.raises(Refused):
        await declaring.link(owned.database, provider, "ada-1", there)


async def test_nobody_comes_in_before_the_owner(home: Home) -> None:
    provider = await declared(home)
    assert await refused(home, provider, ADA) == "provider_no_account"
    async with home.database.read() as connection:
        assert await users.count(connection, home.workspace.id) == 0


async def test_who_is_disabled_or_a_service_is_refused(owned: Home) -> None:
    provider = await declared(owned)
    ada = await federation.arrive(owned.database, provider, ADA)
    async with owned.database.write() as connection:
        await users.change(connection, ada.id, disabled_at=time.time())
    assert await refused(owned, provider, ADA) == "account_disabled"
    robot = await account(owned, None, "service")
    await declaring.link(owned.database, provider, "robot", robot)
    assert await refused(owned, provider, {**ADA, "sub": "robot"}) == "provider_no_account"


async def test_who_has_no_subject_is_nobody(owned: Home) -> None:
    provider = await declared(owned)
    for subject in (None, "", 1, True, ["ada"], "a" * 301, "a\nb"):
        assert await refused(owned, provider, {**ADA, "sub": subject}) == "provider_claims"


async def test_groups_follow_the_claim_both_ways_and_leave_the_administrators_alone(owned: Home) -> None:
    async with owned.database.write() as connection:
        for name, role in (("team", "reviewer"), ("lab", None), ("bosses", "admin"), ("own", "reviewer")):
            await groups.create(connection, owned.workspace.id, name, role)  # type: ignore[arg-type]
        own = await groups.named(connection, owned.workspace.id, "own")
    mapping = {"ai-team": "team", "ai-lab": "lab", "ai-bosses": "bosses", "ai-own": "own"}
    provider = await declared(owned, groups=mapping)
    ada = await federation.arrive(owned.database, provider, {**ADA, "groups": ["ai-team", "ai-lab", "other", 7]})
    assert await groups_of(owned, ada) == {"team", "lab"}
    assert own is not None
    async with owned.database.write() as connection:
        await groups.add(connection, own.id, ada.id)
    for said, expected in (
        (["ai-lab", "ai-own"], {"lab", "own"}), ("ai-team", {"team", "own"}), (["owner", "admin"], {"own"}),
        (["ai-bosses"], {"bosses", "own"}), (None, {"own"}), ({"ai-team": True}, {"own"}), ([["ai-team"]], {"own"}),
    ):  # fmt: skip
        await federation.arrive(owned.database, provider, {**ADA, "groups": said})
        assert await groups_of(owned, ada) == expected, said
    await federation.arrive(owned.database, provider, {**ADA, "groups": ["ai-team"]})
    await federation.arrive(owned.database, provider, ADA)
    assert await groups_of(owned, ada) == {"own"}, "a claim that is not there takes out"


async def test_a_change_of_groups_is_told_to_every_process(owned: Home) -> None:
    async with owned.database.write() as connection:
        await groups.create(connection, owned.workspace.id, "team", "reviewer")
    provider = await declared(owned, groups={"ai": "team"})
    ada = await federation.arrive(owned.database, provider, {**ADA, "groups": ["ai"]})
    async with owned.database.read() as connection:
        seq = await changes.latest(connection)
    await federation.arrive(owned.database, provider, {**ADA, "groups": []})
    async with owned.database.read() as connection:
        assert [(c.topic, c.ref) for c in await changes.since(connection, seq)] == [("user", ada.id)]


async def test_a_claim_below_dots_and_another_subject_claim(owned: Home) -> None:
    async with owned.database.write() as connection:
        await groups.create(connection, owned.workspace.id, "team", None)
    provider = await declared(owned, groups={"ai": "team"}, groups_claim="realm_access.roles", subject_claim="oid")
    claims = {**ADA, "oid": "0-1-2", "realm_access": {"roles": ["ai"]}}
    ada = await federation.arrive(owned.database, provider, claims)
    assert await groups_of(owned, ada) == {"team"}
    assert (await federation.arrive(owned.database, provider, {**claims, "sub": "other"})).id == ada.id
    assert await refused(owned, provider, ADA) == "provider_claims"
    await federation.arrive(owned.database, provider, {**claims, "realm_access": "ai"})
    assert await groups_of(owned, ada) == set()


async def test_two_arrivals_at_the_same_moment_make_one_account(owned: Home) -> None:
    provider = await declared(owned)
    both = await asyncio.gather(*(federation.arrive(owned.database, provider, ADA) for _ in range(8)))
    assert len({user.id for user in both}) == 1


async def test_a_name_that_is_none_is_left(owned: Home) -> None:
    provider = await declared(owned)
    for number, (said, expected) in enumerate(
        (("", "a0"), ("x" * 101, "a1"), ("a\nb", "a2"), (7, "a3"), (" Ada ", "Ada"))
    ):
        claims = {**ADA, "sub": str(number), "email": f"a{number}@example.org", "name": said}
        assert (await federation.arrive(owned.database, provider, claims)).name == expected


async def test_with_a_provider_ends_what_it_gave(owned: Home) -> None:
    async with owned.database.write() as connection:
        await groups.create(connection, owned.workspace.id, "team", "admin")
    provider = await declared(owned, groups={"ai": "team"})
    ada = await federation.arrive(owned.database, provider, {**ADA, "groups": ["ai"]})
    async with owned.database.write() as connection:
        await providers.remove(connection, provider.id)
    assert await groups_of(owned, ada) == set()
    async with owned.database.read() as connection:
        assert await providers.linked(connection, ada.id) == []
        assert await users.get(connection, ada.id) is not None


async def test_a_provider_that_went_meanwhile_lets_nobody_in(owned: Home) -> None:
    disabled, removed = await declared(owned), await declared(owned, "removed")
    async with owned.database.write() as connection:
        await providers.disable(connection, disabled.id)
        await providers.remove(connection, removed.id)
    for provider in (disabled, removed):
        assert await refused(owned, provider, ADA) == "provider_unknown"


async def test_a_client_secret_is_sealed_for_its_provider(owned: Home) -> None:
    provider = await declared(owned, client_secret="s3cret of the client")
    other = await declared(owned, "other")
    dump = b"".join(path.read_bytes() for path in owned.settings.state.glob("freehold.db*"))
    assert b"s3cret of the client" not in dump
    sealer = Sealer(owned.key, identity.SEALED_FOR)
    assert provider.client_secret is not None
    assert sealer.open(provider.client_secret, provider.id) == b"s3cret of the client"
    assert sealer.open(provider.client_secret, other.id) is None


WRONG: tuple[dict[str, Any], ...] = (
    {"name": "Staff"}, {"name": "a/b"}, {"name": ""}, {"name": "x" * 41}, {"client_id": ""}, {"client_id": "a b"},
    {"scopes": ["a b"]}, {"scopes": ['"']}, {"email_domains": ["x"]}, {"email_domains": ["@example.org"]},
    {"subject_claim": "email"}, {"groups_claim": ""}, {"audience": "a b"},
)  # fmt: skip


async def test_what_cannot_be_declared(owned: Home) -> None:
    for wrong in WRONG:
        said = {"name": "staff", "title": "Staff", "issuer": ISSUER, "client_id": "x", **wrong}
        with pytest.raises(Misconfigured):
            await declaring.declare(owned.database, owned.key, owned.workspace.id, Declaration(**said), METADATA)


async def test_a_name_is_taken_once_and_a_group_must_be_there(owned: Home) -> None:
    await declared(owned)
    with pytest.raises(Refused, match="already"):
        await declared(owned)
    with pytest.raises(Refused, match="no group"):
        await declared(owned, "other", groups={"x": "nothing"})
