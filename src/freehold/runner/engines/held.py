"""Makes sure that a structured answer is what its grammar promised, since the engine may give a grammar up in silence.

It does so when no value can meet a schema, and then answers in prose. What cannot be JSON is noticed at the first
piece, before the client has seen anything; the whole text is checked at its end, unless a limit or a stop sequence
cut it.
"""

import json

from freehold.protocol.chat import ChatRequest, Delta, Event, Finished
from freehold.runner.engines.engine import EngineFailure

_WORDS = ("true", "false", "null")


class HeldJson:
    """The check of one answer. `watch` every event of the engine."""

    def __init__(self, request: ChatRequest) -> None:
        self._cut = bool(request.stop)
        self._text: list[str] = []
        self._begun = False

    def watch(self, event: Event) -> None:
        """Raises EngineFailure when the answer is not, or will not be, JSON."""
        if isinstance(event, Delta):
            self._text.append(event.text)
            if not self._begun:
                beginning = "".join(self._text).lstrip()
                if not _may_begin(beginning):
                    raise EngineFailure("invalid_schema")
                self._begun = len(beginning) > max(map(len, _WORDS))
        elif isinstance(event, Finished) and event.reason == "stop" and not self._cut and not _is_json(self._text):
            raise EngineFailure("engine_failed")


def _may_begin(text: str) -> bool:
    """May a JSON value begin so?"""
    return not text or text[0] in '{["-0123456789' or any(word.startswith(text.rstrip()) for word in _WORDS)


def _is_json(pieces: list[str]) -> bool:
    try:
        json.loads("".join(pieces))
    except (ValueError, RecursionError):
        return False
    return True
