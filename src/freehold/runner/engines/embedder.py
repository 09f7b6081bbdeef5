"""Sentence vectors from a small BERT-like model in ONNX: tokens, mean over them, unit length.

Loaded at the first request, so that a runner nobody asks for vectors does not carry the libraries (about 60 MB). An
input longer than 256 word pieces is cut there, as the model was trained: the rest does not count. One batch runs at a
time, in a thread; a caller who leaves is noticed between two batches.
"""

import asyncio
import os
from typing import Any

from freehold.protocol.chat import ChatRequest, EmbeddingRequest, Embeddings, EngineHealth
from freehold.runner.config import Embedder
from freehold.runner.engines.engine import EngineFailure, Send

_LONGEST = 256
_BATCH = 8


class EmbedderEngine:
    """The embedded embedder."""

    def __init__(self, config: Embedder) -> None:
        self._config = config
        self._model: asyncio.Task[_Model] | None = None
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """What requests call it."""
        return self._config.name

    def health(self) -> EngineHealth:
        """Ready as long as its files can be read; it loads when it is first used."""
        return EngineHealth(self.name, "embedder", True, _LONGEST)

    async def start(self) -> None:
        """Only looks whether the files are there. Raises OSError."""
        for path in (self._config.model_path, self._config.tokenizer_path):
            await asyncio.to_thread(_look, path)

    async def close(self) -> None:
        """Forget the model."""
        self._model = None

    async def chat(self, request: ChatRequest, send: Send) -> None:
        """An embedder does not chat."""
        raise EngineFailure("model_not_found")

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Vectors of the inputs, in order."""
        if self._model is None:
            self._model = asyncio.create_task(asyncio.to_thread(_Model, self._config))
        model = await asyncio.shield(self._model)  # a caller who leaves does not have it loaded twice
        vectors: list[bytes] = []
        tokens = 0
        for start in range(0, len(request.inputs), _BATCH):
            async with self._turn:
                batch = await asyncio.to_thread(model.run, list(request.inputs[start : start + _BATCH]))
            vectors += batch[0]
            tokens += batch[1]
        return Embeddings(tuple(vectors), tokens)


def _look(path: str) -> None:
    with open(path, "rb"):
        pass


class _Model:
    """The loaded libraries and weights. Blocking; used from one thread at a time."""

    def __init__(self, config: Embedder) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import numpy
        import onnxruntime
        import tokenizers

        self._numpy: Any = numpy
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(config.model_path, options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizers.Tokenizer.from_file(config.tokenizer_path)
        self._tokenizer.enable_truncation(_LONGEST)
        self._tokenizer.no_padding()
        self._inputs = {node.name for node in self._session.get_inputs()}

    def run(self, texts: list[str]) -> tuple[list[bytes], int]:
        """(unit vectors as little-endian float32, tokens) of up to `_BATCH` texts."""
        np = self._numpy
        rows = [self._tokenizer.encode(text).ids for text in texts]
        width = max(len(row) for row in rows)
        ids, mask = (np.zeros((len(rows), width), dtype=np.int64) for _ in range(2))
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        weights = mask[:, :, None].astype(np.float32)
        means = (states * weights).sum(axis=1) / weights.sum(axis=1)
        units = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return [unit.astype("<f4").tobytes() for unit in units], sum(len(row) for row in rows)
