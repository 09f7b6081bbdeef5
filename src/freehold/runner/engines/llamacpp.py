"""The embedded llama.cpp: one GGUF model in this process, with slots, continuous batching, prompt cache and grammar.

llama.cpp's own HTTP server listens on a Unix socket in the box's private folder and is asked with a stream, always: a
stream is what tells it that nobody listens any more. `return_progress` makes it write while it still reads the prompt,
so that a cancel is noticed between two small batches instead of at the prompt's end.
"""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from freehold.protocol.chat import ChatRequest, EmbeddingRequest, Embeddings, EngineHealth, Event
from freehold.protocol.http import UnixClient
from freehold.runner.config import LlamaCpp
from freehold.runner.engines.dialect import chat_body, stream_chat
from freehold.runner.engines.engine import EngineFailure, Send
from freehold.runner.engines.forced import ForcedCall
from freehold.runner.engines.held import HeldJson
from freehold.runner.engines.schema import Unsupported, grammar

_BATCH = 32
"""Tokens that are read at once. A batch cannot be interrupted, so this bounds how long a cancelled prompt goes on:
about a second with a 1.5B model on two cores. 512 would read a fifth faster."""

_TEMPERATURE = 0.3
"""Where a client names none: small models wander at the dialect's 1.0."""

_PROMPT_CACHE_MIB = 0
"""Idle slots keep their own cache; a second copy in memory would only cost."""


class LlamaCppEngine:
    """One model. `start` loads it and holds Python's lock meanwhile, so nothing else answers until it is loaded."""

    def __init__(self, config: LlamaCpp) -> None:
        self._config = config
        self._folder = ""
        self._server: Any = None
        self._client: UnixClient | None = None
        self._lost = False

    @property
    def name(self) -> str:
        """What requests call it."""
        return self._config.name

    def health(self) -> EngineHealth:
        """Its state now."""
        config, ready = self._config, self._client is not None and not self._lost
        return EngineHealth(self.name, "llamacpp", ready, config.context_tokens, config.slots)

    async def start(self) -> None:
        """Load the model and listen. Raises EngineFailure when the file is not one that it can load."""
        self._folder = tempfile.mkdtemp(prefix="engine-")
        path = str(Path(self._folder) / "engine.sock")
        try:
            self._server = await asyncio.to_thread(_load, self._config, path)
        except (RuntimeError, ValueError):
            raise EngineFailure("engine_failed") from None
        self._client = UnixClient(path, host="engine")

    async def close(self) -> None:
        """Free the model."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._server = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def chat(self, request: ChatRequest, send: Send) -> None:
        """Send the answer's events."""
        if self._client is None:
            raise EngineFailure("not_ready")
        forced = None
        if request.tools and request.tool_choice not in ("auto", "none"):
            forced = ForcedCall(request)

        held = HeldJson(request) if forced or request.response_format else None

        async def read(event: Event) -> None:
            if held:
                held.watch(event)
            for seen in forced.read(event) if forced else (event,):
                await send(seen)

        body = self._body(forced.request if forced else request, forced.grammar if forced else _grammar(request))
        structured = bool(request.response_format or request.tools)
        try:
            await stream_chat(self._client, "/v1/chat/completions", body, read, structured=structured)
        except EngineFailure:
            self._lost = not await self._listens()
            raise

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """A chat model makes no embeddings."""
        raise EngineFailure("unsupported_parameter")

    async def _listens(self) -> bool:
        """Is llama.cpp's server still there?"""
        try:
            _, writer = await asyncio.open_unix_connection(str(Path(self._folder) / "engine.sock"))
        except OSError:
            return False
        writer.close()
        return True

    def _body(self, request: ChatRequest, rules: str | None) -> bytes:
        room = self._config.context_tokens
        extra = {
            "max_tokens": max(1, min(request.max_tokens or room, room)),
            "temperature": _TEMPERATURE if request.temperature is None else request.temperature,
            "cache_prompt": True,
            "return_progress": True,
            "response_format": None,
            "grammar": rules,
        }
        return chat_body(request, self.name, extra)


def _grammar(request: ChatRequest) -> str | None:
    """The grammar that holds the wanted format. Raises EngineFailure when the schema cannot be held."""
    wanted = request.response_format
    if wanted is None:
        return None
    try:
        return grammar(wanted.schema or {} if wanted.kind == "json_schema" else {"type": "object"})
    except Unsupported:
        raise EngineFailure("invalid_schema") from None


def _load(config: LlamaCpp, path: str) -> Any:
    """llama.cpp's server on the Unix socket `path`, everything off that is not asked for. Blocks until it listens."""
    import xllamacpp

    cores = os.cpu_count() or 1
    params = xllamacpp.CommonParams()
    params.model.path = config.path
    params.model_alias = {config.name}
    params.hostnames = [path]
    params.n_ctx = config.context_tokens * config.slots
    params.n_parallel = config.slots
    params.n_batch = params.n_ubatch = _BATCH
    params.cpuparams.n_threads = config.decode_threads or 1
    params.cpuparams_batch.n_threads = config.batch_threads or cores
    params.n_threads_http = config.slots + 2
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.ctx_shift = False
    params.fit_params = False
    params.ui = False
    params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
    params.verbosity = 0
    return xllamacpp.Server(params)
