"""How our ASGI processes listen: uvicorn on a Unix socket of mode 0600, quiet, with no header of its own.

Called by the `__main__` of gateway and console, which the supervisor starts with the settings on standard input.
"""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from freehold.settings import Layout, Settings, parse


def serve_child(build: Callable[[Settings], Any], where: Callable[[Layout], Path]) -> None:
    """Run the application that `build` makes of the settings until the supervisor says stop (SIGTERM)."""
    settings = parse(sys.stdin.buffer.read())
    path = where(settings.layout)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    uvicorn.Server(config(build(settings))).run(sockets=[listener])


def config(application: Any) -> uvicorn.Config:
    """How uvicorn serves an application of ours: no header of its own, nothing logged of a request."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=4096,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=64 << 10,
    )
