"""The parsers of OpenAI's Chat Completions and Embeddings."""

from collections.abc import Iterator

from freehold.protocol import openai
from freehold.protocol.dialect import Bounds
from freehold.protocol.errors import Refused
from tests.fuzz.bodies import TOOL, encoded, reading
from tests.fuzz.target import Target

_chat = reading(lambda body: openai.parse(body, Bounds()))


def run(data: bytes) -> None:
    """One body for both."""
    _chat(data)
    try:
        openai.parse_embeddings(data, max_depth=64)
    except Refused as error:
        assert error.status == 400


def seeds() -> Iterator[bytes]:
    """Bodies with every parameter."""
    text = [{"type": "text", "text": "ä\u2028"}, {"type": "text", "text": ""}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    yield from encoded(
        {"model": "m",
         "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": text, "name": "n"}]},
        {"model": "m",
         "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [call]},
                      {"role": "tool", "content": "r", "tool_call_id": "c"}],
         "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": True},
        {"model": "m", "messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": "a"}],
         "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5, "temperature": 0.5, "top_p": 1,
         "stop": ["a", "b"], "seed": -1, "n": 1, "frequency_penalty": 0, "presence_penalty": -2, "user": "u",
         "metadata": {}, "logprobs": False,
         "response_format": {"type": "json_schema",
                             "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}},
        {"model": "e", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 3},
        {"model": "e", "input": "a"},
    )  # fmt: skip


TARGET = Target(run, seeds)
