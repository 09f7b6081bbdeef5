"""What the comparison found, as a table with a verdict for each line that is wanted; and how a process is read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += _tree(int(child))
    return found


def resident(pid: int) -> int:
    """Resident bytes of a process and its children."""
    total = 0
    for one in _tree(pid):
        text = Path(f"/proc/{one}/status").read_text()
        total += int(text.partition("VmRSS:")[2].split()[0]) << 10
    return total


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children."""
    total = 0
    for one in _tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


Rows = dict[str, dict[str, Any]]


def _ratio(figure: str, peer: str) -> Callable[[Rows], float]:
    return lambda rows: float(rows["freehold"][figure]) / float(rows[peer][figure])


def _own(figure: str, scale: float = 1.0, name: str = "freehold") -> Callable[[Rows], float]:
    return lambda rows: float(rows[name][figure]) * scale


_MIB = 1 / (1 << 20)

WANTED: list[tuple[str, Callable[[Rows], float], str, float]] = [
    ("requests/s beside LiteLLM", _ratio("requests_per_second", "litellm"), "≥", 100),
    ("requests/s beside Portkey", _ratio("requests_per_second", "portkey"), "≥", 10),
    ("requests/s beside ferrogw", _ratio("requests_per_second", "ferrogw"), "≥", 1.3),
    ("requests/s beside nginx `proxy_pass`", _ratio("requests_per_second", "nginx"), "≥", 0.4),
    ("streamed chunks/s beside LiteLLM", _ratio("chunks_per_second", "litellm"), "≥", 20),
    ("streamed chunks/s beside ferrogw", _ratio("chunks_per_second", "ferrogw"), "≥", 1),
    ("added latency at half load, p50, ms", _own("added_p50_ms"), "≤", 0.6),
    ("added latency at half load, p99, ms", _own("added_p99_ms"), "≤", 4),
    ("added time to first token, p50, ms", _own("added_first_p50_ms"), "≤", 1),
    ("memory at rest, MiB", _own("resident_bytes", _MIB), "≤", 90),
    ("memory with 2,000 open streams, MiB", _own("resident_streams_bytes", _MIB), "≤", 160),
    (
        "requests/s with 1,000,000 keys beside ten",
        lambda rows: rows["freehold, 1,000,000 keys"]["requests_per_second"] / rows["freehold"]["requests_per_second"],
        "≥",
        0.9,
    ),
    ("start with 1,000,000 keys, s", _own("start_seconds", name="freehold, 1,000,000 keys"), "≤", 3),
]
"""What is wanted: words, figure, direction, bound."""


_WORDS = """{when}, {machine}, Python {python}. Made by `make bench-peers`.

One core for the server under test, the other for mock engine and load generator. An answer has {tokens_per_answer}
tokens. Added latency is an open loop's at half of the server's own rate (at most 4,000/s), less the mock engine's own
p50 at that rate;
added time to first token is at 20 streams a second of an engine that takes 20 ms to the first token and 5 ms to each
further one. The gateway is measured with key check, limits and fair queue at work, over the Unix sockets that it has;
the peers over loopback TCP, which is what they have. nginx is `proxy_pass` as it comes (a new connection to the
upstream for each request), and once more with its upstream connections kept, which only moves bytes."""


def table(result: dict[str, Any]) -> str:
    """The comparison as Markdown."""
    rows: Rows = {row["name"]: row for row in result["rows"]}
    heads = "server|version|requests/s|chunks/s|added p50 ms|added p99 ms|added first token ms|MiB at rest|start s"
    lines = [
        "# The gateway beside its peers",
        "",
        _WORDS.format(**{name: result[name] for name in ("when", "machine", "python", "tokens_per_answer")}),
        "",
        f"| {heads.replace('|', ' | ')} | CPU s / 1,000 | failures |",
        "|---|---|" + "---:|" * 9,
    ]
    for row in result["rows"]:
        if "not_measured" in row:
            lines.append(f"| {row['name']} | {row.get('version', '')} | not measured |{' |' * 8}")
            continue
        lines.append(
            f"| {row['name']} | {row['version']} | {row['requests_per_second']:,.0f} | "
            f"{row['chunks_per_second']:,.0f} | {row['added_p50_ms']:.2f} | {row['added_p99_ms']:.2f} | "
            f"{row['added_first_p50_ms']:.2f} | "
            f"{row['resident_bytes'] * _MIB:.0f} | {row['start_seconds']:.1f} | {row['cpu_seconds_per_1000']:.3f} | "
            f"{row['failures']} |"
        )
    lines += ["", "| wanted | bound | found | |", "|---|---:|---:|---|"]
    for words, figure, direction, bound in WANTED:
        try:
            found = figure(rows)
        except KeyError:
            lines.append(f"| {words} | {direction} {bound:g} | not measured | |")
            continue
        held = found >= bound if direction == "≥" else found <= bound
        lines.append(f"| {words} | {direction} {bound:g} | {found:.2f} | {'reached' if held else '**not reached**'} |")
    return "\n".join(lines) + "\n"
