"""Models and claims from the command line, while Freehold runs."""

import asyncio
import hashlib
import json
from pathlib import Path

import httpx
import pytest

from freehold.models.catalogue import TINY
from tests.conftest import until
from tests.stack.conftest import Stack

pytestmark = pytest.mark.stack


def tiny_file(stack: Stack) -> Path:
    return stack.state / "models" / "sha256" / TINY.files[0].sha256


async def test_a_model_of_ones_own_is_offered_without_a_restart(fresh: Stack) -> None:
    fresh.start()
    fresh.key = fresh.json("key", "create", "t")["key"]
    edge = fresh.pids()["edge"]
    before = json.loads(fresh.freehold("model", "list", "--json").stdout)
    assert {row["alias"]: row["here"] for row in before if row["alias"]} == {
        "default": False, "small": False, "tiny": True,
    }  # fmt: skip
    copy = fresh.state.parent / "Mine.gguf"
    copy.write_bytes(tiny_file(fresh).read_bytes())
    added = fresh.json("model", "add", str(copy), "--sha256", TINY.files[0].sha256, "--name", "mine", "--default")
    assert added["name"] == "mine"

    def ask() -> httpx.Response:
        body = {"model": "mine", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        headers = {"authorization": f"Bearer {fresh.key}"}
        url = f"{fresh.up['url']}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, verify=fresh.context, timeout=30)

    async def answers() -> bool:
        return (await asyncio.to_thread(ask)).status_code == 200

    await until(answers, 30)
    assert fresh.pids()["edge"] == edge
    listed = fresh.json("engine", "list")
    assert [engine["name"] for engine in listed if engine["is_default"]] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("nonsense",), "neither a model of the catalogue nor a file"),
        (("{file}",), "needs its hash"),
        (("{file}", "--sha256", "0" * 64), "SHA-256"),
        (("{file}", "--sha256", "xyz"), "SHA-256"),
        (("{text}", "--sha256", "{textsum}"), "GGUF"),
    ],
)
def test_what_cannot_be_added_says_why(stack: Stack, tmp_path: Path, arguments: tuple[str, ...], what: str) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("this is no model")
    names = {
        "{file}": str(tiny_file(stack)),
        "{text}": str(text),
        "{textsum}": hashlib.sha256(text.read_bytes()).hexdigest(),
    }
    done = stack.freehold("model", "add", *(names.get(part, part) for part in arguments), "--json")
    assert done.returncode == 78, done.stdout
    assert what in json.loads(done.stdout)["problems"][0]["what"]
    assert not list((stack.state / "models" / "staging").glob("*"))


def test_a_fresh_claim_ends_the_one_before(fresh: Stack) -> None:
    fresh.start()
    old, new = fresh.up["claim_url"], fresh.json("claim")["claim_url"]
    assert old != new

    def redeem(url: str) -> int:
        body = {
            "token": url.partition("token=")[2],
            "name": "A",
            "email": "a@b.example",
            "password": "long enough to pass",
        }
        headers = {"origin": fresh.up["url"], "sec-fetch-site": "same-origin"}
        return httpx.post(f"{fresh.up['url']}/api/claim", json=body, headers=headers, verify=fresh.context).status_code

    assert redeem(old) == 403
    assert redeem(new) == 200
    assert redeem(new) == 403
    done = fresh.freehold("claim", "--json")
    assert done.returncode == 1
    assert "owner already" in done.stdout
    assert json.loads(fresh.freehold("status", "--json").stdout)["state"] == "ready"
