"""The configuration as data: golden files, Envoy's own verdict, what counts as a change."""

import json
import os
from pathlib import Path
from typing import Literal

import pytest

from freehold.edge import certificates, config, process, relay
from freehold.edge.listener import OWN
from freehold.edge.names import Names, local_names, reachable
from freehold.edge.sites import site
from freehold.protocol.errors import Misconfigured
from freehold.settings import Edge, Layout, Tls
from tests.edge import golden
from tests.edge.door import NAMES


def test_golden() -> None:
    now = golden.rendered()
    assert {path.name for path in golden.FOLDER.glob("*.json")} == set(now)
    for name, content in now.items():
        assert json.loads(content) == json.loads((golden.FOLDER / name).read_text()), name


@pytest.mark.parametrize("profile", ["modern", "intermediate"])
def test_envoy_accepts_the_edge(layout: Layout, profile: Literal["modern", "intermediate"]) -> None:
    edge = Edge(domains=("ai.example.org",), tls=Tls(profile=profile))
    config.write(edge, layout, NAMES, certificates.ensure(edge, layout, NAMES))
    process.validate(layout.edge / config.CHECK)


def test_envoy_accepts_the_relay(layout: Layout) -> None:
    (layout.keys / "cloud.key").write_text("sk-x\n")
    engine = relay.OutsideEngine("cloud", "https://models.example.com/v1", layout.keys / "cloud.key")
    relay.write(layout, {"ws": [engine, relay.OutsideEngine("local", "http://127.0.0.1:11434/v1")]})
    process.validate(layout.edge / relay.BOOTSTRAP)


def test_envoys_reason_reaches_the_operator(layout: Layout) -> None:
    edge = Edge()
    config.write(edge, layout, NAMES, certificates.ensure(edge, layout, NAMES))
    path = layout.edge / config.CHECK
    path.write_text(path.read_text().replace('"TLSv1_3"', '"TLSv9"', 1))
    with pytest.raises(Misconfigured, match="TLSv9"):
        process.validate(path)


def test_only_what_changed_is_written(layout: Layout) -> None:
    edge = Edge()
    certificate = certificates.ensure(edge, layout, NAMES)
    own = config.secret_file(OWN)
    assert config.write(edge, layout, NAMES, certificate) == {
        config.BOOTSTRAP,
        config.CHECK,
        config.LISTENER,
        config.ROUTES,
        own,
    }
    assert config.write(edge, layout, NAMES, certificate) == frozenset()
    more = Names(NAMES.hosts, (*NAMES.addresses, "192.0.2.8"))
    assert config.write(edge, layout, more, certificate) == {config.ROUTES}
    assert all(path.stat().st_mode & 0o077 == 0 for path in layout.edge.iterdir())


def test_a_site_comes_and_goes_without_the_bootstrap(layout: Layout) -> None:
    edge = Edge()
    certificate = certificates.ensure(edge, layout, NAMES)
    config.write(edge, layout, NAMES, certificate)
    acme = site(edge, layout, "ws_acme", "acme.example")
    secret = config.secret_file("ws_acme")
    assert config.write(edge, layout, NAMES, certificate, [acme]) == {
        config.CHECK,
        config.LISTENER,
        config.ROUTES,
        secret,
    }
    process.validate(layout.edge / config.CHECK)
    assert acme.certificate.chain.parent == layout.certificates / "ws_acme"
    config.write(edge, layout, NAMES, certificate)
    assert not (layout.edge / secret).exists()


def test_bind_must_be_an_address(layout: Layout) -> None:
    edge = Edge(bind="example.org")
    with pytest.raises(Misconfigured, match=r"edge\.bind"):
        config.render(edge, layout, NAMES, golden.CERTIFICATE)


def test_nothing_but_the_listener_is_on_tcp() -> None:
    def sockets(value: object) -> list[object]:
        if isinstance(value, dict):
            found = [value["socket_address"]] if "socket_address" in value else []
            return found + [one for inner in value.values() for one in sockets(inner)]
        return [one for inner in value for one in sockets(inner)] if isinstance(value, list) else []

    edge = json.loads(golden.rendered()[f"modern-{config.CHECK}"])
    assert sockets(edge) == [{"address": "127.0.0.1", "port_value": 8443}]
    assert sockets(json.loads(golden.rendered()[relay.LISTENERS])) == []


def test_this_machines_names() -> None:
    names = reachable(Edge(bind="192.0.2.9", domains=("ai.example.org",)), local_names())
    assert {"localhost", "ai.example.org"} <= set(names.hosts)
    assert {"127.0.0.1", "::1", "192.0.2.9"} <= set(names.addresses)
    assert reachable(Edge(bind="::"), Names()) == Names()
    assert all(name == name.lower() and "%" not in name for name in (*names.hosts, *names.addresses))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty state folder."""
    made = Layout(tmp_path / "state")
    before = os.umask(0o077)
    made.create()
    os.umask(before)
    return made
