"""What a runner writes to its log: enumerated events with typed fields, one JSON object a line. Never content.

The native libraries in this process print what they like to the standard descriptors, and some of it quotes a request
(a schema that the engine cannot follow, for one). `mute_native_output` therefore keeps our log on a descriptor of its
own and points the standard ones at nothing, before the first request is taken.
"""

import faulthandler
import os
import sys
import time
from enum import StrEnum

import msgspec


class What(StrEnum):
    """Everything that a runner can have to say."""

    STARTING = "runner.starting"
    SEALED = "runner.sealed"
    LISTENING = "runner.listening"
    ENGINE_READY = "engine.ready"
    ENGINE_UNUSABLE = "engine.unusable"
    ENGINE_LOST = "engine.lost"
    BAD_CONFIGURATION = "runner.bad_configuration"
    FAULT = "runner.fault"
    STOPPED = "runner.stopped"


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `error` is an exception's type name, never its text; `engine` is the operator's name for it."""

    at: float
    what: What
    engine: str = ""
    error: str = ""
    seconds: float = 0.0


class Log:
    """Writes lines to one descriptor. Losing a line is better than stopping to answer."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor

    def note(self, what: What, *, engine: str = "", error: str = "", seconds: float = 0.0) -> None:
        """Write one line."""
        line = msgspec.json.encode(Line(round(time.time(), 3), what, engine, error, round(seconds, 3)))
        try:
            os.write(self._descriptor, line + b"\n")
        except OSError:
            return

    def mute_native_output(self) -> None:
        """From now on nothing but this log (and a crash's bare stack) reaches the outside."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._descriptor = os.dup(self._descriptor)
        faulthandler.enable(file=self._descriptor, all_threads=False)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        os.close(nothing)
