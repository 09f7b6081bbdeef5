"""An OpenAI-compatible server outside of the box (Ollama, vLLM, llama.cpp), reached through the egress relay only.

The relay is a Unix socket that knows exactly the declared servers; it adds TLS and the operator's key for the server,
so that no secret is in the box. What the server says in an error stays in the box too.
"""

import struct

import msgspec

from freehold.protocol.chat import ChatRequest, EmbeddingRequest, Embeddings, EngineHealth
from freehold.protocol.http import PeerGone, UnixClient
from freehold.runner.config import OutsideEngine
from freehold.runner.engines.dialect import chat_body, refusal_code, stream_chat
from freehold.runner.engines.engine import EngineFailure, Send

_EMBED_SECONDS = 120.0


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


class OpenAiEngine:
    """One declared server."""

    def __init__(self, config: OutsideEngine) -> None:
        self._config = config
        self._client = UnixClient(config.relay, host=config.host)

    @property
    def name(self) -> str:
        """What requests call it."""
        return self._config.name

    def health(self) -> EngineHealth:
        """Ready by declaration: a server that is away is found by the request that needs it."""
        return EngineHealth(self.name, "openai", True, self._config.context_tokens, self._config.slots)

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Drop idle connections."""
        self._client.close()

    async def chat(self, request: ChatRequest, send: Send) -> None:
        """Send the answer's events."""
        body = chat_body(request, self._config.model, {})
        structured = bool(request.response_format or request.tools)
        await stream_chat(self._client, f"{self._config.base_path}/chat/completions", body, send, structured=structured)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Vectors of the inputs, brought to unit length."""
        body = msgspec.json.encode({"model": self._config.model, "input": request.inputs, "encoding_format": "float"})
        path, headers = f"{self._config.base_path}/embeddings", {"content-type": "application/json"}
        try:
            async with self._client.request("POST", path, body, headers, timeout=_EMBED_SECONDS) as response:
                answer = await response.read(64 << 20)
                if response.status != 200:
                    raise EngineFailure(refusal_code(response.status, answer, structured=False))
            found = msgspec.json.decode(answer, type=_Vectors)
        except TimeoutError:
            raise EngineFailure("engine_timeout") from None
        except (PeerGone, msgspec.DecodeError):
            raise EngineFailure("engine_failed") from None
        lengths = {len(item.embedding) for item in found.data}
        indices = sorted(item.index for item in found.data)
        if indices != list(range(len(request.inputs))) or len(lengths) > 1 or 0 in lengths:
            raise EngineFailure("engine_failed")
        ordered = sorted(found.data, key=lambda item: item.index)
        return Embeddings(
            tuple(_unit(item.embedding) for item in ordered), found.usage.prompt_tokens if found.usage else 0
        )


def _unit(vector: list[float]) -> bytes:
    length = sum(value * value for value in vector) ** 0.5 or 1.0
    return struct.pack(f"<{len(vector)}f", *(value / length for value in vector))
