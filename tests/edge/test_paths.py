"""Host and path: exact names only, and one reading of a path everywhere (BAR-5)."""

import itertools
import posixpath
import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from freehold.edge.routes import NORMAL_PATH
from freehold.gateway.call import Call
from tests.edge.door import Door

BAD_HOSTS = (
    "evil.example", "localhost.evil.example", "evil.localhost", "xlocalhost", "localhostx", "localhost.", "local host",
    "localhost:1", "localhost:0", "localhost:", "localhost:99999", "localhost:08443", "localhost:8443:8443",
    "user@localhost", "localhost@evil.example", "localhost/evil", "localhost?x", "localhost#x", "localhost%00",
    "localhost\\evil", "localhost,evil.example", "localhost;evil", "127.0.0.1.evil.example", "127.1", "2130706433",
    "0x7f.1", "0177.0.0.1", "127.0.0.2", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "::1", "*",
    "ai.example.org.", "xai.example.org", "ai.example.org.evil.example", ".ai.example.org",
    "gateway", "console", "-", "",
)  # fmt: skip


def hostile() -> list[str]:
    """Paths that somebody reads in another way than somebody else. The attacks in HTTP/2 send them too."""
    dots = ["..", ".", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "%2e", "%252e%252e", "..;", "..;x=1", "..%00", "..%0d%0a",
            "%c0%ae%c0%ae", "%uff0e%uff0e", "..%ff", ". .", "..%20", "..%09", "..."]  # fmt: skip
    slashes = ["//", "///", "%2f", "%2F", "%252f", "\\", "%5c", "%5C", "%255c", "/\\", "\\/", "%c0%af", "%u2215"]
    found = [f"/v1/{dot}/admin" for dot in dots[:-1]] + [f"/admin/{dot}/v1/models" for dot in dots[:-1]]
    found += [f"/{dot}/v1/models" for dot in dots[:-1]] + [f"/v1/models/{dot}" for dot in dots[:-1]]
    found += [f"/v1{slash}models" for slash in slashes] + [f"{slash}v1/models" for slash in slashes if slash != "/"]
    found += [f"/v1/models{slash}" for slash in slashes] + [f"/api{slash}..{slash}v1{slash}models" for slash in slashes]
    controls = [
        "%00",
        "%01",
        "%09",
        "%0a",
        "%0d",
        "%0d%0aHost:evil",
        "%20",
        "%7f",
        "%80",
        "%ff",
        "%",
        "%2",
        "%zz",
        "%%32%65",
    ]
    found += [f"/v1/models{one}" for one in controls] + [f"/v1/{one}models" for one in controls]
    letters = [
        "%76",
        "%56",
        "%31",
        "%6d",
        "%41",
        "%2d",
        "%5f",
        "%7e",
        "%3a",
        "%3b",
        "%3f",
        "%23",
        "%40",
        "%26",
        "%3d",
        "%25",
    ]
    found += [f"/v1/{one}odels" for one in letters] + [f"/{one}1/models" for one in letters]
    marks = [";", ";a=b", "#", "#x", "<", ">", '"', "{", "}", "|", "^", "`", "'", "(", "$", "!", "*", "&"]
    found += [f"/v1/models{one}" for one in marks] + [f"/v1/mo{one}dels" for one in marks]
    found += ["http://localhost/v1/models", "https://localhost/v1/models", "//localhost/v1/models", "*", "v1/models",
              "/v1/models?x#y", "/v1/models?x=<", "/v1/models?x=%", "/v1/models?%zz", "/v1/models?x=\\", "?x", ":",
              "/v1/models?x={", "/v1/models?x=|", "/v1/models?x=^", "/v1/models?x=`", '/v1/models?x="']  # fmt: skip
    return list(dict.fromkeys(found))


FINE = (
    "/", "/v1/models", "/v1/", "/v1/models/qwen2.5-coder-1.5b", "/v1/models/org:name@2", "/v1/x.y..z", "/v1/a-_~+,=b",
    "/v1/models?x", "/v1/models?x=1&y=%20%2f..%2f", "/?next=/v1/../x", "/healthz", "/healthz?x=..//", "/assets/a.b.js",
    "/.well-known/security.txt", "/v1", "/V1/models", "/a/b/c/d/e/f/", "/v1/models?q=a:b/c?d@e!$'()*+,;=",
)  # fmt: skip


