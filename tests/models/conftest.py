"""Small model files that are real GGUF, and sources for them on this machine: a wheel folder, an https server."""

import datetime
import hashlib
import http.server
import ipaddress
import os
import ssl
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from freehold.models.catalogue import Model, ModelFile, Source
from freehold.models.store import ModelStore

Handler = Callable[[http.server.BaseHTTPRequestHandler], None]


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def gguf(weights: int = 4096, *, stated: int | None = None, offset: int = 0, entries: int = 2, count: int = 1) -> bytes:
    """A GGUF file with one tensor of `weights` float32; `stated` and the rest make its head lie."""
    head = b"GGUF" + struct.pack("<IQQ", 3, count, entries)
    head += _text(b"general.architecture") + struct.pack("<I", 8) + _text(b"llama")
    head += _text(b"llama.context_length") + struct.pack("<II", 4, 2048)
    head += _text(b"w") + struct.pack("<IQIQ", 1, weights if stated is None else stated, 0, offset)
    head += b"\0" * (-len(head) % 32)
    return head + bytes(number % 251 for number in range(4 * weights))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def model(data: bytes, *sources: Source, name: str = "test") -> Model:
    """A catalogue entry for `data`."""
    file = ModelFile(f"{name}.gguf", len(data), sha256(data), sources)
    return Model(name, "chat", "Apache-2.0", (file,), notice="Notice of the owner.\n")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def left(tmp_path: Path) -> Callable[[], list[str]]:
    """What the store's folder holds: relative paths of files."""
    root = tmp_path / "models"
    return lambda: sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def wheel(folder: Path, package: str, version: str, members: dict[str, bytes]) -> None:
    """A wheel that pip accepts."""
    name = package.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip knows."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


class Publisher:
    """An https server on loopback. `answers` maps a path to bytes, or to a function that does as it likes."""

    def __init__(self, certificate: Path) -> None:
        self.answers: dict[str, bytes | Handler] = {}
        self.asked: list[str] = []
        publisher = self

        class Requests(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append(self.path)
                answer = publisher.answers.get(self.path)
                if callable(answer):
                    answer(self)
                    return
                self.send_response(404 if answer is None else 200)
                self.send_header("content-length", str(len(answer or b"")))
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"https://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A publisher whose certificate this process trusts."""
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(_certificate())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "*")
    publisher = Publisher(certificate)
    thread = threading.Thread(target=publisher.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield publisher
    publisher.server.shutdown()
    publisher.server.server_close()
    thread.join()


def _certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return private + certificate.public_bytes(serialization.Encoding.PEM)
