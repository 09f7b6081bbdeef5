"""`python -m bench.audit`: durable audit events a second, how long a commit takes, and how quickly a log is verified.

Everything is the product's: the log as the gateway uses it, with its syncs, over one and over several processes. The
disk decides much of it, so what a bare sync of it takes stands beside. A table, and JSON in bench/out/audit.json.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from freehold.audit.events import Action, By, Event, Id, encode
from freehold.audit.log import AuditLog, signer
from freehold.audit.verify import verify
from freehold.audit.writer import Writer
from freehold.protocol.ids import new_id
from freehold.settings import Layout

OUT = Path(__file__).parent / "out"
WANTED = [
    ("durable events/s, one process", "one", "events_per_second", "≥", 5000.0),
    ("durable events/s, four processes", "four", "events_per_second", "≥", 5000.0),
    ("commit p99 ms, one process at full load", "one", "p99_ms", "≤", 25.0),
    ("commit p99 ms at 5,000 events/s, one process", "paced", "p99_ms", "≤", 25.0),
    ("commit p99 ms at 5,000 events/s, four processes", "four_paced", "p99_ms", "≤", 25.0),
    ("verified entries/s", "verify", "entries_per_second", "≥", 200_000.0),
]


def event() -> Event:
    """An exchange's intent as the gateway records it."""
    return Event(
        action=Action.EXCHANGE_INTENT,
        workspace=Id(new_id("ws")),
        actor=Id(new_id("usr")),
        credential=Id(new_id("key")),
        exchange=Id(new_id("exg")),
        engine=Id(new_id("eng")),
        by=By.API,
    )


async def load(layout: Layout, seconds: float, recorders: int, rate: float = 0) -> dict[str, Any]:
    """Record for so long: as fast as it goes with so many recorders, or `rate` a second, open loop."""
    took: list[float] = []
    one = event()
    async with AuditLog.of(layout) as log:
        end = time.perf_counter() + seconds

        async def timed() -> None:
            began = time.perf_counter()
            await log.record(one)
            took.append(time.perf_counter() - began)

        async def recorder() -> None:
            while time.perf_counter() < end:
                await timed()

        began = time.perf_counter()
        if rate:
            async with asyncio.TaskGroup() as group:
                for number in range(int(rate * seconds)):
                    if (early := began + number / rate - time.perf_counter()) > 0:
                        await asyncio.sleep(early)
                    group.create_task(timed())
        else:
            await asyncio.gather(*(recorder() for _ in range(recorders)))
        passed = time.perf_counter() - began
    return {"events": len(took), "seconds": passed, "took": took}


def figures(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Of the runs of one measurement together."""
    took = sorted(t for run in runs for t in run["took"])
    return {
        "events": len(took),
        "events_per_second": round(sum(run["events"] / run["seconds"] for run in runs)),
        "p50_ms": round(took[len(took) // 2] * 1e3, 3),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1e3, 3),
        "worst_ms": round(took[-1] * 1e3, 3),
    }


def several(layout: Layout, processes: int, seconds: float, rate: float = 0) -> dict[str, float]:
    """The same log written by several processes at once; `rate` is that of all together."""
    command = [sys.executable, "-m", "bench.audit", "--child", str(layout.state), "--seconds", str(seconds)]
    command += ["--rate", str(rate / processes)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    return figures([json.loads(child.communicate()[0]) for child in children])


def bare_sync(folder: Path) -> dict[str, float]:
    """What it takes to append 16 KiB to a file and sync it, without us."""
    descriptor, took = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT), []
    for _ in range(300):
        os.write(descriptor, b"x" * 16384)
        began = time.perf_counter()
        os.fdatasync(descriptor)
        took.append(time.perf_counter() - began)
    os.close(descriptor)
    took.sort()
    return {"p50_ms": round(took[150] * 1e3, 3), "p99_ms": round(took[297] * 1e3, 3)}


def verified(folder: Path, layout: Layout, entries: int) -> dict[str, float]:
    """How quickly a log of so many entries is verified."""
    key = signer(layout)
    writer, body = Writer(folder, key), encode(event())
    while writer.size < entries:
        writer.commit([body] * 250)
    writer.publish()
    writer.retire()
    writer.close()
    report = verify(folder, key.verifier)
    assert report.sound
    assert report.size >= entries
    return {"entries": report.size, "entries_per_second": round(report.size / report.seconds)}


def main() -> int:
    """Measure, print, write JSON. Exits 1 when a figure that is wanted was not reached."""
    parser = argparse.ArgumentParser(prog="bench.audit", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="length of one measurement [5]")
    parser.add_argument("--entries", type=int, default=300_000, help="entries of the log to verify [300000]")
    parser.add_argument("--folder", type=Path, default=None, help="where to write: the disk to be measured")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(asyncio.run(load(Layout(options.child), options.seconds, 64, options.rate))))
        return 0
    scratch = Path(tempfile.mkdtemp(prefix="fh-bench-", dir=options.folder))
    try:
        result = measure(scratch, options.seconds, options.entries)
    finally:
        shutil.rmtree(scratch)
    OUT.mkdir(exist_ok=True)
    (OUT / "audit.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if options.json else table(result))
    return 0 if all(row["reached"] for row in result["wanted"]) else 1


def measure(scratch: Path, seconds: float, entries: int) -> dict[str, Any]:
    """Every figure."""
    layouts = [Layout(scratch / name) for name in ("one", "single", "paced", "four", "four_paced", "verify")]
    for layout in layouts:
        layout.create()
        signer(layout)
    found: dict[str, Any] = {
        "bare_sync": bare_sync(scratch),
        "one": figures([asyncio.run(load(layouts[0], seconds, 128))]),
        "single": figures([asyncio.run(load(layouts[1], seconds, 1))]),
        "paced": figures([asyncio.run(load(layouts[2], seconds, 0, 5000))]),
        "four": several(layouts[3], 4, seconds),
        "four_paced": several(layouts[4], 4, seconds, 5000),
        "verify": verified(layouts[5].audit, layouts[5], entries),
    }
    sound = all(verify(layout.audit, signer(layout).verifier).sound for layout in layouts)
    rows = []
    for words, name, figure, direction, bound in WANTED:
        got = found[name][figure]
        reached = got >= bound if direction == "≥" else got <= bound
        rows.append({"wanted": words, "bound": f"{direction} {bound:g}", "found": got, "reached": reached and sound})
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sound": sound,
        "figures": found,
        "wanted": rows,
    }


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    found = result["figures"]
    lines = [
        f"{result['when']}  {result['machine']}  Python {result['python']}",
        "A bare append and sync of this disk: p50 {p50_ms} ms, p99 {p99_ms} ms.".format(**found["bare_sync"]),
        f"Every log verified: {result['sound']}.",
        "",
        "| load | events/s | p50 ms | p99 ms | worst ms |",
        "|---|---:|---:|---:|---:|",
    ]
    names = {
        "one": "one process, 128 recorders",
        "single": "one process, one recorder",
        "paced": "one process, 5,000/s open loop",
        "four": "four processes, 64 recorders each",
        "four_paced": "four processes, 5,000/s together, open loop",
    }
    for name, words in names.items():
        row = found[name]
        lines.append(
            f"| {words} | {row['events_per_second']:,} | {row['p50_ms']} | {row['p99_ms']} | {row['worst_ms']} |"
        )
    lines += ["", "| wanted | bound | found | |", "|---|---:|---:|---|"]
    for row in result["wanted"]:
        verdict = "reached" if row["reached"] else "**not reached**"
        lines.append(f"| {row['wanted']} | {row['bound']} | {row['found']:,} | {verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
