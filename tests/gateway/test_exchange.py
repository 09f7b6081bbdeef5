"""The way of a request through a real gateway, with a runner that behaves well or as badly as it can."""

import asyncio
import json

import pytest

from tests.conftest import until
from tests.gateway.conftest import CHAT, FINISHED, HEAD, LAST, Stage, chunk, delta


def events(body: bytes) -> list[str]:
    return [block.removeprefix("data: ") for block in body.decode().split("\n\n") if block.startswith("data: ")]


async def test_a_whole_answer(stage: Stage) -> None:
    status, headers, body = await stage.chat()
    answer = json.loads(body)
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert answer["usage"] == {
        "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0},
    }  # fmt: skip
    assert headers["x-request-id"].startswith("exg_")
    assert set(headers) == {"content-type", "content-length", "x-request-id"}


async def test_a_streamed_answer(stage: Stage) -> None:
    status, headers, body = await stage.chat(stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(body)
    assert (status, done) == (200, "[DONE]")
    assert headers["content-type"].startswith("text/event-stream")
    assert "".join(json.loads(c)["choices"][0]["delta"].get("content", "") for c in chunks) == "Hello"
    assert json.loads(last)["usage"]["total_tokens"] == 5


async def test_the_runner_gets_the_request_and_no_credential(stage: Stage) -> None:
    await stage.chat(temperature=0.5)
    assert b'"assistant":"m"' in stage.seen[0]
    assert b'"temperature":0.5' in stage.seen[0]
    assert stage.home.api_key.encode() not in stage.seen[0]
    assert b"authorization" not in stage.seen[0].lower()


async def test_models_are_the_workspaces(stage: Stage) -> None:
    headers = {"authorization": f"Bearer {stage.home.api_key}"}
    async with stage.client.request("GET", "/v1/models", None, headers) as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["m", "e"]
    async with stage.client.request("GET", "/v1/models/m", None, headers) as response:
        assert (await response.json())["id"] == "m"
    async with stage.client.request("GET", "/v1/models/nope", None, headers) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("model", "status", "code"), [("nope", 404, "model_not_found"), ("e", 400, "model_not_suitable")]
)
async def test_a_model_that_cannot_be_used(stage: Stage, model: str, status: int, code: str) -> None:
    got, _, body = await stage.chat(model=model)
    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    assert not stage.seen


async def test_without_a_key_every_path_and_method_answers_alike(stage: Stage) -> None:
    answers = set()
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        for path in ("/v1/models", "/v1/chat/completions", "/v1/nothing", "/admin", "/healthz/x", "/metrics", "/docs"):
            async with stage.client.request(method, path, b"" if method != "GET" else None) as response:
                body = json.loads(await response.read())
                body["error"].pop("request_id")
                answers.add((response.status, json.dumps(body), response.headers["content-length"]))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401


async def test_health_is_public_and_says_nothing(stage: Stage) -> None:
    async with stage.client.request("GET", "/healthz") as response:
        assert (response.status, await response.read()) == (200, b'{"status":"ok"}')


async def test_wrong_method_and_path_with_a_key(stage: Stage) -> None:
    headers = {"authorization": f"Bearer {stage.home.api_key}"}
    for method, path, status in (
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/x", 404),
    ):
        async with stage.client.request(method, path, b"" if method == "POST" else None, headers) as response:
            assert response.status == status


async def test_two_credentials_are_refused(stage: Stage) -> None:
    key = stage.home.api_key
    message = (
        f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nauthorization: Bearer {key}\r\n\r\n"
    )
    reader, writer = await asyncio.open_unix_connection(str(stage.home.settings.layout.gateway_socket))
    writer.write(message.encode())
    assert b" 400 " in await reader.readline()
    writer.close()


