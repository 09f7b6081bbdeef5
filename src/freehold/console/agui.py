"""The AG-UI events that the page understands, as JSON bytes (docs.ag-ui.com, the subset that this slice uses)."""

import msgspec

_encode = msgspec.json.encode


def run_started(thread: str, run: str) -> bytes:
    """The answer is being made."""
    return _encode({"type": "RUN_STARTED", "threadId": thread, "runId": run})


def text_start(message: str) -> bytes:
    """A message of the assistant begins."""
    return _encode({"type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant"})


def text_content(message: str, delta: str) -> bytes:
    """More text of the message."""
    return _encode({"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": delta})


def text_end(message: str) -> bytes:
    """The message is complete."""
    return _encode({"type": "TEXT_MESSAGE_END", "messageId": message})


def run_finished(thread: str, run: str) -> bytes:
    """The answer is complete."""
    return _encode({"type": "RUN_FINISHED", "threadId": thread, "runId": run})


def run_error(message: str, code: str) -> bytes:
    """The answer could not be made (to its end). `message` is a fixed text of ours."""
    return _encode({"type": "RUN_ERROR", "message": message, "code": code})


def custom(name: str, value: object) -> bytes:
    """An event of our own: `conversation_titled` {title}, `waiting` {position, seconds}."""
    return _encode({"type": "CUSTOM", "name": name, "value": value})
