"""What reaches our processes: only declared headers, the edge's own facts, whole bodies, one request for one."""

import re

import pytest

from freehold.edge.headers import OWN, REQUEST
from tests.edge.door import Door

TRUSTED = (
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-server",
    "x-forwarded-prefix", "x-forwarded-client-cert", "x-forwarded-user", "x-forwarded-email", "forwarded", "via",
    "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip",
    "x-original-url", "x-rewrite-url", "x-original-host", "x-host", "x-envoy-external-address", "x-envoy-internal",
    "x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on", "x-envoy-max-retries", "x-envoy-original-path",
    "x-envoy-expected-rq-timeout-ms", "x-envoy-force-trace", "x-envoy-decorator-operation", "x-request-id",
    "x-freehold-client", "x-freehold-host", "x-freehold-user", "x-remote-user", "remote-user", "x-user",
    "x-auth-request-user", "x-authenticated-userid", "x-ssl-client-cert", "proxy-authorization", "traceparent",
    "x-client-trace-id", "x-b3-traceid", "user-agent", "range", "referer", "accept-encoding", "te", "proxy",
)  # fmt: skip
VALUE = "6.6.6.6-forged"


def _forms(name: str) -> dict[str, list[str]]:
    return {
        "plain": [f"{name}: {VALUE}"],
        "in Connection": [f"{name}: {VALUE}", f"connection: {name}"],
        "underscore": [f"{name.replace('-', '_')}: {VALUE}"],
        "case": [f"{name.title()}: {VALUE}", f"{name.upper()}: {VALUE}"],
        "duplicate": [f"{name}: {VALUE}", f"{name}: {VALUE}2"],
    }


def test_a_client_cannot_say_what_the_edge_says(door: Door) -> None:
    assert len(TRUSTED) >= 30
    arrived = 0
    for name in TRUSTED:
        for form, rows in _forms(name).items():
            door.gateway.clear()
            reply = door.ask("GET", "/v1/models", *rows)
            if form == "underscore" and "-" in name:
                assert reply.status == 400, (name, form)
                assert door.gateway.requests == []
                continue
            if reply.status == 400:  # Envoy itself refuses some forms, such as x-forwarded-for in Connection
                assert door.gateway.requests == []
                continue
            assert reply.status == 200, (name, form, reply.raw)
            (request,) = door.gateway.requests
            arrived += 1
            assert VALUE.encode() not in request.raw, (name, form)
            assert request.names == {"host", *OWN}, (name, form)
            assert request.values("x-freehold-client") == ["127.0.0.1"]
            assert request.values("x-freehold-host") == [door.host]
    assert arrived > 3 * len(TRUSTED)


def test_the_edges_own_facts_cannot_be_removed(door: Door) -> None:
    for name in (*OWN, "host"):
        door.gateway.clear()
        door.ask("GET", "/v1/models", f"connection: {name}")
        for request in door.gateway.requests:
            assert set(OWN) <= request.names


def test_declared_headers_arrive_unchanged(door: Door) -> None:
    declared = [name for name in REQUEST if name != "content-length"]
    rows = [f"{name}: value of {name}" for name in declared]
    assert door.ask("POST", "/v1/chat/completions", *rows, body=b"{}").status == 200
    (request,) = door.gateway.requests
    assert {name: request.values(name) for name in declared} == {name: [f"value of {name}"] for name in declared}
    assert request.names == {*REQUEST, *OWN, "host"}


def test_every_request_has_an_id_of_its_own(door: Door) -> None:
    for _ in range(20):
        door.ask("GET", "/v1/models", "x-request-id: 00000000-0000-4000-8000-000000000000")
    ids = {value for request in door.gateway.requests for value in request.values("x-request-id")}
    assert len(ids) == 20
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", one) for one in ids)


def test_each_prefix_has_its_upstream(door: Door) -> None:
    for path in ("/v1/models", "/v1/", "/healthz"):
        door.ask("GET", path)
    for path in ("/", "/v1", "/chat", "/healthz/", "/healthzz", "/assets/index-a1.js", "/.well-known/x", "/V1/models"):
        door.ask("GET", path)
    assert [request.target for request in door.gateway.requests] == ["/v1/models", "/v1/", "/healthz"]
    assert len(door.console.requests) == 8


def test_a_chunked_body_arrives_whole_and_counted(door: Door) -> None:
    head = f"POST /v1/x HTTP/1.1\r\nhost: {door.host}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    assert door.send(head + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nx-forwarded-for: 1.1.1.1\r\n\r\n").status == 200
    (request,) = door.gateway.requests
    assert request.body == b"abcde"
    assert request.values("content-length") == ["5"]
    assert request.names == {"host", "content-length", *OWN}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_console_methods_arrive(door: Door, method: str) -> None:
    assert door.ask(method, "/api/x").status == 200
    assert door.console.requests[0].method == method
