"""Every target is run: over its seeds and their mutations every day, by atheris for a minute in CI (BAR-12).

The everyday mutator is small and replayable; atheris follows coverage, each target in a process of its own. How to run
ten million inputs of each stands at the head of `__main__.py`.
"""

import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.target import NAMES, load

EVERYDAY = 2000
SECONDS = 60
TOKENS = (
    b"\r\n", b"\n", b"\0", b'"', b"\\", b"\\u", b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-1", b"1e999",
    b"null", b"\xff", b"data: ", b"content-length: ", b"transfer-encoding: chunked\r\n", b"0\r\n\r\n", b"HTTP/1.1 ",
    b"Bearer ", b"9" * 400, b"a" * 400,
)  # fmt: skip


def _mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 6)):
        at, end = chance.randint(0, len(data)), chance.randint(0, 12)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + end] = b""
            case 2:
                data[at:at] = chance.choice(TOKENS)
            case 3:
                data[at:at] = data[at : at + end] * chance.choice((1, 2, 20))
            case _:
                other = chance.choice(seeds)
                data[at:] = other[chance.randint(0, len(other)) :]
    return bytes(data)


def _inputs(name: str) -> Iterator[bytes]:
    chance, seeds = random.Random(name), list(load(name).seeds())  # noqa: S311 - a replayable order
    yield b""
    yield from seeds
    for _ in range(EVERYDAY):
        yield _mutated(chance, seeds)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_their_mutations(name: str) -> None:
    run = load(name).run
    for data in _inputs(name):
        began = time.perf_counter()
        try:
            run(data)
        except Exception as error:
            raise AssertionError(f"{name} on {data!r}") from error
        assert time.perf_counter() - began < 1, data


def _fuzzed(name: str) -> tuple[str, int, int, str]:
    """Name, exit code, inputs tried, and the end of what was said."""
    with tempfile.TemporaryDirectory(prefix="fh-fuzz-") as folder:
        options = ["--seconds", str(SECONDS // len(NAMES)), "--corpus", f"{folder}/corpus"]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", name, *options], capture_output=True, text=True, timeout=120,
            check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        kept = [path.read_bytes()[:300] for path in Path(folder).iterdir() if path.is_file()]
    tried = re.findall(r"^Done (\d+) runs", done.stderr, re.MULTILINE) or ["0"]
    return name, done.returncode, int(tried[-1]), f"{kept}\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is for Linux on x86-64: pip install atheris there")
def test_a_minute_of_atheris_finds_nothing() -> None:
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(_fuzzed, NAMES))
    for name, code, tried, said in done:
        print(f"{name}: {tried} inputs")
        assert code == 0, f"{name}: {said}"
        assert tried > 1000, f"{name}: {said}"
