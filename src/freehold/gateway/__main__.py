"""`python -m freehold.gateway [WORKER]`: reads the settings as JSON on standard input, serves until told to end."""

import asyncio
import gc
import signal
import sys

import uvloop

from freehold.gateway.app import gateway
from freehold.settings import parse


async def _serve() -> None:
    settings = parse(sys.stdin.buffer.read())
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with gateway(settings, int(sys.argv[1]) if len(sys.argv) > 1 else 0):
        gc.collect()
        gc.freeze()  # what is there now stays: it need not be looked through again and again
        gc.set_threshold(50_000, 20, 20)
        await over.wait()


uvloop.run(_serve())
