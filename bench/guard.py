"""`python -m bench.guard`: how fast the guard is, what a stream waits for it, and what it finds and misses.

Three parts. Speed: plain text, hostile text, a stream token by token. Quality on text that is made here, with real
check digits, from templates that are kept aside (`bench.guard_corpus`). Quality on Presidio's synthetic
sentences when they are beside the project (`--presidio FILE`). Writes `bench/out/guard.json` and, with `--write`,
`bench/GUARD.md`.
"""

import argparse
import json
import os
import platform
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import guard_corpus
from freehold.guard.detector import KINDS, Finding
from freehold.guard.exact import Book, Shelf
from freehold.guard.fingerprint import register, workspace_key
from freehold.guard.passage import Guard
from freehold.guard.policy import Policy, Rule

OUT = Path(__file__).parent / "out"
PRESIDIO = Path(__file__).resolve().parents[2] / "shared/data/pii/presidio_synth_even_templates.jsonl"
_TOKEN = re.compile(r"\s?\w{1,6}|\s?[^\w\s]+|\s+")
_STRUCTURED = {
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL",
    "IP_ADDRESS": "IP",
    "US_SSN": "NATIONAL_ID",
    "US_DRIVER_LICENSE": "LICENCE",
}
"""Presidio's classes that rules are for, and ours."""

Span = tuple[int, int, str]


def everything(sure: float) -> Policy:
    """A policy that masks all classes in answers, from a confidence on."""
    return Policy(rules={"answer": {kind: Rule("mask", sure) for kind in KINDS}})


def main() -> int:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(prog="bench.guard", description=__doc__)
    parser.add_argument("--presidio", type=Path, default=PRESIDIO, help="labelled sentences, one JSON object a line")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--write", action="store_true", help="write bench/GUARD.md")
    options = parser.parse_args()
    guards = {"default": Guard(Policy()), "everything": Guard(everything(0.6))}
    compiled = {name: round(_seconds(partial(guard.prepare, ("answer",))), 2) for name, guard in guards.items()}
    result: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "compile_seconds": compiled,
        "speed": [row for name, guard in guards.items() for row in _speed(name, guard)],
        "stream": [_stream(name, guard) for name, guard in (*guards.items(), ("default + 10,000 values", _valued()))],
        "made": _quality_made(guards["everything"], options.seed),
    }
    if options.presidio.is_file():
        sentences = [json.loads(line) for line in options.presidio.read_text("utf-8").splitlines()]
        result["presidio_structured"] = _structured(guards["everything"], sentences)
        result["presidio_all"] = {
            f"confidence ≥ {sure}": _everything(Guard(everything(sure)), sentences) for sure in (0.6, 0.4)
        }
    OUT.mkdir(exist_ok=True)
    (OUT / "guard.json").write_text(json.dumps(result, indent=1) + "\n")
    text = _report(result)
    if options.write:
        (Path(__file__).parent / "GUARD.md").write_text(text)
    print(text)
    return 0


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _whole(guard: Guard, text: str) -> float:
    return min(_seconds(lambda: guard.text("answer", text)) for _ in range(3))


def _speed(name: str, guard: Guard) -> list[dict[str, Any]]:
    rows = []
    prose = guard_corpus.prose(1 << 20)
    rows.append(
        {"policy": name, "text": "plain prose", "megabytes_per_second": len(prose) / 1e6 / _whole(guard, prose)}
    )
    for shape, text in guard_corpus.hostile(1_000_000).items():
        rows.append({"policy": name, "text": shape, "seconds": _whole(guard, text)})
    return rows


def _valued() -> Guard:
    rng = random.Random(7)
    key = workspace_key(bytes(32), "ws_bench")
    values = {guard_corpus.registered_value(rng) for _ in range(10_000)}
    return Guard(Policy(), Book([Shelf(key, [register(key, v, "name", "bench") for v in sorted(values)], True)]))


