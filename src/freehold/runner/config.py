"""What a runner is told on its standard input: where to listen, what it may touch, which engines to start.

The supervisor builds and encodes a `RunnerConfig`; the runner decodes it and reads nothing else, neither environment
nor files. Importing this module imports nothing heavy.
"""

import msgspec


class LlamaCpp(msgspec.Struct, frozen=True, tag="llamacpp"):
    """A GGUF model in this process. `context_tokens` is for each of the `slots`; 0 threads: chosen from the machine."""

    name: str
    path: str
    context_tokens: int = 4096
    slots: int = 2
    decode_threads: int = 0
    batch_threads: int = 0


class OutsideEngine(msgspec.Struct, frozen=True, tag="openai"):
    """An OpenAI-compatible server. `relay` is the egress relay's Unix socket, `host` the Host header it knows."""

    name: str
    relay: str
    host: str
    model: str
    base_path: str = "/v1"
    slots: int = 16
    context_tokens: int = 0


class Embedder(msgspec.Struct, frozen=True, tag="embedder"):
    """all-MiniLM-L6-v2 or another BERT-like model in ONNX, with its tokenizer."""

    name: str
    model_path: str
    tokenizer_path: str
    threads: int = 1


EngineConfig = LlamaCpp | OutsideEngine | Embedder


class RunnerConfig(msgspec.Struct, frozen=True):
    """One runner. The first chat engine answers requests that name none."""

    socket: str
    engines: tuple[EngineConfig, ...]
    sealed: bool = True
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()


def encode(config: RunnerConfig) -> bytes:
    """The configuration as the runner reads it from its standard input."""
    return msgspec.json.encode(config)


def decode(data: bytes) -> RunnerConfig:
    """The configuration that `encode` wrote. Raises `msgspec.DecodeError`, also for a wrong shape."""
    return msgspec.json.decode(data, type=RunnerConfig)
