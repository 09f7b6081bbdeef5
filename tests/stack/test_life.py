"""Start, stop, die: what an owner does with an instance, and that nothing stays behind."""

import asyncio
import json
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import until
from tests.stack.conftest import ENVIRONMENT, FREEHOLD, Stack, alive, kill, new_stack, remove

pytestmark = pytest.mark.stack


def test_up_says_where_to_go(stack: Stack) -> None:
    assert set(stack.up) == {"url", "claim_url", "ca_file", "state", "ready_seconds"}
    assert stack.up["url"] == f"https://localhost:{stack.port}"
    assert stack.up["claim_url"].startswith(f"{stack.up['url']}/claim#token=fhc_")
    assert Path(stack.up["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE")


def test_the_state_folder_is_closed_to_others(stack: Stack) -> None:
    for path in stack.state.rglob("*"):
        mode = path.lstat().st_mode
        if path.is_dir() or "keys" in path.parts or path.suffix in (".db", ".key", ".sock"):
            assert mode & 0o077 == 0, path


def test_status_names_every_process_and_its_memory(stack: Stack) -> None:
    status = stack.json("status")
    names = {row["name"].split()[0] for row in status["processes"]}
    assert names == {"supervisor", "edge", "gateway", "console", "runner"}
    assert all(row["pid"] and row["resident_bytes"] > 1 << 20 for row in status["processes"])
    assert (status["state"], status["driver"]) == ("ready", "sandbox")
    assert status["memory"]["stack_bytes"] <= 350 << 20


def test_only_the_edge_listens_on_tcp(stack: Stack) -> None:
    ours = set(stack.pids().values())
    inodes = {}
    for pid in ours:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes[descriptor.readlink().name] = pid
            except OSError:
                continue
    listening = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "packet"):
        path = Path(f"/proc/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            inode = f"socket:[{fields[9] if table not in ('packet',) else fields[8]}]"
            if inode in inodes and (table not in ("tcp", "tcp6") or fields[3] == "0A"):
                listening.add((inodes[inode], int(fields[1].rpartition(":")[2], 16)))
    assert listening == {(stack.pids()["edge"], stack.port)}


def test_a_second_up_on_the_same_state_says_so(stack: Stack) -> None:
    done = stack.freehold("up", "--detach", "--json", "--port", str(stack.port))
    assert done.returncode == 78
    assert "already runs" in json.loads(done.stdout)["problems"][0]["what"]


def test_two_instances_side_by_side_and_a_fast_second_start(fresh: Stack) -> None:
    fresh.start()
    other = new_stack()
    try:
        other.start()
        assert fresh.json("status")["state"] == other.json("status")["state"] == "ready"
    finally:
        remove(other)
    assert fresh.json("status")["state"] == "ready"
    fresh.freehold("down")
    began = time.monotonic()
    fresh.start()
    assert time.monotonic() - began <= 6.0


async def test_down_leaves_no_process_and_no_socket(fresh: Stack) -> None:
    fresh.start()
    pids = fresh.pids()
    done = fresh.freehold("down")
    assert done.returncode == 0
    assert not [name for name, pid in pids.items() if alive(pid)]
    assert not [path for path in fresh.state.rglob("*") if path.is_socket()]
    assert fresh.freehold("status").returncode == 3
    assert fresh.freehold("down").returncode == 0


async def test_killing_the_supervisor_leaves_no_orphan(fresh: Stack) -> None:
    fresh.start()
    pids = fresh.pids()
    kill(pids["supervisor"])
    await until(lambda: not any(alive(pid) for pid in pids.values()), 5)
    fresh.start()
    assert fresh.json("status")["state"] == "ready"


@pytest.mark.parametrize("victim", ["edge", "gateway", "console", "runner"])
async def test_what_dies_is_restarted(stack: Stack, victim: str) -> None:
    before = next(pid for name, pid in stack.pids().items() if name.split()[0] == victim)
    kill(before)

    async def back() -> bool:
        status = await asyncio.to_thread(stack.json, "status")
        row = next((row for row in status["processes"] if row["name"].split()[0] == victim), None)
        return row is not None and row["pid"] not in (None, before) and status["state"] == "ready"

    await until(back, 15)

    async def serves() -> bool:
        return await asyncio.to_thread(_healthy, stack)

    await until(serves, 10)


def _healthy(stack: Stack) -> bool:
    """Does it answer a question?"""
    body = '{"model":"smollm2-135m-instruct-q4_1","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
    headers = ["-H", f"authorization: Bearer {stack.key}", "-H", "content-type: application/json"]
    url = f"{stack.up['url']}/v1/chat/completions"
    command = ["curl", "-sf", "--cacert", stack.ca, *headers, "-d", body, url]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_foreground_without_a_terminal_stops_on_a_signal(fresh: Stack) -> None:
    process = subprocess.Popen(
        [str(FREEHOLD), "up", "--engine", "tiny", "--port", str(fresh.port), "--state", str(fresh.state)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "doctor --seal" in line:
            break
    assert any("/claim#token=" in line for line in lines)
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_offline_the_tiny_model_answers_with_a_plain_notice(fresh: Stack) -> None:
    done = fresh.freehold("up", "--detach", "--json", "--offline", "--port", str(fresh.port))
    assert done.returncode == 0, done.stderr
    assert "the tiny model answers for now" in done.stderr
    assert "/v1/embeddings is not offered" in done.stderr
    assert [engine["name"] for engine in fresh.json("engine", "list")] == ["smollm2-135m-instruct-q4_1"]


# --- what bad input gets


def problem(stack: Stack, *options: str) -> dict[str, str]:
    done = stack.freehold("up", "--detach", "--json", "--engine", "tiny", "--port", str(stack.port), *options)
    assert done.returncode == 78, (done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    found: dict[str, str] = json.loads(done.stdout)["problems"][0]
    assert found["remedy"]
    return found


def test_a_taken_port(stack: Stack, fresh: Stack) -> None:
    fresh.port = stack.port
    assert "is taken" in problem(fresh)["what"]


def test_an_address_of_another_machine(fresh: Stack) -> None:
    assert "no address" in problem(fresh, "--bind", "192.0.2.1")["what"]


def test_a_state_folder_that_is_a_file(fresh: Stack) -> None:
    fresh.state.write_text("x")
    assert "state folder" in problem(fresh)["what"]


def test_a_corrupt_database(fresh: Stack) -> None:
    fresh.start()
    fresh.freehold("down")
    database = fresh.state / "freehold.db"
    for extra in ("-wal", "-shm"):
        Path(f"{database}{extra}").unlink(missing_ok=True)
    database.write_bytes(b"garbage " * 1000)
    assert "damaged" in problem(fresh)["what"]
    assert database.read_bytes() == b"garbage " * 1000


def test_a_database_of_a_newer_version(fresh: Stack) -> None:
    fresh.start()
    fresh.freehold("down")
    with sqlite3.connect(fresh.state / "freehold.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer" in problem(fresh)["what"]


def test_a_corrupt_model_file(fresh: Stack) -> None:
    fresh.start()
    fresh.freehold("down")
    model = max((fresh.state / "models" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    model.chmod(0o600)
    with model.open("r+b") as file:
        file.seek(50 << 20)
        file.write(b"\xff")
    assert "SHA-256" in problem(fresh)["what"]


def test_an_unknown_model_and_a_bad_setting(fresh: Stack) -> None:
    done = fresh.freehold("up", "--detach", "--json", "--engine", "nonsense", "--port", str(fresh.port))
    assert done.returncode == 78
    fresh.state.mkdir(parents=True, exist_ok=True)
    (fresh.state / "freehold.toml").write_text("[edge]\nprot = 1\nport = 'x'\n")
    done = fresh.freehold("up", "--json")
    assert done.returncode == 78
    assert len(json.loads(done.stdout)["problems"]) == 2


def test_a_certificate_that_does_not_fit(fresh: Stack) -> None:
    (fresh.state.parent / "c.pem").write_text("nonsense")
    found = problem(
        fresh, "--tls-cert", str(fresh.state.parent / "c.pem"), "--tls-key", str(fresh.state.parent / "c.pem")
    )
    assert "PEM" in found["what"]


def test_commands_where_nothing_was_ever_started(fresh: Stack) -> None:
    for command in (("key", "list"), ("claim",), ("engine", "list")):
        done = fresh.freehold(*command, "--json")
        assert done.returncode == 78
        assert "no Freehold" in json.loads(done.stdout)["problems"][0]["what"]
    for command in (("status",), ("doctor", "--seal")):
        assert fresh.freehold(*command).returncode == 3
