"""Fetching from real sources on this machine: an https server, wheels through the real pip, an installed package."""

import asyncio
import http.server
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.models import catalogue
from freehold.models.catalogue import IndexParts, Installed, Url
from freehold.models.fetch import NoSource
from freehold.models.store import ModelStore
from freehold.protocol.errors import Misconfigured
from tests.conftest import until
from tests.models.conftest import Publisher, gguf, model, sha256, wheel

Left = Callable[[], list[str]]
PARTS = IndexParts("freehold-test-part{n}", "1.0", "*/data/part{n:02}.bin", 11)


async def test_the_tiny_model_comes_from_its_installed_package(store: ModelStore) -> None:
    await store.ensure(catalogue.TINY, offline=True)
    assert store.models() == (catalogue.TINY,)
    await store.verify(catalogue.TINY, full=True)
    began = time.monotonic()
    await store.ensure(catalogue.TINY, offline=True)
    assert time.monotonic() - began < 0.1  # known to be right since this boot


async def test_a_publishers_address(store: ModelStore, publisher: Publisher, tmp_path: Path) -> None:
    data = gguf(600_000)
    publisher.answers["/m.gguf"] = data
    seen: list[tuple[int, int]] = []
    wanted = model(data, Url(f"{publisher.address}/m.gguf"), Installed("nothing", "1", "x"))
    await store.ensure(wanted, progress=lambda *at: seen.append(at))
    assert store.path(wanted.files[0]).read_bytes() == data
    assert (tmp_path / "models" / "notices" / "test.txt").read_text() == wanted.notice
    assert seen == sorted(seen)
    assert seen[-1] == (len(data), len(data))


async def test_offline_asks_nobody(store: ModelStore, publisher: Publisher, index: Path, left: Left) -> None:
    data = gguf()
    publisher.answers["/m.gguf"] = data
    with pytest.raises(NoSource) as missing:
        await store.ensure(model(data, Url(f"{publisher.address}/m.gguf"), PARTS), offline=True)
    assert [attempt.reason for attempt in missing.value.attempts] == ["offline", "offline"]
    assert not publisher.asked
    assert left() == []


def _redirect(to: str) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("location", to)
        request.send_header("content-length", "0")
        request.end_headers()

    return answer


def _breaks(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("content-length", str(len(gguf())))
    request.end_headers()
    request.wfile.write(gguf()[:1000])


def _endless(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(gguf())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (gguf()[:-1] + b"x", "SHA-256 is not the expected one"),
        (gguf()[:-1], "offers"),
        (gguf() + b"x", "offers"),
        (_redirect("http://127.0.0.1:9/m.gguf"), "without TLS"),
        (_redirect("file:///etc/passwd"), "302"),
        (_redirect("/m.gguf"), "30"),
        (_breaks, "bytes instead of|broke off"),
        (_endless, "does not say how long"),
    ],
    ids=["changed", "short", "long", "plain", "file", "loop", "breaks", "endless"],
)
async def test_a_source_that_is_wrong_is_passed_over(
    store: ModelStore, publisher: Publisher, answer: object, reason: str, left: Left
) -> None:
    publisher.answers["/m.gguf"] = answer  # type: ignore[assignment]
    publisher.answers["/good.gguf"] = gguf()
    bad, good = Url(f"{publisher.address}/m.gguf"), Url(f"{publisher.address}/good.gguf")
    with pytest.raises(NoSource) as missing:
        await store.ensure(model(gguf(), bad))
    assert left() == []
    (attempt,) = missing.value.attempts
    assert re.search(reason, attempt.reason), attempt.reason
    await store.ensure(model(gguf(), bad, good))
    await store.verify(model(gguf()), full=True)


