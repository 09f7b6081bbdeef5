"""`freehold provider …` against real providers: over http on this machine, and over https with a CA of their own."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from freehold.cli.app import app
from freehold.edge import certificates, relay
from freehold.edge.names import Names
from freehold.settings import Edge, Layout, Settings
from freehold.storage import changes, providers
from freehold.storage.engine import Database
from freehold.supervisor.prepare import prepare_relay
from tests.commanding import folder, owner, run
from tests.identity.issuer import AUDIENCE, CLIENT, SECRET, Issuer, issuing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as made:
        yield made


@pytest.fixture
def state(tmp_path: Path, migrated: Path) -> Settings:
    """A folder with a workspace and its owner."""
    return folder(tmp_path, migrated, owner)


def say(state: Settings, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--state", str(state.state)])
    assert done.exit_code == 0, done.output
    return done.output


def add(state: Settings, issuer: Issuer, name: str = "staff", *options: str, code: int = 0) -> Any:
    arguments = ("provider", "add", name, "--issuer", issuer.url, "--client-id", CLIENT, *options)
    return run(state, *arguments, code=code)


def test_the_life_of_a_provider(state: Settings, issuer: Issuer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    run(state, "group", "create", "Team", "--role", "reviewer")
    options = ("--client-secret-file", str(secret), "--group", "a=b=Team", "--email-domain", "example.org")
    made = add(state, issuer, "staff", *options, "--audience", AUDIENCE, "--title", "Our login")
    assert made["redirect_uri"] == "https://localhost:8443/sign-in/back/staff"
    assert (made["servers"], made["client_secret"], made["audience"]) == ([f"{issuer.url}"], True, AUDIENCE)
    assert list(made["options"]["groups"]) == ["a=b"]
    assert SECRET not in json.dumps(made)
    assert (len(made["keys"]), made["undeclared"], made["disabled"]) == (1, [], False)
    assert [one["name"] for one in run(state, "provider", "list")] == ["staff"]
    told = say(state, "provider", "show", "staff")
    assert f"POST {issuer.url}/token" in told
    assert SECRET not in told
    key_id = issuer.tell(do="rotate", algorithm="ES256")
    assert key_id in run(state, "provider", "test", "staff")["keys"]
    assert run(state, "provider", "link", "staff", "ada-1", "ada@example.org")["linked"]
    assert run(state, "provider", "list")[0]["people"] == 1
    assert run(state, "provider", "link", "staff", "ada-1", "ada@example.org", code=1)["problems"]
    robot = run(state, "service", "create", "robot")["id"]
    run(state, "provider", "link", "staff", "robot", robot)
    assert run(state, "provider", "unlink", "staff", "ada@example.org")["unlinked"] == 1
    run(state, "provider", "disable", "staff")
    assert run(state, "provider", "show", "staff")["disabled"] is True
    run(state, "provider", "enable", "staff")
    run(state, "provider", "remove", "staff")
    assert run(state, "provider", "list") == []

    async def told_of() -> set[str]:
        async with Database(state.database_url) as database, database.read() as connection:
            return {change.topic for change in await changes.since(connection, 0)}

    assert asyncio.run(told_of()) >= {"provider", "user"}


def test_what_cannot_be_declared_is_said_with_its_remedy(state: Settings, issuer: Issuer) -> None:
    for problem in (
        add(state, issuer, "Not A Name", code=78),
        add(state, issuer, "x", "--group", "no-equals", code=78),
        add(state, issuer, "x", "--group", "a=nothing", code=1),
        add(state, Issuer(f"{issuer.url}/"), code=78),
        add(state, Issuer("http://example.org"), code=78),
        add(state, Issuer("http://127.0.0.1:1"), code=78),
        add(state, issuer, "x", "--ca-file", __file__, code=78),
    ):
        assert problem["problems"][0]["what"]
    add(state, issuer)
    assert "already" in add(state, issuer, code=1)["problems"][0]["what"]
    for document in (
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://192.0.2.1/keys"},
        {"token_endpoint": None},
    ):
        issuer.tell(do="set", document=document)
        assert add(state, issuer, "other", code=78)["problems"]
    issuer.tell(do="reset")


def test_a_provider_that_moved_is_taken_by_the_operator_only(state: Settings, issuer: Issuer) -> None:
    add(state, issuer)
    with issuing() as elsewhere:
        issuer.tell(do="set", document={"token_endpoint": f"{elsewhere.url}/token"})
        answer = run(state, "provider", "test", "staff", code=1)
        assert elsewhere.url in answer["problems"][0]["what"]
        assert elsewhere.url not in run(state, "provider", "show", "staff")["servers"]
        assert elsewhere.url in run(state, "provider", "test", "staff", "--take")["servers"]
    issuer.tell(do="reset")


def test_a_provider_over_https_with_a_ca_of_its_own(state: Settings, tmp_path: Path) -> None:
    own = Layout(tmp_path / "own")
    own.create()
    shown = certificates.ensure(Edge(), own, Names())
    ca = certificates.ca_file(own)
    with issuing(certificate=shown.chain, key=shown.key, ca=ca) as secure:
        assert secure.url.startswith("https://")
        problem = add(state, secure, code=78)["problems"][0]
        assert "certificate" in problem["what"].lower(), problem
        made = add(state, secure, "staff", "--ca-file", str(ca))
        assert made["options"]["ca"] is True
        assert (
            "not its --ca-file"
            in add(state, secure, "other", "--ca-file", str(_other(tmp_path)), code=78)["problems"][0]["what"]
        )

    async def trusted() -> list[providers.Provider]:
        async with Database(state.database_url) as database, database.read() as connection:
            return await providers.enabled_everywhere(connection)

    assert prepare_relay(state, [], asyncio.run(trusted()))
    clusters = (state.layout.edge / relay.CLUSTERS).read_text()
    assert json.dumps(ca.read_text())[1:-1] in clusters


def _other(tmp_path: Path) -> Path:
    """A PEM file that vouches for this provider too, but is another one."""
    both, strange = tmp_path / "both.pem", Layout(tmp_path / "strange")
    strange.create()
    certificates.ensure(Edge(), strange, Names())
    ours = certificates.ca_file(Layout(tmp_path / "own")).read_text()
    both.write_text(ours + certificates.ca_file(strange).read_text())
    return both
