"""The parser of Anthropic's Messages."""

from collections.abc import Iterator

from freehold.protocol import anthropic
from freehold.protocol.dialect import Bounds
from tests.fuzz.bodies import encoded, reading
from tests.fuzz.target import Target


def seeds() -> Iterator[bytes]:
    """Bodies with every kind of block."""
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}], "is_error": False}
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
    yield from encoded(
        {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}], "system": "s", "stream": True},
        {"model": "m", "max_tokens": 5,
         "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
         "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]},
                      {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}],
         "tools": [tool], "tool_choice": {"type": "tool", "name": "f"}, "temperature": 1, "stop_sequences": ["x"]},
    )  # fmt: skip


TARGET = Target(reading(lambda body: anthropic.parse(body, Bounds())), seeds)
