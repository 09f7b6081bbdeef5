"""The parser of OpenAI's Responses."""

from collections.abc import Iterator

from freehold.protocol import responses
from freehold.protocol.dialect import Bounds
from tests.fuzz.bodies import TOOL, encoded, reading
from tests.fuzz.target import Target


def seeds() -> Iterator[bytes]:
    """Bodies with every kind of item."""
    yield from encoded(
        {"model": "m", "input": "a", "instructions": "s", "stream": True, "store": False, "max_output_tokens": 5},
        {"model": "m", "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"role": "assistant", "content": "b"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"}],
         "tools": [{"type": "function", **TOOL["function"]}], "tool_choice": "required",  # type: ignore[dict-item]
         "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}},
        {"model": "m", "input": "again", "previous_response_id": "resp_1"},
    )  # fmt: skip


TARGET = Target(reading(lambda body: responses.read(body, Bounds()).asked()), seeds)
