"""Provisioning through a real Envoy: what providers send gets through, and what is too much does not."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator

import httpx
import pytest

from freehold.edge import certificates, config, process
from freehold.identity.scim import tokens
from freehold.settings import Edge
from tests.console.conftest import BUILT, House
from tests.console.provider import provider
from tests.edge.door import NAMES, free_port

pytestmark = [BUILT, pytest.mark.slow]


@contextlib.asynccontextmanager
async def door(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client at an edge in front of the console."""
    layout, edge = house.home.settings.layout, Edge(port=free_port())
    config.write(edge, layout, NAMES, certificates.ensure(edge, layout, NAMES))
    token = (await provider(house)).token
    with (layout.logs / "envoy.log").open("wb") as log:
        envoy = subprocess.Popen(process.command(layout.edge / config.BOOTSTRAP), stderr=log, stdin=subprocess.DEVNULL)
        try:
            await process.ready(layout.envoy_admin_socket)
            headers = {"authorization": f"Bearer {token}", "content-type": "application/scim+json; charset=utf-8"}
            trusted = ssl.create_default_context(cafile=str(certificates.ca_file(layout)))
            base = f"https://localhost:{edge.port}{tokens.BASE}"
            async with httpx.AsyncClient(base_url=base, headers=headers, verify=trusted) as client:
                yield client
        finally:
            envoy.kill()
            await asyncio.to_thread(envoy.wait, 10)


async def test_what_a_provider_sends_passes_the_edge(house: House) -> None:
    async with door(house) as client:
        made = await client.post("/Users", json={"userName": "bo@example.org"})
        assert made.status_code == 201, made.text
        assert made.headers["content-type"] == "application/scim+json"
        assert made.headers["location"] == f"{client.base_url}Users/{made.json()['id']}"
        where = f"/Users/{made.json()['id']}"
        for text in (
            'userName eq "bo@example.org"',
            'emails[type eq "work"].value eq "bo@example.org"',
            'not (active eq "x%")',
        ):
            found = await client.get("/Users", params={"filter": text, "startIndex": "1", "count": "10"})
            assert found.status_code == (400 if "x%" in text else 200), found.text
            assert "Resources" in found.json() or found.json()["scimType"] == "invalidFilter"
        assert (await client.get("/Users?filter=userName+eq+%22bo%40example.org%22")).json()["totalResults"] == 1
        patched = await client.patch(
            where, json={"Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
        )
        assert patched.json()["active"] is False
        assert (await client.put(where, json={"userName": "bo@example.org", "active": True})).json()["active"] is True
        schema = "urn:ietf:params:scim:schemas:core:2.0:User"
        assert (await client.get(f"/Schemas/{schema}")).json()["id"] == schema
        too_much = await client.post("/Users", content=b'{"a":"' + b"a" * (3 << 20) + b'"}')
        assert (too_much.status_code, too_much.json()["status"]) == (413, "413")
        encoded = await client.post("/Users", content=b"{}", headers={"content-encoding": "gzip"})
        assert encoded.status_code == 415
        assert (await client.request("OPTIONS", "/Users")).status_code == 405
        stranger = await client.get(where, headers={"authorization": "Bearer x"})
        assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, "Bearer")
        assert (await client.delete(where)).status_code == 204
