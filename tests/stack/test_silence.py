"""Nothing is echoed, nothing inside is named, and time tells nothing: BAR-7 and BAR-8 through the whole stack."""

import random
import re
import secrets
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from tests.stack.conftest import Stack
from tests.timing import area

pytestmark = pytest.mark.stack

ID = re.compile(r"exg_[A-Za-z0-9_-]+")
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}


def provocations(stack: Stack, mark: str) -> dict[str, Callable[[httpx.Client], httpx.Response]]:
    """Ways to be refused, each with the marker wherever a client can put one."""
    base, key = stack.up["url"], {"authorization": f"Bearer {stack.key}"}
    chat = f"{base}/v1/chat/completions"
    everywhere = {"x-api-key": mark, "cookie": f"a={mark}; {mark}=b", "accept-language": mark, f"x-{mark}": mark}
    question = {"model": mark, "messages": [{"role": "user", "content": mark}], mark: mark}
    named = {"model": mark, "messages": [{"role": mark, "content": mark}]}
    return {
        "malformed": lambda c: c.post(f"{chat}?q={mark}", content=f'{{"{mark}'.encode(), headers={**key, **everywhere}),
        "unknown parameter": lambda c: c.post(chat, json=question, headers=key),
        "wrong role": lambda c: c.post(chat, json=named, headers=key),
        "wrong key": lambda c: c.get(f"{base}/v1/models", headers={"authorization": f"Bearer {mark}"}),
        "wrong scheme": lambda c: c.get(f"{base}/v1/models", headers={"authorization": f"{mark} {mark}"}),
        "no such model": lambda c: c.get(f"{base}/v1/models/{mark}", headers=key),
        "no such path": lambda c: c.get(f"{base}/v1/{mark}?{mark}={mark}", headers=key),
        "no such page": lambda c: c.get(f"{base}/{mark}", headers=everywhere),
        "wrong method": lambda c: c.request("DELETE", chat, headers=key, content=mark),
        "cross site": lambda c: c.post(f"{base}/api/sign-in", json={}, headers={"origin": f"https://{mark}.example"}),
        "claim": lambda c: c.post(
            f"{base}/api/claim",
            json={"token": f"fhc_{mark}", "name": mark, "email": f"{mark}@{mark}.example", "password": mark},
            headers={"origin": base, **SAME_ORIGIN},
        ),
        "sign-in": lambda c: c.post(
            f"{base}/api/sign-in",
            json={"email": f"{mark}@x.example", "password": mark},
            headers={"origin": base, **SAME_ORIGIN},
        ),
        "content type": lambda c: c.post(
            f"{base}/api/sign-in", content=mark, headers={"origin": base, **SAME_ORIGIN, "content-type": mark}
        ),
        "encoding": lambda c: c.post(chat, content=mark, headers={**key, "content-encoding": "gzip"}),
        "too large": lambda c: c.post(chat, content=mark.encode() * 200_000, headers=key),
        "long header": lambda c: c.get(f"{base}/v1/models", headers={**key, "accept": mark * 2000}),
        "wrong host": lambda c: c.get(f"{base}/v1/models", headers={"host": f"{mark}.example"}),
        "odd path": lambda c: c.get(f"{base}/v1//{mark}"),
    }


def test_nothing_is_echoed_and_nothing_inside_is_named(stack: Stack) -> None:
    mark = secrets.token_hex(16)
    inside = ["freehold", "envoy", "uvicorn", "python", "sqlite", ".sock", str(stack.state), "ws_", "llama"]
    seen = set()
    with httpx.Client(verify=stack.context) as client:
        for name, provoke in provocations(stack, mark).items():
            response = provoke(client)
            seen.add(response.status_code)
            # The request's id is random letters, which may spell anything; it is ours, and told apart by its prefix.
            shown = ID.sub("exg_", f"{response.headers!r} {response.text}")
            assert response.status_code >= 400, name
            assert mark not in shown, name
            said = shown.replace("'freehold claim'", "").replace("Freehold's own page", "").lower()
            assert not [word for word in inside if word in said], (name, shown)
            assert "server" not in response.headers
            assert "via" not in response.headers
    assert seen >= {400, 401, 403, 404, 405, 413, 415, 421, 431}


@pytest.mark.parametrize(("there", "missing"), [("/v1/models", "/v1/nothing"), ("/api/conversations", "/api/nothing")])
def test_time_does_not_tell_what_exists(stack: Stack, there: str, missing: str) -> None:
    """The probability that a random answer for one path is slower than one for the other, n = 2,000 each."""
    raw = socket.create_connection(("localhost", stack.port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    order = [there, missing] * 2000
    random.Random(3).shuffle(order)  # noqa: S311 - an order, not a secret
    timed: list[tuple[float, bool]] = []
    with stack.context.wrap_socket(raw, server_hostname="localhost") as tls:
        for path in order:
            began = time.perf_counter()
            tls.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost:{stack.port}\r\n\r\n".encode())
            answer = tls.recv(65536)
            while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}}"):
                answer += tls.recv(65536)
            timed.append((time.perf_counter() - began, path == there))
            assert answer.startswith(b"HTTP/1.1 401")
    found = area(timed)
    assert 0.45 <= found <= 0.55, found
