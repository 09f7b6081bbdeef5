"""The audit log of a whole instance: what was done is in it, whoever died in between, and it verifies."""

import http.client
import json
import os
import signal
from typing import Any

import pytest

from tests.conftest import until
from tests.stack.conftest import Stack, alive, kill

pytestmark = pytest.mark.stack

PASSWORD = "correct horse battery"


class Page:
    """The page in a browser of this machine: through the edge, with the session's cookie."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._cookie = ""

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        host = f"localhost:{self._stack.port}"
        connection = http.client.HTTPSConnection("localhost", self._stack.port, context=self._stack.context, timeout=20)
        headers = {
            "host": host,
            "origin": f"https://{host}",
            "sec-fetch-site": "same-origin",
            "content-type": "application/json",
            "cookie": self._cookie,
        }
        try:
            connection.request(method, path, json.dumps(body or {}), headers)
            response = connection.getresponse()
            text = response.read()
            for name, value in response.getheaders():
                if name.lower() == "set-cookie" and value.startswith("__Host-freehold="):
                    self._cookie = value.partition(";")[0]
        finally:
            connection.close()
        return response.status, json.loads(text or b"{}") if text[:1] in (b"{", b"[") else {}


def tail(stack: Stack) -> list[dict[str, Any]]:
    done = stack.freehold("audit", "tail", "-n", "1000", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def sound(stack: Stack) -> None:
    verified = stack.freehold("audit", "verify", "--json")
    assert verified.returncode == 0, verified.stdout


async def test_what_is_done_is_in_the_log_whoever_dies(fresh: Stack) -> None:
    copy = fresh.state.parent / "elsewhere"
    copy.mkdir()
    fresh.state.mkdir(mode=0o700)
    (fresh.state / "freehold.toml").write_text(f'[audit]\ncopies = ["{copy}"]\n')
    up = fresh.start()
    page, claim = Page(fresh), up["claim_url"].partition("#token=")[2]
    body = {"token": claim, "name": "Ada", "email": "ada@example.org", "password": PASSWORD}
    assert page.call("POST", "/api/claim", body)[0] == 200
    status, made = page.call("POST", "/api/keys", {"name": "mine"})
    assert status == 201
    assert page.call("POST", "/api/sign-in", {"email": "ada@example.org", "password": "wrong"})[0] == 401
    first = tail(fresh)
    actions = [entry["action"] for entry in first]
    wanted = ["workspace:create", "claim:create", "engine:create", "engine:create"]
    assert [action for action in actions if action in wanted] == wanted
    for action in ("instance:settings", "instance:start", "runner:start", "claim:use", "session:open", "key:create"):
        assert actions.count(action) == 1, (action, actions)
    assert actions[-2:] == ["key:create", "session:refused"]
    assert next(e for e in first if e["action"] == "key:create")["subject"] == made["key"]["id"]
    assert "ada@example.org" not in json.dumps(first)
    sound(fresh)

    before = fresh.pids()["console"]
    status, made = page.call("POST", "/api/keys", {"name": "the last before it dies"})
    kill(before)
    assert status == 201

    def back() -> bool:
        return page.call("GET", "/api/me")[0] == 200

    await until(back, 30)
    assert fresh.pids()["console"] != before
    keys = {key["id"] for key in page.call("GET", "/api/keys")[1]["keys"]}
    created = [e["subject"] for e in tail(fresh) if e["action"] == "key:create"]
    assert created[-1] == made["key"]["id"]
    assert keys == set(created)
    assert page.call("DELETE", f"/api/keys/{made['key']['id']}")[0] == 200
    assert fresh.json("doctor", "--seal")["sealed"]
    fresh.freehold("key", "create", "by hand")
    sound(fresh)
    runner = next(pid for name, pid in fresh.pids().items() if name.startswith("runner"))
    os.kill(runner, signal.SIGKILL)
    await until(lambda: any(e["action"] == "runner:end" for e in tail(fresh)), 30)
    await until(lambda: (copy / "checkpoint").is_file(), 30)
    assert fresh.freehold("audit", "verify", str(copy), "--json").returncode == 0
    assert fresh.freehold("down").returncode == 0
    assert not alive(before)
    last = tail(fresh)
    ended = {e["action"]: e for e in last[len(first) :]}
    assert {"key:revoke", "seal:probe", "key:create", "runner:end", "instance:stop"} <= set(ended)
    assert (ended["seal:probe"]["outcome"], ended["seal:probe"].get("failures", 0)) == ("done", 0)
    assert ended["key:create"]["by"] == "command"
    assert last[-1]["action"] == "instance:stop"
    sound(fresh)
    found = fresh.json("audit", "search", "--action", "key:create")
    assert len(found) == 3
