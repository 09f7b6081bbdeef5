"""`python -m freehold.supervisor`: a detached start. Settings come on standard input, progress goes to standard output.

After `Ready` or `Failed` nobody reads the pipe any more; later faults go to `logs/supervisor.log`.
"""

import asyncio
import os
import signal
import sys

from freehold.protocol.errors import Misconfigured
from freehold.settings import Settings, parse
from freehold.supervisor.progress import Failed, ProblemText, Progress, Ready, Tell, encode
from freehold.supervisor.supervise import supervise


def _main() -> int:
    settings = parse(sys.stdin.buffer.read())
    pipe = os.dup(1)

    def tell(progress: Progress) -> None:
        nonlocal pipe
        if pipe >= 0:
            try:
                os.write(pipe, encode(progress))
            except BrokenPipeError:  # the parent left; the start goes on
                os.close(pipe)
                pipe = -1
        if isinstance(progress, Ready) and pipe >= 0:
            os.close(pipe)
            pipe = -1

    try:
        settings.layout.create()
        _to_log(settings)
        asyncio.run(_run(settings, tell))
    except Misconfigured as error:
        tell(Failed(tuple(ProblemText(p.what, p.remedy) for p in error.problems)))
        return error.exit_code
    return 0


def _to_log(settings: Settings) -> None:
    """From here on, standard input is empty and both outputs are the supervisor's log."""
    log = os.open(settings.layout.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


async def _run(settings: Settings, tell: Tell) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await supervise(settings, tell, stop)


sys.exit(_main())
