"""The mock engine: nginx that answers at once, in the two languages that the servers under test speak upstream.

`/v1/chat/completions` is an OpenAI server for the yardsticks, `/chat` a runner for the gateway. Both carry the same
text: `TOKENS` pieces, as one JSON object or as a stream. In C, so that the mock is never what is measured.
"""

import json
from pathlib import Path

TOKENS = 200
PIECE = " word"


def _ndjson(pieces: int) -> str:
    lines = [json.dumps({"type": "delta", "text": PIECE * (TOKENS // pieces)})] * pieces
    usage = {"prompt": 12, "completion": TOKENS, "cached": 0}
    return "\n".join([*lines, json.dumps({"type": "finished", "reason": "stop", "usage": usage})]) + "\n"


def _openai() -> str:
    message = {"role": "assistant", "content": PIECE * TOKENS}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice]})


def _sse() -> str:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunk = json.dumps({**head, "choices": [{"index": 0, "delta": {"content": PIECE}, "finish_reason": None}]})
    return f"data: {chunk}\n\n" * TOKENS + "data: [DONE]\n\n"


def write(folder: Path, *, whole_port: int = 0, stream_port: int = 0) -> Path:
    """Write the configuration and the bodies; gives nginx's configuration. Listens on `folder/mock.sock`, and on the
    ports for those who can only be told apart by address: there any path is a whole answer, or a stream."""
    (folder / "runner").write_text(_ndjson(TOKENS))
    (folder / "joined").write_text(_ndjson(1))
    (folder / "whole").write_text(_openai())
    (folder / "stream").write_text(_sse())
    path = folder / "mock.conf"
    # nginx serves files to GET only; error_page turns a POST to a path without a file into a GET of one.
    places = "".join(
        f"    location = {where} {{ root {folder}; error_page 404 =200 /{name}; default_type {kind}; }}\n"
        f"    location = /{name} {{ internal; root {folder}; default_type {kind}; }}\n"
        for where, name, kind in (
            ("/chat", "runner", "application/x-ndjson"),
            ("/chat/joined", "joined", "application/x-ndjson"),
            ("/v1/chat/completions", "whole", "application/json"),
            ("/v1/stream", "stream", "text/event-stream"),
        )
    )
    servers = "".join(
        f"  server {{ listen 127.0.0.1:{port} backlog=4096;\n"
        f"    location / {{ root {folder}; error_page 404 =200 /{name}; default_type {kind}; }}\n"
        f"    location = /{name} {{ internal; root {folder}; default_type {kind}; }}\n  }}\n"
        for port, name, kind in (
            (whole_port, "whole", "application/json"),
            (stream_port, "stream", "text/event-stream"),
        )
        if port
    )
    path.write_text(nginx_config(folder, f"unix:{folder}/mock.sock", places, servers))
    return path


def nginx_config(folder: Path, listen: str, places: str, upstreams: str = "") -> str:
    """A minimal nginx: one worker, nothing logged."""
    name = listen.replace("/", "_").replace(":", "_")
    return f"""daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  open_file_cache max=100; client_body_in_single_buffer on; client_body_buffer_size 64k;
{upstreams}  server {{
    listen {listen} backlog=4096;
{places}  }}
}}
"""
