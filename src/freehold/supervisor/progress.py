"""What the start says of itself, step by step, and the stream by which a detached start tells its parent.

The command line renders these steps as a live display, as plain lines, or not at all (`--json`).
"""

from collections.abc import Callable
from typing import Literal

import msgspec


class Step(msgspec.Struct, frozen=True, tag="step"):
    """A step began (`done` None) or advances: `done` of `total` in bytes, or complete when both are equal."""

    name: str
    detail: str = ""
    done: int | None = None
    total: int | None = None


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something that the operator should know; the start goes on."""

    text: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Everything serves. `claim_url` is None once the workspace has an owner."""

    url: str
    claim_url: str | None
    ca_file: str | None
    state: str
    ready_seconds: float


class Served(msgspec.Struct, frozen=True):
    """An engine as its workspace's box needs to know it."""

    workspace_id: str
    name: str
    kind: Literal["llamacpp", "embedder", "openai"]
    model: str
    url: str | None


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """Everything is in place. `claim` is the secret of a fresh claim while nobody owns the workspace.

    `engines` are those of all workspaces as of the change `seq`; `relay` tells whether one of them is outside.
    """

    claim: str | None
    ca_file: str | None
    relay: bool
    engines: tuple[Served, ...]
    seq: int


class ProblemText(msgspec.Struct, frozen=True):
    """A problem and its remedy."""

    what: str
    remedy: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The start was given up; everything it had started is stopped."""

    problems: tuple[ProblemText, ...]


Progress = Step | Notice | Prepared | Ready | Failed
Tell = Callable[[Progress], None]

_decoder: msgspec.json.Decoder[Progress] = msgspec.json.Decoder(Progress)


def encode(progress: Progress) -> bytes:
    """One line for the pipe to the parent."""
    return msgspec.json.encode(progress) + b"\n"


def decode(line: bytes) -> Progress:
    """The step of one line. Raises msgspec.DecodeError."""
    return _decoder.decode(line)
