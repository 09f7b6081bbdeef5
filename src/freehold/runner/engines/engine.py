"""The seam between the runner's server and whatever computes: four methods and one exception.

An engine pushes events instead of returning a generator, so that no scope of its own outlives a cancellation: leaving
`chat` by an exception or a cancel has stopped the work, or told the engine to stop it.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from freehold.protocol.chat import ChatRequest, EmbeddingRequest, Embeddings, EngineHealth, Event

Send = Callable[[Event], Awaitable[None]]
"""Takes the next event to the client. Waits when the client reads slowly."""


class EngineFailure(Exception):
    """The engine does not (go on to) answer. `code` is one of RUNNER_CODES; there is no text, so none can leak."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Engine(Protocol):
    """One engine of a runner."""

    @property
    def name(self) -> str:
        """What requests call it."""

    def health(self) -> EngineHealth:
        """Its state now. Never waits."""

    async def start(self) -> None:
        """Load. Returns when it can answer. Raises EngineFailure or OSError when it never will."""

    async def close(self) -> None:
        """Stop and free. May be called in any state."""

    async def chat(self, request: ChatRequest, send: Send) -> None:
        """Send the answer's events, `Finished` last. Raises EngineFailure. A cancel stops the engine's work."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Vectors of the inputs. Raises EngineFailure."""
