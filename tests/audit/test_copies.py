"""Copies in another place: verified there with the public key alone, never led astray, never in the log's way."""

import asyncio
import json
import re
import shutil
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from freehold import settings as configuration
from freehold.audit.bucket import BucketStore, sign
from freehold.audit.copies import Copier, FolderStore
from freehold.audit.copying import copying
from freehold.audit.folder import Snapshot
from freehold.audit.log import AuditLog, signer
from freehold.audit.prove import prove
from freehold.audit.syslog import SyslogCopier
from freehold.audit.verify import verify
from freehold.protocol.errors import Misconfigured
from tests.audit import checker
from tests.audit.making import KEY, event, make
from tests.conftest import until


def copy(folder: Path, store: Any) -> list[bool]:
    """Copy all there is; gives whether the alarm rang."""
    alarms: list[bool] = []
    copier = Copier(folder, KEY.verifier, store, lambda: alarms.append(True))
    while copier.step():
        pass
    return alarms


@pytest.mark.parametrize("sizes", [[1], [255, 1, 1], [700, 30], [17_000, 5]], ids=str)
def test_a_copy_is_a_log_that_its_keeper_verifies(sizes: list[int], tmp_path: Path) -> None:
    folder, place, total = tmp_path / "audit", tmp_path / "copy", 0
    place.mkdir()
    for size in sizes:
        make(folder, size, first=total, batch=250)
        total += size
        assert copy(folder, FolderStore(place)) == []
        report = verify(place, KEY.verifier)
        assert (report.faults, report.size) == ([], total)
    shutil.rmtree(folder)
    proof = prove(Snapshot(place, KEY.verifier), total - 1)
    assert checker.check_proof_file(proof.text(), str(KEY.verifier))[0] == total - 1


def test_a_log_that_was_rolled_back_or_replaced_does_not_reach_the_copy(tmp_path: Path) -> None:
    folder, place = tmp_path / "audit", tmp_path / "copy"
    place.mkdir()
    make(folder, 300)
    shutil.copytree(folder, tmp_path / "before")
    make(folder, 300, first=300)
    assert copy(folder, FolderStore(place)) == []
    kept = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "before", folder)
    assert copy(folder, FolderStore(place)) == [True]
    make(folder, 900, first=5000)
    assert copy(folder, FolderStore(place)) == [True]
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == kept
    assert not verify(folder, KEY.verifier, [(place / "checkpoint").read_bytes()]).sound


def test_a_place_that_is_away_or_holds_something_else(tmp_path: Path) -> None:
    folder, place = tmp_path / "audit", tmp_path / "copy"
    make(folder, 300)
    with pytest.raises(OSError):
        copy(folder, FolderStore(place))
    place.mkdir()
    (place / "checkpoint").write_text("a letter")
    with pytest.raises(OSError):
        copy(folder, FolderStore(place))
    assert (place / "checkpoint").read_text() == "a letter"


async def test_copies_follow_a_running_log_and_an_alarm_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.audit.log.PUBLISH_SECONDS", 0.1)
    monkeypatch.setattr("freehold.audit.copying.SECONDS", 0.1)
    place = tmp_path / "copy"
    settings = configuration.load(tmp_path / "state", audit={"copies": (str(place),)})
    settings.layout.create()
    key = signer(settings.layout).verifier
    async with AuditLog.of(settings.layout) as log, copying(settings, key, log) as copies:
        await log.record(event(0))
        await until(lambda: copies[0].behind == "FileNotFoundError")
        place.mkdir()
        await until(lambda: (place / "checkpoint").exists() and verify(place, key).size == 1)
        await until(lambda: copies[0].behind == "")
        for number in range(300):
            await log.record(event(number))
        await until(lambda: verify(place, key).size == 301)
    assert verify(place, key).faults == []


@pytest.mark.parametrize(
    "place",
    ["ftp://x", "relative", "s3://bucket", "s3://bucket?endpoint=http://far.example&key=k", "syslog+tls:///x", ""],
)
async def test_what_is_no_place(place: str, tmp_path: Path) -> None:
    settings = configuration.load(tmp_path / "state", audit={"copies": (place,)})
    settings.layout.create()
    log = AuditLog.of(settings.layout)
    with pytest.raises(Misconfigured):
        async with copying(settings, signer(settings.layout).verifier, log):
            pass


class Collector(socketserver.StreamRequestHandler):
    """Takes octet-counted syslog messages, as RFC 6587 has them."""

    def handle(self) -> None:
        messages: list[bytes] = self.server.messages  # type: ignore[attr-defined]
        while digits := b"".join(iter(lambda: self.rfile.read(1).strip(), b"")):
            messages.append(self.rfile.read(int(digits)))


@contextmanager
def collector(address: Any, context: ssl.SSLContext | None = None) -> Iterator[Any]:
    kind = socketserver.ThreadingUnixStreamServer if isinstance(address, str) else socketserver.ThreadingTCPServer
    server: Any = kind(address, Collector)
    server.daemon_threads = True
    server.messages = []
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FORM = re.compile(rb"<(1\d\d)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ freehold \d+ (\S+) - (\{.*\})", re.DOTALL)


