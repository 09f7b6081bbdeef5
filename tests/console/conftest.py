"""Browsers before a real console: each with its own cookies, its own address, and the host name that it asked for."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from freehold.console import STATIC
from freehold.console.app import Console
from freehold.identity.sessions import SignInPolicy, open_session
from freehold.storage import users, workspaces
from freehold.storage.users import Role
from tests.conftest import Home, serving, until

BUILT = pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the page is not built: run 'make web'")
HOST = "localhost:8443"
PASSWORD = "correct horse battery"
_ID = re.compile(rb"exg_[A-Za-z0-9_-]+")


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until what was changed has taken hold; the deadline is for a machine that is busy with other things."""
    await until(condition, 30)


@dataclass
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: httpx.Headers

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error's code, None for what is none."""
        error: dict[str, str] | None = self.json().get("error")
        return error["code"] if error is not None else None

    @property
    def like(self) -> tuple[int, bytes]:
        """Status and body without the request's id: what a stranger may compare."""
        return self.status, _ID.sub(b"exg_", self.body)


@dataclass
class Browser:
    """One browser: it keeps cookies and says that its own page asks."""

    client: httpx.AsyncClient
    host: str = HOST
    address: str = "192.0.2.7"
    cookies: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request, as the edge passes it on."""
        sent = {
            "host": self.host,
            "origin": f"https://{self.host}",
            "sec-fetch-site": "same-origin",
            "x-freehold-host": self.host,
            "x-freehold-client": self.address,
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        content = None if method == "GET" else json.dumps(body if body is not None else {}).encode()
        response = await self.client.request(method, path, headers=sent, content=content)
        for line in response.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return Answer(response.status_code, response.content, response.headers)

    async def post(self, path: str, body: Any = None) -> Answer:
        """POST."""
        return await self.call("POST", path, body)

    async def get(self, path: str) -> Answer:
        """GET."""
        return await self.call("GET", path)

    @property
    def session(self) -> str:
        """The session's secret, empty when signed out."""
        return self.cookies.get("__Host-freehold", "")


@dataclass
class House:
    """A running console and the people in its workspaces."""

    home: Home
    console: Console
    client: httpx.AsyncClient
    made: int = 0

    def browser(self, **more: Any) -> Browser:
        """A browser that was never here."""
        return Browser(self.client, **more)

    async def account(
        self, role: Role = "member", *, workspace_id: str = "", password_hash: str | None = None, email: str = ""
    ) -> users.User:
        """An account, made directly."""
        self.made += 1
        async with self.home.database.write() as connection:
            return await users.create(
                connection,
                workspace_id or self.home.workspace.id,
                name=f"{role} {self.made}",
                email=None if role == "service" else email or f"{role}{self.made}@example.org",
                role=role,
                password_hash=password_hash,
            )

    async def signed_in(self, user: users.User, *, host: str = HOST, methods: str = "pwd") -> Browser:
        """A browser of somebody who signed in a moment ago."""
        secret = await open_session(self.home.database, self.home.key, user, 1, methods=methods)
        return self.browser(host=host, cookies={"__Host-freehold": secret})

    async def person(self, role: Role = "member") -> Browser:
        """A browser of somebody new with this role."""
        return await self.signed_in(await self.account(role))

    async def other_workspace(self, domain: str = "other.example") -> workspaces.Workspace:
        """A second tenant."""
        async with self.home.database.write() as connection:
            return await workspaces.create(connection, "Other", domain)


@asynccontextmanager
async def opened(home: Home, policy: SignInPolicy | None = None) -> AsyncIterator[House]:
    """A console of this state folder, served as the product serves it."""
    console, socket = Console(home.settings, policy), home.settings.layout.console_socket
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with serving(console, socket), httpx.AsyncClient(transport=transport, base_url="http://console") as client:
        yield House(home, console, client)


@pytest.fixture
async def house(home: Home) -> AsyncIterator[House]:
    async with opened(home) as made:
        yield made