async def test_a_large_body_is_refused(stage: Stage) -> None:
    limit = stage.home.settings.edge.max_body_bytes
    status, _, body = await stage.post("/v1/chat/completions", b"x" * (limit + 1))
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "engine_failed"),
        (b"garbage\r\n\r\n", "engine_failed"),
        (HEAD + LAST, "engine_failed"),
        (HEAD + chunk(delta("a")) + LAST, "engine_failed"),
        (HEAD + chunk(delta("a")), "engine_failed"),
        (HEAD + b"5\r\nnope\n\r\n" + LAST, "engine_failed"),
        (HEAD + chunk({"type": "delta", "text": 5}) + LAST, "engine_failed"),
        (HEAD + chunk({"type": "unheard-of"}) + LAST, "engine_failed"),
        (HEAD + chunk({"type": "failed", "code": "context_length_exceeded"}) + LAST, "context_length_exceeded"),
        (HEAD + chunk({"type": "failed", "code": "<script>"}) + LAST, "engine_failed"),
        (b'HTTP/1.1 503 x\r\ncontent-length: 36\r\n\r\n{"type":"failed","code":"not_ready"} ', "not_ready"),
        (b"HTTP/1.1 500 x\r\ncontent-length: 9\r\n\r\nTraceback", "engine_failed"),
    ],
)
async def test_a_bad_runner_is_a_clear_error(stage: Stage, sent: bytes, code: str, stream: bool) -> None:
    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    stage.script = script
    status, _, body = await stage.chat(stream=stream)
    if status == 200:
        assert stream
        shown = events(body)
        assert shown[-1] != "[DONE]"
        error = json.loads(shown[-1])["error"]
    else:
        error = json.loads(body)["error"]
    assert error["code"] == code
    assert b"Traceback" not in body
    assert b"script" not in body


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_runner_at_once(stage: Stage, stream: bool) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("a")))
        began.set()
        await reader.read()
        ended.set()

    stage.script = script
    reader, writer = await asyncio.open_unix_connection(str(stage.home.settings.layout.gateway_socket))
    body = json.dumps({**CHAT, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stage.home.api_key}\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    await asyncio.wait_for(began.wait(), 5)
    if stream:
        await reader.readuntil(b"data: ")
    writer.close()
    left_at = asyncio.get_running_loop().time()
    await asyncio.wait_for(ended.wait(), 5)
    assert asyncio.get_running_loop().time() - left_at < 0.1
    stage.script = _quick
    assert (await stage.chat())[0] == 200


async def test_a_silent_runner_is_given_up(stage: Stage) -> None:
    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(delta("a")))
        await reader.read()

    stage.script = script
    task = asyncio.create_task(stage.chat())
    await until(lambda: stage.in_flight == 1)
    task.cancel()
    await until(lambda: stage.in_flight == 0)


async def test_more_than_the_places_wait_and_are_all_served(stage: Stage) -> None:
    most = 0

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        most = max(most, stage.in_flight)
        await asyncio.sleep(0)
        await _quick(body, reader, writer)

    stage.script = script
    results = await asyncio.gather(*(stage.chat() for _ in range(30)))
    assert [status for status, _, _ in results] == [200] * 30
    assert most <= 2


async def _quick(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + chunk(delta("ok"), FINISHED) + LAST)


@pytest.mark.parametrize("code", ["engine_failed", "not_ready", "engine_timeout"])
async def test_what_an_engine_says_of_a_request_is_never_passed_on(stage: Stage, code: str) -> None:
    mark = "q7zMarker"

    async def script(body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert mark.encode() in body
        failed = json.dumps({"type": "failed", "code": code, "message": mark}).encode()
        writer.write(b"HTTP/1.1 500 %s\r\ncontent-length: %d\r\n\r\n%s" % (mark.encode(), len(failed), failed))

    stage.script = script
    status, headers, body = await stage.chat(messages=[{"role": "user", "content": mark}])
    assert status == {"engine_failed": 502, "not_ready": 503, "engine_timeout": 504}[code]
    assert mark not in str(headers) + body.decode()
