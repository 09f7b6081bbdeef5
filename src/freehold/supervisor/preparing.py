"""Runs `supervisor.prepare` in a process of its own and passes on what it says. Called by `supervise`."""

import asyncio
import contextlib
from pathlib import Path
from typing import Literal

import msgspec

from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Settings, dump
from freehold.supervisor.children import ENVIRONMENT, die_with_parent, python_command
from freehold.supervisor.progress import Failed, Prepared, Tell, decode


async def prepare_apart(settings: Settings, what: Literal["start", "refresh"], tell: Tell) -> Prepared:
    """Raises Misconfigured with the problems that it found. A cancel ends the process; nothing half-made stays."""
    log = settings.layout.logs / "prepare.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *python_command("freehold.supervisor.prepare"),
            what,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=ENVIRONMENT,
            preexec_fn=die_with_parent,
        )
    try:
        return await _listen(process, settings, tell, log)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _listen(process: asyncio.subprocess.Process, settings: Settings, tell: Tell, log: Path) -> Prepared:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child has no pipes")
    process.stdin.write(dump(settings))
    process.stdin.close()
    with contextlib.suppress(msgspec.DecodeError):
        async for line in process.stdout:
            match decode(line):
                case Prepared() as prepared:
                    await process.wait()
                    return prepared
                case Failed(problems):
                    raise Misconfigured(*(Problem(p.what, p.remedy) for p in problems))
                case progress:
                    tell(progress)
    raise Misconfigured(Problem("the preparation broke off", f"Look at {log}."))
