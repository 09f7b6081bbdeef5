"""The log as a stream to a collector: RFC 5424 messages, each an OCSF event as JSON, over TCP, TLS or a Unix socket.

Messages are framed by their length (RFC 6587, RFC 5425). The protocol has no acknowledgement, so after a broken
connection some entries come twice; their sequence tells. How far it is, is kept in the folder's `places/`.
"""

import hashlib
import json
import os
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, parse_qs

from freehold.audit import ocsf
from freehold.audit.events import Entry, decode
from freehold.audit.folder import PLACES, Snapshot, read_checkpoint
from freehold.audit.note import Checkpoint, Verifier
from freehold.settings import write_private

AT_ONCE = 2000
"""Entries that one step sends."""
_TIMEOUT = 5.0
_AUDIT = 13 * 8  # facility "log audit"


class SyslogCopier:
    """Sends entries under the published checkpoint, and the checkpoint after them."""

    def __init__(self, folder: Path, key: Verifier, url: SplitResult) -> None:
        self._folder = folder
        self._key = key
        self._url = url
        name = hashlib.sha256(url.geturl().encode()).hexdigest()[:16]
        self._place = folder / PLACES / name
        self._socket: socket.socket | None = None

    def step(self) -> bool:
        """Send what is new; True when there is more. Blocking. Raises OSError or Unavailable when a place is away."""
        begin = self._begin()
        try:
            published = read_checkpoint(self._folder, self._key)
        except ValueError:
            published = None
        if published is None or published.size <= begin:
            return False
        snapshot = Snapshot(self._folder, self._key)
        end = min(begin + AT_ONCE, published.size)
        lines = [self._entry(decode(entry)) for _, entry in snapshot.entries(begin, end)]
        if end == published.size:
            lines.append(self._head(published))
        self._send(b"".join(b"%d %s" % (len(line), line) for line in lines))
        self._place.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(self._place, b"%d" % end)
        return end < published.size

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _begin(self) -> int:
        try:
            return int(self._place.read_bytes())
        except (FileNotFoundError, ValueError):
            return 0

    def _entry(self, entry: Entry) -> bytes:
        found = ocsf.event(entry, self._key.name)
        severity = 4 if found["severity_id"] > 1 else 6
        return self._message(severity, entry.at, entry.action.value, found)

    def _head(self, head: Checkpoint) -> bytes:
        now = int(datetime.now(UTC).timestamp() * 1000)
        return self._message(5, now, "checkpoint", {"checkpoint": head.note.decode()})

    def _message(self, severity: int, at: int, kind: str, body: dict[str, object]) -> bytes:
        when = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = json.dumps(body, separators=(",", ":"))
        return f"<{_AUDIT + severity}>1 {when} {socket.gethostname()} freehold {os.getpid()} {kind} - {text}".encode()

    def _send(self, data: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.sendall(data)
        except OSError:
            self.close()
            raise

    def _connect(self) -> socket.socket:
        if self._url.scheme == "syslog+unix":
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(_TIMEOUT)
            try:
                plain.connect(self._url.path)
            except OSError:
                plain.close()
                raise
            return plain
        host, port = self._url.hostname or "", self._url.port or (6514 if self._url.scheme == "syslog+tls" else 601)
        connection = socket.create_connection((host, port), _TIMEOUT)
        if self._url.scheme == "syslog+tcp":
            return connection
        try:
            ca = parse_qs(self._url.query).get("ca", [None])[0]
            context = ssl.create_default_context(cafile=ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            return context.wrap_socket(connection, server_hostname=host)
        except OSError:
            connection.close()
            raise