async def _follow(folder: Path, url: str, server: Any) -> None:
    copier = SyslogCopier(folder, KEY.verifier, urlsplit(url))
    make(folder, 5)
    while await asyncio.to_thread(copier.step):
        pass
    make(folder, 3, first=5)
    copier.close()
    again = SyslogCopier(folder, KEY.verifier, urlsplit(url))
    while await asyncio.to_thread(again.step):
        pass
    await until(lambda: len(server.messages) == 10)
    again.close()
    found = [FORM.fullmatch(message) for message in server.messages]
    assert all(found)
    events = [json.loads(match[3]) for match in found if match and match[2] != b"checkpoint"]
    assert [one["metadata"]["sequence"] for one in events] == list(range(8)), "nothing lost, nothing twice"
    assert {one["class_uid"] for one in events} == {6003}
    assert all(one["type_uid"] == one["class_uid"] * 100 + one["activity_id"] for one in events)
    last = json.loads(found[-1][3]) if found[-1] else {}
    assert checker.open_note(last["checkpoint"], str(KEY.verifier))[1] == 8


async def test_a_collector_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with collector(path) as server:
        await _follow(tmp_path / "audit", f"syslog+unix://{path}", server)


async def test_a_collector_over_tcp(tmp_path: Path) -> None:
    with collector(("127.0.0.1", 0)) as server:
        await _follow(tmp_path / "audit", f"syslog+tcp://127.0.0.1:{server.server_address[1]}", server)


async def test_a_collector_over_tls_must_prove_who_it_is(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with collector(("127.0.0.1", 0), context) as server:
        url = f"syslog+tls://localhost:{server.server_address[1]}"
        await _follow(tmp_path / "audit", f"{url}?ca={certificate}", server)
        stranger = SyslogCopier(tmp_path / "audit", KEY.verifier, urlsplit(url))
        with pytest.raises(OSError):
            await asyncio.to_thread(stranger.step)
        assert len(server.messages) == 10


def _certificate(folder: Path) -> tuple[Path, Path]:
    from datetime import timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "k.pem").write_bytes(private)
    return folder / "c.pem", folder / "k.pem"


class Bucket(BaseHTTPRequestHandler):
    """A bucket that checks signatures in its own way and forgets nothing."""

    objects: ClassVar[dict[str, bytes]] = {}
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _signed(self, body: bytes) -> bool:
        """By the words of the specification, from what arrived."""
        import hashlib
        import hmac

        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=me/(\d{8})/eu-x/s3/aws4_request, SignedHeaders=([\w;-]+), Signature=(\w{64})",
            self.headers["Authorization"],
        )
        if match is None or self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return False
        lines = [f"{name}:{self.headers[name].strip()}" for name in match[2].split(";")]
        request = "\n".join([self.command, self.path, "", *lines, "", match[2], self.headers["x-amz-content-sha256"]])
        scope = f"{match[1]}/eu-x/s3/aws4_request"
        to_sign = "\n".join(
            ["AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, hashlib.sha256(request.encode()).hexdigest()]
        )
        key = b"AWS4secret"
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        return hmac.new(key, to_sign.encode(), "sha256").hexdigest() == match[3]

    def do_GET(self) -> None:
        if not self._signed(b""):
            self._answer(403)
        elif self.path in self.objects:
            self._answer(200, self.objects[self.path])
        else:
            self._answer(404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._signed(body):
            self._answer(403)
            return
        self.objects[self.path] = body
        self._answer(200)


def test_a_copy_in_a_bucket(tmp_path: Path) -> None:
    Bucket.objects.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        make(tmp_path / "audit", 600)
        store = BucketStore(endpoint, "eu-x", "logs", "/ours", "me", "secret")
        assert copy(tmp_path / "audit", store) == []
        make(tmp_path / "audit", 10, first=600)
        assert copy(tmp_path / "audit", store) == []
        with pytest.raises(OSError):
            copy(tmp_path / "audit", BucketStore(endpoint, "eu-x", "logs", "/ours", "me", "wrong"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    for path, data in Bucket.objects.items():
        file = tmp_path / "fetched" / path.removeprefix("/logs/ours/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    report = verify(tmp_path / "fetched", KEY.verifier)
    assert (report.faults, report.size) == ([], 610)


def test_the_signature_of_the_specification() -> None:
    """The example `GET Object` of the S3 documentation has a range header; this is its key and scope on ours."""
    headers = sign(
        "GET", "examplebucket.s3.amazonaws.com", "/test.txt", b"", "us-east-1",
        "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", datetime(2013, 5, 24, tzinfo=UTC),
    )  # fmt: skip
    assert "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request" in headers["Authorization"]
    assert headers["x-amz-content-sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_collector_that_is_away_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    make(tmp_path / "audit", 5)
    copier = SyslogCopier(tmp_path / "audit", KEY.verifier, urlsplit(f"syslog+unix://{path}"))
    with pytest.raises(OSError):
        copier.step()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert copier.step() is False
        connection, _ = listener.accept()
        assert connection.recv(1 << 20).count(b"exchange:intent - ") == 5
        connection.close()
    copier.close()
