"""The one internal vocabulary for chat and embeddings, and its NDJSON coding between gateway and runner.

The gateway translates what a client sends (OpenAI, later Anthropic) into `ChatRequest`; the runner answers `POST /chat`
with one JSON event a line: any number of `Delta`/`ToolDelta`, then exactly one `Finished` or `Failed`. A stream that
ends without either is a failure of the runner and is never shown as an end. `POST /chat/joined` answers alike, with the
texts of a quarter of a second in one `Delta`: for an answer that is delivered whole.
"""

from typing import Any, Literal

import msgspec


class ToolCall(msgspec.Struct, frozen=True):
    """A call that an assistant's message asks for. `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. Text parts are joined before they come here; `content` is None only beside `tool_calls`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may ask for. `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class ResponseFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """`json_object`: any JSON object; `json_schema`: an instance of `schema`. Held by grammar in the engine."""

    kind: Literal["json_object", "json_schema"]
    schema: dict[str, Any] | None = None


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be answered. `assistant` is what the client named in `model`; None means the engine's default."""

    assistant: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    response_format: ResponseFormat | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | str = "auto"
    """`auto`, `none`, `required`, or `name:FUNCTION` for one named function."""
    parallel_tool_calls: bool = False

    def affinity(self) -> bytes:
        """Equal for the requests of one conversation, whose beginning an engine may hold in its cache."""
        begin = self.messages[:2] if self.messages[0].role == "system" else self.messages[:1]
        return "\0".join((self.assistant, *((m.content or "")[:512] for m in begin))).encode("utf-8", "replace")


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one exchange. `cached` is the part of `prompt` that came from the engine's prefix cache."""

    prompt: int
    completion: int
    cached: int = 0


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """More text of the answer."""

    text: str


class ToolDelta(msgspec.Struct, frozen=True, tag="tool", omit_defaults=True):
    """More of tool call number `index`: `id` and `name` come with its first piece, `arguments` is appended."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The answer is complete, and why it ended."""

    reason: Literal["stop", "length", "tool_calls"]
    usage: Usage


class Stopped(Finished, frozen=True, tag="stopped"):
    """An end that we made: the engine went on beyond what it was granted. No `Event`, so that no runner can say it."""

    explanation: str = "The answer was ended here: it had reached the largest length that it was granted."


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The runner could not (go on to) answer. `code` is one of RUNNER_CODES; it carries no text of the inside."""

    code: str


Event = Delta | ToolDelta | Finished | Failed


def explained(end: Finished) -> dict[str, str]:
    """The member by which a dialect says why we ended an answer; none for an end that was the engine's own."""
    return {"explanation": end.explanation} if isinstance(end, Stopped) else {}


RUNNER_CODES = {
    "context_length_exceeded": (400, "The messages are longer than this model can read. Shorten them and try again."),
    "model_not_found": (404, "The model does not exist or you do not have access to it."),
    "unsupported_parameter": (400, "The engine behind this model cannot do what one of the parameters asks for."),
    "invalid_schema": (400, "The schema in response_format or tools is not one that the engine can follow."),
    "not_ready": (503, "The model is being loaded. Try again in a moment."),
    "engine_failed": (502, "The model's engine failed. Try again; if it lasts, tell your administrator."),
    "engine_timeout": (504, "The model's engine did not answer in time."),
    "engine_refused": (502, "The model's engine refused the request."),
}
"""Every code that a runner may answer with → (HTTP status, the fixed text for the client)."""


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """`POST /embeddings` of the runner: one vector for each of `inputs`, in order."""

    assistant: str
    inputs: tuple[str, ...]


class Embeddings(msgspec.Struct, frozen=True):
    """The runner's answer: unit vectors as little-endian float32 in base64 (msgspec's coding of bytes)."""

    vectors: tuple[bytes, ...]
    prompt_tokens: int


class EngineHealth(msgspec.Struct, frozen=True):
    """One engine of a runner. `context` is in tokens; `slots` is how many exchanges it serves at once."""

    name: str
    kind: Literal["llamacpp", "openai", "embedder"]
    ready: bool
    context: int = 0
    slots: int = 1


class RunnerHealth(msgspec.Struct, frozen=True):
    """`GET /health` of a runner. `in_flight` counts exchanges that hold an engine slot now.

    `copied_weights` is in bytes: what loading took beside the mapped files, in buffers of its own.
    """

    ready: bool
    in_flight: int
    engines: tuple[EngineHealth, ...]
    copied_weights: int = 0


_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """One event as a line of NDJSON."""
    return _encoder.encode(event) + b"\n"


def decode_events(lines: bytes) -> list[Event]:
    """The events of whole lines. Raises `msgspec.DecodeError` (also for a wrong shape)."""
    return _event_decoder.decode_lines(lines)
