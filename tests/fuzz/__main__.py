"""Fuzz one target with coverage: `python -m tests.fuzz TARGET [--seconds N] [--runs N] [--corpus DIR]`.

For a release, ten million inputs of each (a corpus that is kept is taken up again):

    for t in $(python -m tests.fuzz --list); do python -m tests.fuzz $t --runs 10000000 --corpus DIR/$t || exit; done

What crashes, or takes more than a second, is written beside the corpus as `crash-…` or `timeout-…`; the exit code is
then not 0.
"""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

from tests.fuzz.target import NAMES, load

PARSER = argparse.ArgumentParser(description="Fuzz one target.")
PARSER.add_argument("target", nargs="?", choices=NAMES)
PARSER.add_argument("--list", action="store_true", help="print the names of all targets")
PARSER.add_argument("--seconds", type=int, default=0)
PARSER.add_argument("--runs", type=int, default=0)
PARSER.add_argument("--corpus", type=Path)


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    asked = PARSER.parse_args()
    if asked.list or asked.target is None:
        print("\n".join(NAMES))
        return
    corpus = asked.corpus or Path(tempfile.mkdtemp(prefix="fh-fuzz-")) / asked.target
    corpus.mkdir(parents=True, exist_ok=True)
    atheris = importlib.import_module("atheris")  # untyped, and for Linux on x86-64 only
    with atheris.instrument_imports(include=["freehold"]):
        target = load(asked.target)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:02}").write_bytes(seed)
    options = ["-timeout=1", "-rss_limit_mb=2048", "-max_len=16384", f"-artifact_prefix={corpus.parent}{os.sep}"]
    bounds = [f"-max_total_time={asked.seconds}"] * bool(asked.seconds) + [f"-runs={asked.runs}"] * bool(asked.runs)
    atheris.Setup([sys.argv[0], *options, *(bounds or ["-runs=100000"]), str(corpus)], target.run)
    atheris.Fuzz()


main()
