"""What the edge lets through means the same to every upstream (BAR-2): the same bytes, shown to fifteen real servers.

The requests are those that the recording upstream got of all attacks on framing, in HTTP/1.1 and in HTTP/2. Each server
gets their bytes, one after another on kept connections, and says what it understood: method, target, host and body. A
proxy says it by what it passes on. Not one may disagree, and none may see one more or one less.
"""

import contextlib
import hashlib
import json
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.edge.door import Reply, complete, parse
from tests.edge.recorder import Recorded, Recorder
from tests.hostile import servers
from tests.hostile.sending import Outcome
from tests.hostile.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.soak]


@dataclass(frozen=True)
class Understood:
    """What a server made of a request."""

    method: str
    target: str
    host: str
    body: str


def _of(request: Recorded) -> Understood:
    (host,) = request.values("host")
    return Understood(request.method, request.target, host, hashlib.sha256(request.body).hexdigest())


@pytest.fixture(scope="module")
def accepted(plain_outcome: Outcome, frames_outcome: Outcome) -> list[Recorded]:
    """Every request that came through of an attack; of the fences behind them a few."""
    found = [one for outcome in (plain_outcome, frames_outcome) for some in outcome.seen.values() for one in some]
    fences = [one for one in found if one.target.startswith("/v1/fence/")]
    return [one for one in found if not one.target.startswith("/v1/fence/")] + fences[::20]


class _Client:
    """Sends requests on one connection for as long as the server keeps it."""

    def __init__(self, where: servers.Address) -> None:
        self._where = where
        self._connection: socket.socket | None = None

    def close(self) -> None:
        """Close; what the server said without being asked is its undoing."""
        if self._connection is not None:
            self._connection.setblocking(False)
            with self._connection, contextlib.suppress(BlockingIOError, ConnectionError):
                assert self._connection.recv(1000) == b""
        self._connection = None

    def ask(self, raw: bytes) -> Reply:
        """Send these bytes, read one answer. A kept connection may have been closed while nothing was under way."""
        for _ in range(2):
            fresh = self._connection is None
            answer = self._once(raw)
            if answer.raw or fresh:
                break
        if (answer["connection"] or "").lower() == "close" or not answer.raw:
            self.close()
        return answer

    def _once(self, raw: bytes) -> Reply:
        got = b""
        if self._connection is None:
            self._connection = servers.connect(self._where)
        with contextlib.suppress(ConnectionError):
            self._connection.sendall(raw)
            while not complete(_lower(got)) and (data := self._connection.recv(65536)):
                got += data
        if not got:
            self.close()
        return parse(_lower(got))


def _lower(raw: bytes) -> bytes:
    """An answer with its head in lower case, as the edge's would be."""
    head, end, body = raw.partition(b"\r\n\r\n")
    return head.lower() + end + body


@pytest.mark.parametrize("server", servers.SERVERS, ids=lambda server: server.name)
def test_what_comes_through_means_the_same_to(server: Server, accepted: list[Recorded]) -> None:
    if missing := server.missing():
        pytest.skip(missing)
    assert len(accepted) > 300
    folder = Path(tempfile.mkdtemp(prefix="fh-up-"))
    folder.chmod(0o711)
    with Recorder().listening(folder / "recorder.sock") as recorder:
        (folder / "recorder.sock").chmod(0o777)
        with server.running(folder, folder / "recorder.sock") as where, contextlib.closing(_Client(where)) as client:
            replies = [client.ask(request.raw) for request in accepted]
        passed_on = [_of(request) for request in recorder.requests]
        assert not recorder.garbage
    wrong = [
        f"{one.raw[:300]!r}: {reply.raw[:200]!r}"
        for one, reply in zip(accepted, replies, strict=True)
        if reply.status != 200
    ]
    assert not wrong, f"{len(wrong)} of {len(replies)} not answered:\n" + "\n".join(wrong[:10])
    understood = passed_on if server.proxy else [Understood(**json.loads(reply.body)) for reply in replies]
    assert len(understood) == len(accepted)
    differ = [f"{_of(one)} was {other}" for one, other in zip(accepted, understood, strict=True) if _of(one) != other]
    assert not differ, f"{len(differ)} of {len(understood)}:\n" + "\n".join(differ[:10])
