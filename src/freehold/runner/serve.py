"""The life of a runner: seal, listen, load, serve, stop. Called by `__main__` with a decoded configuration.

The socket answers `/health` from the first moment; models load in threads beside it. An engine that cannot be used ends
the whole runner with an exit code, because a runner that can only refuse looks alive and is not.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from freehold.protocol.seal import SealReport
from freehold.runner.config import Embedder, EngineConfig, LlamaCpp, OutsideEngine, RunnerConfig
from freehold.runner.engines.engine import Engine, EngineFailure
from freehold.runner.log import Log, What
from freehold.runner.reclaim import reclaim_zeros, resident_copies
from freehold.runner.server import RunnerApp

EXIT_OK, EXIT_ENGINE = 0, 69
_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 2


def serve(config: RunnerConfig, log: Log) -> int:
    """Run until told to stop (SIGTERM, SIGINT). Gives the exit code."""
    if config.sealed:
        from freehold.runner.seal import apply_landlock

        apply_landlock([Path(path) for path in config.readable], [Path(path) for path in config.writable])
        log.note(What.SEALED)
    uvicorn.config.logger.disabled = True
    with asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(_serve(config, log))


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _serve(config: RunnerConfig, log: Log) -> int:
    engines = [open_engine(engine) for engine in config.engines]
    app = RunnerApp(engines, _attack, log)
    asked = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, asked.set)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    # uvicorn's own handling would kill us with the signal again at its end, before anything is cleaned up
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    with _listening(config.socket) as listener:
        log.note(What.LISTENING)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loading = asyncio.create_task(_load(engines, app, log))
        try:
            return await _until_over(serving, loading, asked, app.lost)
        finally:
            server.should_exit = True
            loading.cancel()
            await asyncio.gather(serving, loading, return_exceptions=True)
            for engine in engines:
                await engine.close()
            log.note(What.STOPPED)


async def _until_over(
    serving: asyncio.Task[None], loading: asyncio.Task[bool], asked: asyncio.Event, lost: asyncio.Event
) -> int:
    """Wait until it is asked to stop, or an engine cannot be used or is lost; gives the exit code."""
    ends = [asyncio.create_task(event.wait()) for event in (asked, lost)]
    try:
        await asyncio.wait((serving, loading, *ends), return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and not loading.result():
            return EXIT_ENGINE
        await asyncio.wait((serving, *ends), return_when=asyncio.FIRST_COMPLETED)
        return EXIT_ENGINE if lost.is_set() else EXIT_OK
    finally:
        for end in ends:
            end.cancel()


async def _load(engines: list[Engine], app: RunnerApp, log: Log) -> bool:
    """Start every engine, one after the other. False when one cannot be used."""
    for engine in engines:
        began = time.monotonic()
        try:
            await engine.start()
        except (EngineFailure, OSError) as error:
            log.note(What.ENGINE_UNUSABLE, engine=engine.name, error=type(error).__name__)
            return False
        log.note(What.ENGINE_READY, engine=engine.name, seconds=time.monotonic() - began)
    reclaim_zeros()
    app.copied_weights = resident_copies()
    log.mute_native_output()
    app.loaded = True
    return True


def open_engine(config: EngineConfig) -> Engine:
    """The engine of one configuration, not yet started. Imports only its own kind."""
    match config:
        case LlamaCpp():
            from freehold.runner.engines.llamacpp import LlamaCppEngine

            return LlamaCppEngine(config)
        case OutsideEngine():
            from freehold.runner.engines.openai import OpenAiEngine

            return OpenAiEngine(config)
        case Embedder():
            from freehold.runner.engines.embedder import EmbedderEngine

            return EmbedderEngine(config)


@contextlib.contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    """A listening Unix socket that only this user may enter; a dead one's leftover is replaced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o077)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(256)
        listener.setblocking(False)
        yield listener
    finally:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _attack() -> SealReport:
    from freehold.runner.seal import attack

    return attack()
