"""Only the declared methods of each route (BAR-6): every method on every route of the live tables, through the edge."""

import re
import secrets

import pytest

from tests.edge.door import Reply
from tests.hostile.whole import Whole

METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "TRACK",
    "CONNECT",
    "PROPFIND",
    "get",
    "FOO",
)
UNPARSED = {"CONNECT", "TRACK", "get", "FOO"}
"""What the edge's parser may end with 400, before there is a route: no methods that it knows, or a CONNECT to a path."""

OVERRIDES = ("x-http-method", "x-http-method-override", "x-method-override")


def _ask(whole: Whole, method: str, path: str, mark: str, *rows: str) -> Reply:
    body = f'{{"{mark}":"{mark}"}}'.encode()
    credential = (f"authorization: Bearer {whole.key}",) if path.startswith("/v1/") else whole.own_page
    return whole.ask(method, path, *credential, f"x-{mark}: {mark}", *rows, body=body)


def _paths(whole: Whole) -> dict[str, set[str]]:
    """A path of each route and its methods, also those of a route with a variable that it fits. One file stands for all."""
    files = sorted(path for _, path in whole.routes if path.startswith("/assets/"))[1:]
    routes = [(method, re.sub(r"\{[^}]*\}", "[^/]+", path)) for method, path in whole.routes if path not in files]
    paths = {expression.replace("[^/]+", "x_1") for _, expression in routes}
    return {path: {method for method, expression in routes if re.fullmatch(expression, path)} for path in paths}


@pytest.mark.slow
def test_every_method_on_every_route(whole: Whole) -> None:
    paths, mark = _paths(whole), secrets.token_hex(16)
    assert len(paths) > 40
    for path, declared in paths.items():
        allowed = declared | ({"HEAD"} if "GET" in declared and not path.startswith("/v1/") else set())
        for method in set(METHODS) - allowed:
            reply = _ask(whole, method, path, mark)
            assert reply.status == 405 or (reply.status == 400 and method in UNPARSED), (method, path, reply.raw)
            assert mark.encode() not in reply.raw
        if path == "/api/sign-out":
            continue
        for method in allowed - {"DELETE"}:
            assert _ask(whole, method, path, mark).status != 405, (method, path)


def test_no_header_changes_the_method(whole: Whole) -> None:
    for path in ("/v1/models", "/v1/chat/completions", "/api/me", "/api/conversations", "/"):
        for name in OVERRIDES:
            for value in ("DELETE", "GET", "TRACE", ""):
                mark = secrets.token_hex(16)
                reply = _ask(whole, "POST", path, mark, f"{name}: {value}")
                assert reply.status == 405, (path, name, value)
                assert mark.encode() not in reply.raw