def _stream(name: str, guard: Guard) -> dict[str, Any]:
    text = guard_corpus.prose(200_000)
    tokens = _TOKEN.findall(text)
    flow, held = guard.stream("answer"), []
    began = time.perf_counter()
    for token in tokens:
        flow.feed(token)
        held.append(flow.held)
    seconds = time.perf_counter() - began
    flow.finish()
    held.sort()
    return {
        "policy": name,
        "tokens": len(tokens),
        "microseconds_per_token": seconds / len(tokens) * 1e6,
        "held_p50": held[len(held) // 2],
        "held_p99": held[len(held) * 99 // 100],
        "held_most": held[-1],
    }


def _overlap(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _scored(pairs: Iterable[tuple[Sequence[Span], Sequence[Span]]], kinds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of (wanted, found) in each text: a wanted span counts as found when most of it is covered by its class."""
    count: dict[str, list[int]] = {kind: [0, 0, 0] for kind in kinds}  # wanted, hit, false
    for wanted, found in pairs:
        for span in wanted:
            count[span[2]][0] += 1
            covered = sum(
                min(span[1], f[1]) - max(span[0], f[0]) for f in found if f[2] == span[2] and _overlap(f, span)
            )
            count[span[2]][1] += covered * 10 >= (span[1] - span[0]) * 9
        for span in found:
            if span[2] in count and not any(_overlap(span, w) for w in wanted):
                count[span[2]][2] += 1
    rows = {}
    total = [sum(column) for column in zip(*count.values(), strict=True)]
    for kind, (wanted_count, hit, false) in (*count.items(), ("all", total)):
        rows[kind] = {
            "wanted": wanted_count,
            "recall": hit / wanted_count if wanted_count else None,
            "precision": hit / (hit + false) if hit + false else None,
            "false": false,
        }
    return rows


def _spans(findings: Iterable[Finding]) -> list[Span]:
    return [(f.start, f.end, f.kind) for f in findings]


def _quality_made(guard: Guard, seed: int) -> dict[str, dict[str, Any]]:
    made = guard_corpus.labelled(random.Random(seed), 6000)
    pairs = [(spans, _spans(guard.text("answer", text).findings)) for text, spans in made]
    return _scored(pairs, guard_corpus.KINDS)


def _structured(guard: Guard, sentences: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    pairs = []
    for sentence in sentences:
        spans = [(s["start"], s["end"], s["type"]) for s in sentence["spans"]]
        wanted = [(a, b, _STRUCTURED[kind]) for a, b, kind in spans if kind in _STRUCTURED]
        others = [(a, b, "other") for a, b, kind in spans if kind not in _STRUCTURED]
        found = _spans(guard.text("answer", sentence["text"]).findings)
        pairs.append((wanted, [f for f in found if not any(_overlap(f, o) for o in others)]))
    return _scored(pairs, sorted(set(_STRUCTURED.values())))


def _everything(guard: Guard, sentences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Characters: of all that is labelled, how many are covered by any finding, and of those found, how many are
    labelled."""
    by_kind: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    hit = labelled = found_count = 0
    for sentence in sentences:
        found: set[int] = set()
        for finding in guard.text("answer", sentence["text"]).findings:
            found.update(range(finding.start, finding.end))
        wanted: set[int] = set()
        for span in sentence["spans"]:
            places = set(range(span["start"], span["end"]))
            wanted |= places
            by_kind[span["type"]][0] += len(places)
            by_kind[span["type"]][1] += len(places & found)
        hit, labelled, found_count = hit + len(wanted & found), labelled + len(wanted), found_count + len(found)
    recall, precision = hit / labelled, hit / max(found_count, 1)
    return {
        "recall": recall,
        "precision": precision,
        "f2": 5 * precision * recall / max(4 * precision + recall, 1e-9),
        "recall_by_class": {kind: hits / size for kind, (size, hits) in sorted(by_kind.items())},
    }


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table(rows: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["| class | wanted | recall | precision | false alarms |", "|---|---:|---:|---:|---:|"]
    return lines + [
        f"| {kind} | {row['wanted']} | {_percent(row['recall'])} | {_percent(row['precision'])} | {row['false']} |"
        for kind, row in rows.items()
    ]


def _report(result: dict[str, Any]) -> str:
    lines = [
        "# The guard, measured",
        "",
        f"`python -m bench.guard`, {result['when']}, {result['machine']}, Python {result['python']}; one core.",
        "",
        "Compiling the detectors takes (seconds): "
        + ", ".join(f"{name} {seconds}" for name, seconds in result["compile_seconds"].items())
        + ".",
        "",
        "## Speed",
        "",
        "| policy | text of 1 MB | MB/s | seconds |",
        "|---|---|---:|---:|",
    ]
    for row in result["speed"]:
        rate = row.get("megabytes_per_second") or 1 / row["seconds"]
        lines.append(f"| {row['policy']} | {row['text']} | {rate:.1f} | {1 / rate:.2f} |")
    lines += [
        "",
        "## In a stream",
        "",
        "Held back after each token, in characters (200 kB of prose, tokens of at most 7).",
        "",
    ]
    lines += ["| policy | µs a token | p50 | p99 | most |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {row['policy']} | {row['microseconds_per_token']:.1f} | {row['held_p50']} | {row['held_p99']} | "
        f"{row['held_most']} |"
        for row in result["stream"]
    ]
    lines += ["", "## Structured data and secrets, made by template (BAR-41: recall ≥ 0.99, precision ≥ 0.97)", ""]
    lines += _table(result["made"])
    if "presidio_structured" in result:
        lines += ["", "## Presidio's sentences, the structured classes", "", *_table(result["presidio_structured"])]
        for name, row in result["presidio_all"].items():
            lines += [
                "",
                f"## Presidio's sentences, everything that is labelled, by character, {name}",
                "",
                f"Recall {row['recall']:.3f}, precision {row['precision']:.3f}, F2 {row['f2']:.3f}.",
                "",
                "| label | recall |",
                "|---|---:|",
                *(f"| {kind} | {value:.3f} |" for kind, value in row["recall_by_class"].items()),
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
