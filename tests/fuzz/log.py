"""What our processes write down: one line an event, whatever names and errors there are, and no text of an error."""

import contextlib
import io
import json
import os
from collections.abc import Iterator

from freehold.protocol.fault import log_fault
from freehold.runner.log import Log, What
from tests.fuzz.target import Target

_KINDS = list(What)


def _faulty(text: str) -> BaseException:
    error = KeyError(text)
    error.__cause__ = ValueError(text)
    return error


def run(data: bytes) -> None:
    """The bytes are an engine's name, an error's name and its message."""
    text = data.decode("utf-8", "replace")
    fields = [*text.split("|", 2), "", ""][:3]
    reading, writing = os.pipe()
    try:
        Log(writing).note(
            _KINDS[len(data) % len(_KINDS)], engine=fields[0][:9000], error=fields[1][:9000], seconds=len(data)
        )
        line = os.read(reading, 1 << 18)
    finally:
        os.close(reading)
        os.close(writing)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    told = json.loads(line)
    assert (told.get("engine", ""), told.get("error", "")) == (fields[0][:9000], fields[1][:9000])
    with contextlib.redirect_stderr(io.StringIO()) as written:
        log_fault("gateway", "exg_1", _faulty(f"<{text}>"))
    (fault,) = written.getvalue().splitlines()
    assert f"<{text}>" not in fault
    assert json.loads(fault)["error"] == "KeyError"


def seeds() -> Iterator[bytes]:
    """Names, plain and not."""
    yield b"cloud|ValueError|a secret"
    yield b'a"\\\r\n{"at":1}|\x1b[31m\x00\x7f|\xe2\x80\xa8'
    yield b"\xff\xfe|\xf0\x9f\x98\x80" * 50


TARGET = Target(run, seeds)