async def test_addresses_that_are_out_of_reach_or_not_trusted(
    store: ModelStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.answers["/m.gguf"] = gguf()
    monkeypatch.delenv("SSL_CERT_FILE")
    sources = (Url("https://127.0.0.1:9/m"), Url("http://127.0.0.1:9/m"), Url(f"{publisher.address}/m.gguf"))
    with pytest.raises(NoSource) as missing:
        await store.ensure(model(gguf(), *sources))
    refused, plain, untrusted = (attempt.reason for attempt in missing.value.attempts)
    assert "not reachable" in refused
    assert "only https" in plain
    assert "certificate is not trusted" in untrusted
    assert not publisher.asked


async def test_adding_from_an_address(store: ModelStore, publisher: Publisher, left: Left) -> None:
    publisher.answers["/My%20Model.gguf"] = gguf()
    added = await store.add(f"{publisher.address}/My%20Model.gguf", sha256(gguf()), name="mine")
    await store.verify(added, full=True)
    store.remove("mine")
    with pytest.raises(NoSource):
        await store.add(f"{publisher.address}/My%20Model.gguf", sha256(b"other"), name="mine")
    with pytest.raises(NoSource):
        await store.add(f"{publisher.address}/nothing", sha256(gguf()), name="mine")
    publisher.answers["/not"] = b"GIF89a"
    with pytest.raises(Misconfigured, match="GGUF"):
        await store.add(f"{publisher.address}/not", sha256(b"GIF89a"), name="mine")
    assert left() == []


async def test_a_cancel_leaves_nothing(store: ModelStore, publisher: Publisher, left: Left) -> None:
    data, over = gguf(600_000), asyncio.Event()
    loop = asyncio.get_running_loop()

    def stalls(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("content-length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[: 3 << 19])
        asyncio.run_coroutine_threadsafe(over.wait(), loop).result(10)

    publisher.answers["/m.gguf"] = stalls
    begun: list[int] = []
    wanted = model(data, Url(f"{publisher.address}/m.gguf"))
    task = asyncio.create_task(store.ensure(wanted, progress=lambda done, _: begun.append(done)))
    await until(lambda: bool(begun))
    assert any(name.startswith("staging/") for name in left())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left() == []
    over.set()


# --- parts


def split(folder: Path, data: bytes, count: int = PARTS.count, version: str = "1.0") -> None:
    size = -(-len(data) // count)
    for number in range(1, count + 1):
        members = {
            f"freehold_test/data/part{number:02}.bin": data[(number - 1) * size : number * size],
            "freehold_test/__init__.py": b"raise SystemExit('a part was imported')",
        }
        wheel(folder, PARTS.package.format(n=number), version, members)


@pytest.mark.slow
async def test_parts_are_joined_in_numeric_order(store: ModelStore, index: Path, left: Left) -> None:
    data = gguf(20_000)
    split(index, data)
    seen: list[int] = []
    await store.ensure(model(data, PARTS), progress=lambda done, _: seen.append(done))
    assert store.path(model(data).files[0]).read_bytes() == data
    assert seen == sorted(seen)
    assert not any(name.startswith("staging/") for name in left())


ONE = IndexParts("freehold-test-one", "1.0", "*/m.gguf")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a/m.gguf": b"x" * len(gguf())}, "SHA-256"),
        ({"a/m.gguf": gguf() + b"\0" * 50_000_000}, "longer than expected"),
        ({"a/m.gguf": gguf()[:100]}, "bytes instead of"),
        ({"a/other": gguf()}, "does not hold"),
        ({"a/m.gguf": gguf(), "b/m.gguf": gguf()}, "does not hold"),
        ({}, "does not hold"),
    ],
    ids=["changed", "bomb", "short", "other", "two", "empty"],
)
async def test_a_part_that_is_wrong(
    store: ModelStore, index: Path, left: Left, members: dict[str, bytes], reason: str
) -> None:
    wheel(index, "freehold-test-one", "1.0", members)
    with pytest.raises(NoSource, match=reason):
        await store.ensure(model(gguf(), ONE))
    assert left() == []


async def test_a_part_that_is_not_there(store: ModelStore, index: Path, left: Left) -> None:
    wheel(index, "freehold-test-one", "2.0", {"a/m.gguf": gguf()})
    with pytest.raises(NoSource, match="freehold-test-one"):
        await store.ensure(model(gguf(), ONE))
    assert left() == []


async def test_a_cancel_ends_pip(store: ModelStore, index: Path, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/simple")
    task = asyncio.create_task(store.ensure(model(gguf(), ONE)))
    await asyncio.wait_for(connected.wait(), 10)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = children.read_text().split()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(children.read_text().split()) < len(before)
    assert left() == []
    server.close()
