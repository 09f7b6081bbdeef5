"""`make bench`: requests per second and latency, streaming and not, beside nginx and Envoy in the same run."""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bench import load, mock
from bench.targets import Target, all_targets, folder, resident

OUT = Path(__file__).parent / "out"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Tell me about freeholds. " * 8}]}


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement [5]")
    parser.add_argument("--clients", type=int, default=32, help="connections [32]")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    options = parser.parse_args()
    for program, package in (("h2load", "nghttp2-client"), ("nginx", "nginx-light"), ("taskset", "util-linux")):
        if shutil.which(program) is None:
            print(f"the benchmark needs {program}: apt-get install {package}", file=sys.stderr)
            return 1
    rows = []
    with folder() as scratch, all_targets(scratch) as targets:
        for streaming in (False, True):
            for target in targets:
                rows.append(_measure(target, scratch, streaming, options))
                print(f"… {target.name} {'streaming' if streaming else 'whole'} done", file=sys.stderr)
    result = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "clients": options.clients,
        "seconds": options.seconds,
        "tokens_per_answer": mock.TOKENS,
        "rows": rows,
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "gateway.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if options.json else _table(result))
    return 1 if any(row["failures"] for row in rows) else 0


def _measure(target: Target, scratch: Path, streaming: bool, options: argparse.Namespace) -> dict[str, object]:
    body = scratch / f"body-{streaming}"
    body.write_text(json.dumps({**QUESTION, **({"stream": True} if streaming else {})}))
    url = target.url.replace("/v1/chat/completions", target.stream_path) if streaming else target.url
    figures = load.run(
        url, body, key=target.key, seconds=options.seconds, clients=options.clients, socket=target.socket, h2=target.h2
    )
    row: dict[str, object] = {"target": target.name, "mode": "stream" if streaming else "whole", **asdict(figures)}
    row["chunks_per_second"] = round(figures.requests_per_second * mock.TOKENS) if streaming else None
    row["resident_bytes"] = resident(target.pid)
    return row


def _table(result: dict[str, object]) -> str:
    rows = result["rows"]
    assert isinstance(rows, list)
    lines = [
        f"{result['when']}  {result['machine']}  Python {result['python']}  {result['clients']} clients",
        "",
        "| server under test (one core) | mode | req/s | of nginx | chunks/s | mean ms | p99 ms | MiB | failures |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        base = next(r["requests_per_second"] for r in rows if r["target"] == "nginx" and r["mode"] == row["mode"])
        lines.append(
            f"| {row['target']} | {row['mode']} | {row['requests_per_second']:,.0f} | "
            f"{row['requests_per_second'] / base:.2f} | {row['chunks_per_second'] or '–'} | {row['mean_ms']:.2f} | "
            f"{row['p99_ms']:.2f} | {row['resident_bytes'] / (1 << 20):.0f} | {row['failures']} |"
        )
    return "\n".join(lines)


sys.exit(main())
