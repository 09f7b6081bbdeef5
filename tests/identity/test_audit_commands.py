"""Every command that changes something leaves one entry of the login user; without the log it does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import freehold
from freehold.audit.events import By, Entry, Keyed, Outcome, decode
from freehold.audit.folder import Snapshot
from freehold.audit.log import signer
from freehold.audit.verify import verify
from freehold.cli.work import login_user
from freehold.settings import Settings
from freehold.storage import providers
from freehold.storage.engine import Database
from freehold.storage.workspaces import Workspace
from tests.commanding import PASSWORD, folder, owner, run

WRITES_UNTOLD = {
    "identity/passkeys.py": 2,  # a signature's counter, a passkey's name
    "identity/sessions.py": 1,  # a session that is used lives on
    "identity/factors.py": 1,  # an app's secret that counts for nothing yet
    "identity/directory.py": 1,  # when credentials were used last
    "identity/scim/tokens.py": 1,  # when a token was used last
    "console/answering.py": 3,  # an exchange's question and answer
    "console/outward.py": 1,  # a provider's keys, as it publishes them
    "console/api.py": 3,  # conversations: made, named, asked in
    "console/app.py": 1,  # answers that broke off
    "cli/audit.py": 1,  # the index
    "cli/guard.py": 3,  # policies: not yet
}
"""Transactions that are not told of: the reviewed list. Whatever else changes something uses `written`."""


def test_every_other_transaction_is_told_of() -> None:
    root, found = Path(freehold.__file__).parent, {}
    for path in sorted(path for room in ("identity", "console", "cli") for path in (root / room).rglob("*.py")):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        writes = sum(isinstance(f, ast.Attribute) and f.attr == "write" and "database" in ast.unparse(f) for f in calls)
        if writes:
            found[str(path.relative_to(root))] = writes
    assert found == WRITES_UNTOLD, "use `written`, or say here why nobody need know"


@pytest.fixture
def state(tmp_path: Path, migrated: Path) -> Settings:
    """A folder with a workspace, its owner and a provider."""

    async def provider(_: Settings, database: Database, first: Workspace) -> None:
        async with database.write() as connection:
            await providers.create(
                connection,
                first.id,
                provider_id="idp_AAAAAAAAAAAAAAAA",
                name="staff",
                title="Staff",
                issuer="https://idp.example",
                client_id="x",
                client_secret=None,
                audience=None,
                options="{}",
                metadata="",
            )

    return folder(tmp_path, migrated, owner, provider)


def entries(state: Settings) -> list[Entry]:
    snapshot = Snapshot(state.layout.audit, signer(state.layout).verifier)
    return [decode(entry) for _, entry in snapshot.entries()]


def test_each_command_that_changes_something_is_one_entry(state: Settings) -> None:
    steps: list[tuple[list[str], list[str]]] = [
        (["user", "invite", "bo@example.org"], ["person:invite"]),
        (["user", "role", "ada@example.org", "owner"], []),
        (["user", "password", "ada@example.org", "--password", "another long password"], ["factor:password"]),
        (
            ["user", "password", "ada@example.org", "--password", PASSWORD, "--reset-factors"],
            ["factor:password", "factor:remove"],
        ),
        (["user", "sessions", "ada@example.org"], []),
        (["user", "sessions", "ada@example.org", "--end"], ["session:end"]),
        (["group", "create", "Team"], ["group:create"]),
        (["group", "add", "Team", "ada@example.org"], ["group:join"]),
        (["group", "remove", "Team", "ada@example.org"], ["group:leave"]),
        (["group", "delete", "Team"], ["group:remove"]),
        (["service", "create", "robot"], ["service:create"]),
        (["key", "create", "ci"], ["key:create"]),
        (["key", "list"], []),
        (["scim", "token", "create", "idp"], ["scim:create"]),
        (["limit", "set", "user", "*", "--requests-per-minute", "5"], ["limit:set"]),
        (["limit", "set", "address", "192.0.2.1", "--concurrent", "5"], ["limit:set"]),
        (["limit", "set", "user", "somebody who is no id", "--concurrent", "5"], ["limit:set"]),
        (["limit", "remove", "address", "192.0.2.1"], ["limit:remove"]),
        (["engine", "add", "out", "--url", "http://127.0.0.1:1/v1", "--model", "m"], ["engine:create"]),
        (["engine", "remove", "out"], ["engine:remove"]),
        (["workspace", "create", "Second", "--domain", "second.example"], ["workspace:create", "claim:create"]),
        (["workspace", "domain", "Second", "other.example"], ["workspace:domain"]),
        (["workspace", "remove", "Second", "--yes"], ["workspace:remove"]),
        (["provider", "disable", "staff"], ["provider:disable"]),
        (["provider", "enable", "staff"], ["provider:enable"]),
        (["provider", "link", "staff", "subject-1", "ada@example.org"], ["provider:change"]),
        (["provider", "unlink", "staff", "ada@example.org"], ["provider:change"]),
        (["provider", "remove", "staff", "--yes"], ["provider:remove"]),
    ]
    seen = 0
    for arguments, actions in steps:
        run(state, *arguments)
        if not actions and not seen:
            continue
        new = entries(state)[seen:]
        seen += len(new)
        assert [str(entry.action) for entry in new] == actions, arguments
        for entry in new:
            assert (entry.by, entry.uid, entry.outcome) == (By.COMMAND, login_user(), Outcome.DONE)
            assert entry.workspace is not None
    text = str(entries(state))
    for said in ("@", "192.0.2.1", "Team", "second.example", "somebody", "subject-1", PASSWORD):
        assert said not in text
    keyed = Keyed(state.layout.secret("audit-hash"))
    assert keyed.hash("name", "192.0.2.1") in text
    assert keyed.hash("domain", "second.example") in text
    assert verify(state.layout.audit, signer(state.layout).verifier).sound


def test_what_is_refused_or_only_read_leaves_nothing(state: Settings) -> None:
    run(state, "user", "role", "nobody@example.org", "admin", code=1)
    run(state, "user", "remove", "ada@example.org", code=1)  # the last owner
    run(state, "key", "revoke", "key_nothing", code=1)
    run(state, "user", "list")
    assert not (state.layout.audit / "journal").exists()  # nobody opened it


CHANGE = """
import asyncio, os, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from freehold import settings
from freehold.audit.events import By
from freehold.audit.trail import errand
from freehold.identity import groups
from freehold.storage import workspaces
from freehold.storage.engine import Database

