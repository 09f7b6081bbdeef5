"""What provisioning clients ask for: filters, pages, attributes, and the form of the answers."""

import pytest

from tests.console.conftest import BUILT, House
from tests.console.provider import Provider, provider

pytestmark = [BUILT, pytest.mark.slow]


@pytest.fixture
async def idp(house: House) -> Provider:
    return await provider(house)


FILTERS = [
    ('userName eq "ada@example.org"', "a"), ('USERNAME EQ "Ada@Example.org"', "a"), ('externalId eq "X-1"', "b"),
    ('externalId eq "x-1"', ""), ('emails.value eq "BO@example.org"', "b"),
    ('emails[type eq "work"].value eq "bo@example.org"', "b"),
    ('emails[type eq "work" and value eq "bo@example.org"]', "b"), ('emails[type eq "home"]', ""),
    ('emails eq "bo@example.org"', "b"), ('displayName eq "bo 100%_"', "b"), ('displayName co "%"', "b"),
    ('displayName co "_"', "b"), ('displayName sw "A"', "a"), ('displayName ew "%_"', "b"), ("active eq true", "ac"),
    ('active eq "False"', "b"), ("active ne true", "b"), ("not (active eq true)", "b"),
    ('userName eq "ada@example.org" or externalId eq "X-1"', "ab"),
    ('active eq true and (userName sw "ada" or userName sw "bo")', "a"), ("externalId pr", "b"),
    ("not (externalId pr)", "ac"), ("externalId eq null", "ac"), ('externalId ne "X-1"', "ac"),
    ('userName eq "nobody@example.org"', ""), ('displayName eq "\' OR 1=1 --"', ""),
    ('meta.resourceType eq "User"', "abc"),
    ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "cy@example.org"', "c"), ('displayName eq "ÇY"', "c"),
    ('groups.value eq "GROUP"', "a"), ('id eq "ID"', "a"), ('not (id eq "ID") and not (active eq false)', "c"),
]  # fmt: skip


async def test_filters_find_whom_they_mean(idp: Provider) -> None:
    ada = await idp.person("ada@example.org", displayName="Ada")
    await idp.person("bo@example.org", displayName="Bo 100%_", externalId="X-1", active=False)
    await idp.person("cy@example.org", displayName="ÇY")
    team = await idp.group("Team", ada)
    for text, expected in FILTERS:
        found = await idp.names(text.replace("GROUP", team).replace('"ID"', f'"{ada}"'))
        assert "".join(name[0] for name in found) == expected, text
    for text, count in (
        (f'members.value eq "{ada}"', 1), (f'members[value eq "{ada}"]', 1),
        (f'id eq "{team}" and members eq "{ada}"', 1), ('displayName eq "team"', 1), ('displayName eq "tea"', 0),
        ('members eq "usr_nobody"', 0), ('not (members eq "usr_x")', 1),
    ):  # fmt: skip
        assert (await idp.get("/Groups", filter=text)).json()["totalResults"] == count, text


async def test_pages_and_attributes(idp: Provider) -> None:
    ids = [await idp.person(f"p{n}@example.org") for n in range(5)]
    seen = []
    for start in (1, 3, 5):
        page = (await idp.get("/Users", startIndex=str(start), count="2")).json()
        assert (page["totalResults"], page["startIndex"]) == (5, start)
        assert page["itemsPerPage"] == len(page["Resources"])
        seen += [one["id"] for one in page["Resources"]]
    assert seen == ids
    for query, count in (
        ({"count": "0"}, 0), ({"count": "-5"}, 0), ({"startIndex": "-1"}, 5), ({"startIndex": "0"}, 5),
        ({"startIndex": "6"}, 0), ({"startIndex": "999999999"}, 0), ({"count": "999999999"}, 5),
    ):  # fmt: skip
        page = (await idp.get("/Users", **query)).json()
        assert (page["totalResults"], len(page["Resources"])) == (5, count), query

    bo = await idp.person("bo@example.org", name={"givenName": "Bo", "familyName": "Li"}, displayName="Bo")

    async def asked(**query: str) -> set[str]:
        one, listed = (
            await idp.get(f"/Users/{bo}", **query),
            await idp.get("/Users", filter='userName sw "bo"', **query),
        )
        assert listed.json()["Resources"] == [one.json()]
        return set(one.json()) - {"schemas", "id"}

    assert await asked(attributes="userName") == {"userName"}
    assert await asked(attributes="USERNAME,name.givenName") == {"userName", "name"}
    assert (await idp.get(f"/Users/{bo}", attributes="name.givenName")).json()["name"] == {"givenName": "Bo"}
    assert await asked(attributes="nothing") == set()
    assert await asked(excludedAttributes="name,meta,active,id") == {"userName", "displayName"}
    left = (await idp.get(f"/Users/{bo}", excludedAttributes="name.givenName")).json()
    assert left["name"] == {"familyName": "Li"}
    team = await idp.group("Team", bo)
    assert "members" not in (await idp.get(f"/Groups/{team}", excludedAttributes="members")).json()
    change = {"Operations": [{"op": "add", "path": "externalId", "value": "g"}]}
    shown = await idp.call("PATCH", f"/Groups/{team}?attributes=displayName", change)
    assert (shown.status, shown.json()["displayName"]) == (200, "Team")


async def test_answers_are_scim(idp: Provider) -> None:
    made = await idp.call("POST", "/Users", {"userName": "bo@example.org"}, content_type="application/json")
    assert made.status == 201
    assert made.headers["content-type"] == "application/scim+json"
    assert (
        made.headers["location"]
        == made.json()["meta"]["location"]
        == f"https://localhost:8443/scim/v2/Users/{made.json()['id']}"
    )
    missing = await idp.get("/Users/usr_nobody")
    assert missing.headers["content-type"] == "application/scim+json"
    assert missing.json() == {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "404",
        "detail": "There is no such person.",
    }  # fmt: skip
    published = {one["name"]: one for one in (await idp.get("/Schemas")).json()["Resources"]}
    assert "password" not in {attribute["name"] for attribute in published["User"]["attributes"]}
    assert (await idp.get("/ServiceProviderConfig")).json()["changePassword"] == {"supported": False}
    assert (await idp.get("/Schemas", filter='id eq "x"')).status == 403
