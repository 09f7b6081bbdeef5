"""An identity provider before a real console: it has a token and speaks SCIM as the edge passes it on."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from freehold.identity.scim import tokens
from tests.console.conftest import HOST, Answer, House

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Provider:
    """One provisioning client."""

    client: httpx.AsyncClient
    token: str
    host: str = HOST

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request below the base address. `body`: a value to send as JSON, or bytes as they are."""
        sent = {
            "host": self.host,
            "x-freehold-host": self.host,
            "x-freehold-client": "192.0.2.9",
            "authorization": f"Bearer {self.token}",
            "content-type": "application/scim+json; charset=utf-8",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        response = await self.client.request(method, f"{tokens.BASE}{path}", headers=sent, content=content)
        return Answer(response.status_code, response.content, response.headers)

    async def get(self, path: str, **query: str) -> Answer:
        """GET, with a query that is encoded as clients do."""
        return await self.call("GET", f"{path}?{httpx.QueryParams(query)}" if query else path)

    async def patch(self, path: str, *operations: Any) -> Answer:
        """PATCH with these operations."""
        return await self.call("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})

    async def person(self, user_name: str, /, **more: Any) -> str:
        """Provision somebody; the id."""
        made = await self.call("POST", "/Users", {"schemas": [USER], "userName": user_name, **more})
        assert made.status == 201, made.body
        return str(made.json()["id"])

    async def group(self, display_name: str, /, *members: str, **more: Any) -> str:
        """Push a group; the id."""
        body = {"schemas": [GROUP], "displayName": display_name, "members": [{"value": one} for one in members], **more}
        made = await self.call("POST", "/Groups", body)
        assert made.status == 201, made.body
        return str(made.json()["id"])

    async def names(self, filter: str) -> list[str]:
        """The user names of those whom a filter finds."""
        found = await self.get("/Users", filter=filter)
        assert found.status == 200, (filter, found.body)
        return [one["userName"] for one in found.json()["Resources"]]


async def provider(house: House, *, workspace_id: str = "", host: str = HOST, days: int = 1) -> Provider:
    """A provider with a token of its own."""
    home = house.home
    _, secret = await tokens.create(home.database, home.key, workspace_id or home.workspace.id, "idp", days=days)
    return Provider(house.client, secret, host)
