"""Answers each request with what a Python server made of it: `python echo.py SERVER WHERE`.

Started by `servers.py` as a process of its own, some with Debian's Python, so it imports nothing of ours but for the
gateway's own server, and names libraries only where they are used. WHERE is a port, for the gateway a socket's path.
"""

import asyncio
import hashlib
import http.server
import importlib
import json
import pathlib
import sys
from typing import Any


def said(method: str, target: str, host: str, body: bytes) -> bytes:
    """The answer's body."""
    told = {"method": method, "target": target, "host": host, "body": hashlib.sha256(body).hexdigest()}
    return json.dumps(told).encode()


def wsgi(environ: dict[str, Any], start: Any) -> list[bytes]:
    """For servers that speak WSGI."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"] + query
    answer = said(environ["REQUEST_METHOD"], target, environ["HTTP_HOST"], body)
    start("200 OK", [("content-length", str(len(answer)))])
    return [answer]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """For servers that speak ASGI."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    target = scope["raw_path"].decode("latin-1") + (
        f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
    )
    answer = said(scope["method"], target, dict(scope["headers"])[b"host"].decode("latin-1"), body)
    length = (b"content-length", b"%d" % len(answer))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": answer})


class Plain(http.server.BaseHTTPRequestHandler):
    """The standard library's server."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        answer = said(self.command, self.path, self.headers["host"], body)
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def uvicorn(where: str, parser: str) -> None:
    """uvicorn with one of its two parsers."""
    more = {"h11_max_incomplete_event_size": 1 << 17} if parser == "h11" else {}
    importlib.import_module("uvicorn").run(
        asgi, port=int(where), http=parser, ws="none", lifespan="off", log_level="warning", **more
    )


def gateway(where: str) -> None:
    """The gateway's own server."""
    connection = importlib.import_module("freehold.gateway.connection")

    async def serve(call: Any) -> None:
        body = await call.body(1 << 24)
        call.reply(said(call.method, call.target.decode("latin-1"), call.header(b"host") or "", body))

    async def run() -> None:
        async with connection.listening(pathlib.Path(where), serve):
            await asyncio.Event().wait()

    asyncio.run(run())


def aiohttp(where: str) -> None:
    """aiohttp's server."""
    web = importlib.import_module("aiohttp.web")

    async def answer(request: Any) -> Any:
        return web.Response(body=said(request.method, request.raw_path, request.headers["host"], await request.read()))

    async def run() -> None:
        runner = web.ServerRunner(web.Server(answer, max_field_size=1 << 17, max_line_size=1 << 17))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(where)).start()
        await asyncio.Event().wait()

    asyncio.run(run())


def tornado(where: str) -> None:
    """Tornado's server."""
    httpserver, httputil = map(importlib.import_module, ("tornado.httpserver", "tornado.httputil"))

    def answer(request: Any) -> None:
        body = said(request.method, request.uri, request.headers["host"], request.body)
        length = httputil.HTTPHeaders({"content-length": str(len(body))})
        request.connection.write_headers(httputil.ResponseStartLine("HTTP/1.1", 200, "OK"), length, body)
        request.connection.finish()

    async def run() -> None:
        httpserver.HTTPServer(answer, max_header_size=1 << 17).listen(int(where), "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(run())


def main(server: str, where: str) -> None:
    """Serve until killed."""
    if server.startswith("uvicorn-"):
        uvicorn(where, server.partition("-")[2])
    elif server == "http.server":
        http.server.ThreadingHTTPServer(("127.0.0.1", int(where)), Plain).serve_forever()
    elif server == "waitress":
        importlib.import_module("waitress").serve(wsgi, host="127.0.0.1", port=int(where), threads=1)
    elif server == "cheroot":
        importlib.import_module("cheroot.wsgi").Server(("127.0.0.1", int(where)), wsgi).start()
    else:
        {"gateway": gateway, "aiohttp": aiohttp, "tornado": tornado}[server](where)


if __name__ == "__main__":
    main(*sys.argv[1:])
