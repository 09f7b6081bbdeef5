"""`python -m freehold.gateway`: reads the settings as JSON on standard input, serves until SIGTERM or SIGINT."""

import asyncio
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
    async with gateway(settings, settings.layout.gateway_socket):
        await over.wait()


uvloop.run(_serve())