def _host_row(door: Door, host: str) -> int:
    return door.send(f"GET /v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode("latin-1")).status


def test_only_exact_hosts(door: Door) -> None:
    for host in BAD_HOSTS:
        assert _host_row(door, host) in (400, 421), host
    assert door.seen() == 0


def test_every_name_of_this_instance(door: Door) -> None:
    names = ["localhost", "LOCALHOST", "box", "ai.example.org", "AI.Example.org", "127.0.0.1", "192.0.2.7", "[::1]"]
    for name, port in itertools.product(names, ("", f":{door.edge.port}")):
        assert _host_row(door, name + port) == 200, name + port
    assert len(door.gateway.requests) == 2 * len(names)


def test_two_hosts_or_none(door: Door) -> None:
    for rows in ("", "host: localhost\r\nhost: localhost\r\n", "host: localhost\r\nHost: evil.example\r\n"):
        reply = door.send(f"GET /v1/models HTTP/1.1\r\n{rows}connection: close\r\n\r\n".encode())
        assert reply.status in (400, 421), rows
    assert door.seen() == 0


def test_absolute_form_does_not_choose_the_host(door: Door) -> None:
    for target in ("https://localhost/v1/models", "https://evil.example/v1/models", "http://localhost/v1/models"):
        assert door.ask("GET", target).status in (400, 404)
    assert door.seen() == 0


def test_a_hostile_path_reaches_nobody(door: Door) -> None:
    vectors = hostile()
    assert len(vectors) >= 200
    for target in vectors:
        reply = door.ask("GET", target)
        assert reply.status in (400, 404), (target, reply.status, door.gateway.requests, door.console.requests)
        assert door.seen() == 0, target


_PIECES = st.sampled_from(
    ["/", ".", "..", "v1", "models", "api", ";", "%2e", "%2F", "\\", "//", "?", "#", "a", "~", ":", "@", "+", ",", "=",
     "-", "_", "%", "%25", " ", "&", "$", "'", "(", "*", "!",
     "\t", "\x00", "\x7f", "é", "[", "|", "^", "...", ".a", "a."]
)  # fmt: skip


_TARGETS = st.lists(_PIECES, max_size=9).map(lambda pieces: "/" + "".join(pieces))


@given(st.one_of(_TARGETS, st.from_regex(NORMAL_PATH, fullmatch=True)))
@example("/v1/..a/b")
@example("/v1/models?x=%2e%2e/&y=//")
def test_what_is_in_normal_form_is_read_alike_by_all(target: str) -> None:
    """The edge decides on the raw path. Whatever it takes, our two routers and the standard library read the same."""
    if not re.fullmatch(NORMAL_PATH, target):
        return
    path, _, query = target.partition("?")
    call = Call.__new__(Call)
    call.target = target.encode()
    scope = {
        "type": "http", "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(),
        "scheme": "https", "headers": [(b"host", b"localhost")], "server": ("localhost", 443), "root_path": "",
    }  # fmt: skip
    assert call.path == Request(scope).url.path == urlsplit(target).path == unquote(path) == path
    kept = path.rstrip("/") or "/"
    assert posixpath.normpath(path) == kept
    assert (path.startswith("/v1/"), path == "/healthz") == (call.path.startswith("/v1/"), call.path == "/healthz")


def test_what_was_decided_on_is_what_arrives(door: Door) -> None:
    for target in FINE:
        door.gateway.clear()
        door.console.clear()
        assert door.ask("GET", target).status == 200, target
        (request,) = door.gateway.requests + door.console.requests
        assert request.target == target
        path = target.partition("?")[0]
        assert unquote(path) == path
        belongs = path.startswith("/v1/") or path == "/healthz"
        assert bool(door.gateway.requests) == belongs, target


@pytest.mark.parametrize("target", ["/v1/models%2e", "/v1/a%2Fb"])
def test_escapes_are_refused_without_a_redirect(door: Door, target: str) -> None:
    reply = door.ask("GET", target)
    assert reply.status == 400
    assert reply["location"] is None