state, step = settings.load(Path(sys.argv[1])), sys.argv[2]

async def main():
    async with errand(state.layout, By.COMMAND) as trail, Database(state.database_url) as database:
        async with database.read() as connection:
            trail.workspace = (await workspaces.first(connection)).id
        if step == "told":
            record = trail.log.record
            async def dies(event):
                os.kill(os.getpid(), 9)
            trail.log.record = dies
        if step == "recorded":
            event.listen(Engine, "commit", lambda connection: os.kill(os.getpid(), 9))
        await groups.create(database, trail.workspace, "Team", None, actor=None)
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "there", "told"), [("told", False, False), ("recorded", False, True), ("committed", True, True)]
)
def test_whoever_dies_at_whatever_step_there_is_no_change_without_its_entry(
    state: Settings, step: str, there: bool, told: bool
) -> None:
    run(state, "service", "create", "first")
    died = subprocess.run([sys.executable, "-c", CHANGE, str(state.state), step], capture_output=True, check=False)
    assert died.returncode == -9, died.stderr
    assert bool(run(state, "group", "list")) is there
    assert ("group:create" in [str(entry.action) for entry in entries(state)]) is told
    assert verify(state.layout.audit, signer(state.layout).verifier).sound


def test_without_the_log_a_command_does_nothing(state: Settings) -> None:
    run(state, "group", "create", "Team")
    before, journal = len(entries(state)), state.layout.audit / "journal"
    journal.rename(journal.with_name("elsewhere"))
    run(state, "group", "delete", "Team", code=78)
    assert [group["name"] for group in run(state, "group", "list")] == ["Team"]
    journal.with_name("elsewhere").rename(journal)
    assert len(entries(state)) == before
    run(state, "group", "delete", "Team")
    assert str(entries(state)[-1].action) == "group:remove"
