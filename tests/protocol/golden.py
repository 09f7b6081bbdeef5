"""Transcripts of every dialect: what a client sends, what the runner is asked, what it says, what the client gets.

The golden files hold them. To renew them: `python -m tests.protocol.golden`, then read the difference before it is
committed.
"""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from freehold.protocol import anthropic, openai, responses
from freehold.protocol.chat import Delta, Event, Finished, ToolDelta, Usage, encode_event
from freehold.protocol.dialect import Asked, Bounds
from freehold.protocol.errors import Refused, Unavailable

FOLDER = Path(__file__).with_name("golden")
ID = "exg_0123456789abcdef"
TEXT: list[Event] = [Delta("Hel"), Delta('lo "you"\n'), Finished("stop", Usage(12, 7, 2))]
CALL: list[Event] = [
    Delta("Let me see."),
    ToolDelta(0, "call_1", "weather", '{"city":'),
    ToolDelta(0, arguments='"Rome"}'),
    ToolDelta(1, "call_2", "weather", '{"city":"Oslo"}'),
    Finished("tool_calls", Usage(30, 20)),
]
CUT: list[Event] = [Delta("One two"), Finished("length", Usage(5, 2))]
FUNCTION = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {}}}
BROKEN = Unavailable("The model's engine failed.", status=502, code="engine_failed")

CASES: dict[str, tuple[str, ModuleType, dict[str, Any], list[Event]]] = {
    "chat": ("/v1/chat/completions", openai, {"messages": [{"role": "user", "content": "Hi"}], "seed": 7}, TEXT),
    "chat-tools": (
        "/v1/chat/completions",
        openai,
        {"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function", "function": FUNCTION}]},
        CALL,
    ),
    "responses": ("/v1/responses", responses, {"input": "Hi", "instructions": "Be brief."}, TEXT),
    "responses-tools": ("/v1/responses", responses, {"input": "Hi", "tools": [{"type": "function", **FUNCTION}]}, CALL),
    "responses-cut": ("/v1/responses", responses, {"input": "Hi", "max_output_tokens": 2}, CUT),
    "messages": (
        "/v1/messages",
        anthropic,
        {"max_tokens": 99, "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]},
        TEXT,
    ),
    "messages-tools": (
        "/v1/messages",
        anthropic,
        {
            "max_tokens": 99,
            "messages": [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "call_0", "name": "weather", "input": {}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "sun"}]},
            ],
            "tools": [{"name": "weather", "input_schema": FUNCTION["parameters"]}],
        },
        CALL,
    ),
}


def rendered() -> dict[str, str]:
    """Golden file name → what the code says now."""
    return {f"{name}.txt": _transcript(*case) for name, case in CASES.items()}


def _transcript(path: str, dialect: ModuleType, body: dict[str, Any], events: list[Event]) -> str:
    parts: list[str] = []
    for stream in (False, True):
        sent = json.dumps({"model": "m", **body, **({"stream": True} if stream else {})}).encode()
        asked = _asked(dialect, sent)
        writer = asked.writer(ID, "m")
        answer = b""
        for event in events:
            if isinstance(event, Finished):
                answer += writer.closing(event) if stream else writer.whole(event)
            elif isinstance(event, (Delta, ToolDelta)):
                answer += (writer.piece(event) if answer else writer.opening() + writer.piece(event)) if stream else b""
                if not stream:
                    writer.gather(event)
        parts += [f"> POST {path}", _shown(sent), "", "= runner", _shown(asked.encoded), "", "= says"]
        parts += [encode_event(event).decode().rstrip() for event in events]
        parts += ["", "< answer", _shown(answer), ""]
    begun = _asked(dialect, json.dumps({"model": "m", **body, "stream": True}).encode()).writer(ID, "m")
    parts += ["< broken off", _shown(begun.opening() + begun.broken(BROKEN, ID)), ""]
    refused = Refused("There are too many.", status=429, code="rate_limit_exceeded", retry_after=3)
    parts += ["< refused", _shown(dialect.error(refused, ID)), ""]
    return "\n".join(parts)


def _asked(dialect: ModuleType, sent: bytes) -> Asked:
    asked: Asked = responses.read(sent, Bounds()).asked() if dialect is responses else dialect.parse(sent, Bounds())
    return asked


def _shown(data: bytes) -> str:
    return re.sub(r'"(created|created_at)":\d+', r'"\1":0', data.decode()).rstrip()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.txt"):
        stale.unlink()
    for name, content in rendered().items():
        (FOLDER / name).write_text(content)
