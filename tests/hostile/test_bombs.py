"""What a small body can cost (BAR-11): each bomb is refused within a second, and costs little memory on its way.

The parsers are looked at by themselves, where every allocation is counted, and then edge and gateway as processes, by
the most that each ever held.
"""

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.protocol import anthropic, openai, responses
from freehold.protocol.dialect import Bounds
from freehold.protocol.errors import Refused
from freehold.protocol.json import parse_object
from tests.hostile.bombs import BOMBS, SIZE
from tests.hostile.whole import Whole

MOST = 32 << 20
DOORS = ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings")
PARSERS: dict[str, Callable[[bytes], object]] = {
    "chat": lambda body: openai.parse(body, Bounds()),
    "messages": lambda body: anthropic.parse(body, Bounds()),
    "responses": lambda body: responses.read(body, Bounds()),
    "embeddings": lambda body: openai.parse_embeddings(body, max_depth=64),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_built(name: str) -> None:
    assert 0.9 * SIZE < len(BOMBS[name]) <= SIZE
    tracemalloc.start()
    try:
        for parser, parse in PARSERS.items():
            tracemalloc.reset_peak()
            held, began = tracemalloc.get_traced_memory()[0], time.perf_counter()
            with pytest.raises(Refused):
                parse(BOMBS[name])
            assert time.perf_counter() - began < 1
            assert tracemalloc.get_traced_memory()[1] - held < MOST, parser
    finally:
        tracemalloc.stop()


def test_what_is_large_and_harmless_is_read() -> None:
    """A long document full of commas, quotes and escapes is one string, and a long conversation is few values."""
    text = '"a, b": [c], {d} \\\\\n' * 100_000
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    assert parse_object(json.dumps(body).encode(), max_depth=64) == body
    body = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 5}] * 1000}
    assert openai.parse(json.dumps(body).encode(), Bounds()).request.messages


@pytest.mark.parametrize("text", ["\\ud800", "a\\udfffb", "\\udc00\\ud800", "\\ud83d\\u0041"])
def test_half_a_letter_is_refused_at_every_door(whole: Whole, text: str) -> None:
    """It cannot be stored, logged or passed on: what the parser lets through would break later, and as our own fault."""
    body = f'{{"model":"m","title":"{text}","messages":[{{"role":"user","content":"{text}"}}]}}'.encode()
    renamed = f"/api/conversations/{whole.conversation}"
    for method, path, sent in (
        ("PATCH", renamed, f'{{"title":"{text}"}}'.encode()), ("POST", f"{renamed}/messages", f'{{"assistant":"m","content":"{text}"}}'.encode()),
        ("POST", "/api/sign-in", f'{{"email":"{text}","password":"{text}"}}'.encode()), ("POST", "/v1/chat/completions", body), ("POST", "/v1/messages", body),
    ):  # fmt: skip
        credential = (f"authorization: Bearer {whole.key}",) if path.startswith("/v1/") else whole.own_page
        assert whole.ask(method, path, *credential, body=sent).status == 400, path


def _peak(pid: int) -> int:
    """The most memory that a process held since `_forget`, bytes."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) << 10


def _forget(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@pytest.mark.slow
def test_edge_and_gateway_bear_every_bomb(whole: Whole) -> None:
    """The first pass is not measured: memory that was freed stays with a process for its next use."""
    pids = {"edge": whole.envoy.pid, "gateway": whole.gateway.pid}
    bearer = f"authorization: Bearer {whole.key}"
    for name in ("white space", "one wide letter"):
        whole.ask("POST", DOORS[0], bearer, body=BOMBS[name])
    for pid in pids.values():
        _forget(pid)
    before = {process: _peak(pid) for process, pid in pids.items()}
    for name, bomb in BOMBS.items():
        for door in DOORS:
            began = time.perf_counter()
            reply = whole.ask("POST", door, bearer, "content-type: application/json", body=bomb)
            assert reply.status in (400, 413), (name, door, reply.raw)
            assert time.perf_counter() - began < 1, (name, door)
    for process, pid in pids.items():
        assert _peak(pid) - before[process] < MOST, process
    assert whole.gateway.poll() is None


@pytest.mark.slow
def test_bombs_in_a_head_and_in_codings(whole: Whole) -> None:
    """Long heads, many rows, ranges, and every coding: refused or passed over, at once."""
    pids = (whole.envoy.pid, whole.gateway.pid)
    for pid in pids:
        _forget(pid)
    before = [_peak(pid) for pid in pids]
    bearer = f"authorization: Bearer {whole.key}"
    for rows, statuses in (
        (["cookie: " + "a=b; " * 8000], (431,)), (["accept: " + "a" * (1 << 20)], (431,)), ([f"x{n}: y" for n in range(5000)], (400, 431)),
        (["range: bytes=" + "0-," * 5000 + "0-"], (200,)), (["range: bytes=0-0"] * 50, (200,)), (["accept-encoding: gzip;q=1"] * 50, (200,)),
        (["content-encoding: gzip"], (415,)), (["content-encoding: gzip, gzip, br, zstd"], (415,)), (["transfer-encoding: gzip"], (400, 501)),
    ):  # fmt: skip
        began = time.perf_counter()
        reply = whole.ask("GET", "/v1/models", bearer, *rows)
        assert reply.status in statuses, (rows[0][:40], reply.raw[:200])
        assert reply["content-encoding"] is None
        assert time.perf_counter() - began < 1
    assert all(_peak(pid) - had < MOST for pid, had in zip(pids, before, strict=True))
