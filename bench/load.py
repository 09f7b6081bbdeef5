"""Runs h2load against one address and reads its figures. Everything that is not a 2xx counts as a failure."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figures:
    """One measurement. Latency in milliseconds."""

    requests_per_second: float
    mean_ms: float
    p99_ms: float
    failures: int
    requests: int


def run(
    url: str,
    body: Path,
    *,
    key: str,
    seconds: int,
    clients: int,
    socket: Path | None = None,
    h2: bool = False,
    headers: tuple[str, ...] = (),
) -> Figures:
    """Load `url` (or the Unix `socket`) for `seconds` with `clients` connections, one request at a time on each."""
    log = body.with_suffix(".log")
    log.unlink(missing_ok=True)
    command = ["taskset", "-c", "1", "h2load", "-D", str(seconds), "--warm-up-time", "1", "-c", str(clients), "-m", "1"]
    command += ["-d", str(body), "-H", "content-type: application/json", "-H", f"authorization: Bearer {key}"]
    command += [part for header in headers for part in ("-H", header)]
    command += ["--log-file", str(log)]
    command += [] if h2 else ["--h1"]
    command += ["--base-uri", f"unix:{socket}"] if socket else []
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + 60, check=False)
    text = done.stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", text)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not (rate and codes and failed):
        raise RuntimeError(f"h2load said nothing usable: {text[-400:]} {done.stderr[-400:]}")
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    good, *bad = (int(number) for number in codes.groups())
    failures = sum(bad) + sum(int(number) for number in failed.groups()[1:])
    mean = sum(times) / max(1, len(times)) / 1000
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))] / 1000 if times else 0.0
    return Figures(float(rate.group(1)), mean, p99, failures, good)
