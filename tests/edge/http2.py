"""A small HTTP/2 client on `h2` that can also say what a well-behaved one would not."""

import contextlib
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.edge.door import Door

Row = tuple[str, str]


@dataclass
class Answer:
    """What came for one stream."""

    headers: list[Row] = field(default_factory=list)
    body: bytes = b""
    reset: bool = False
    ended: bool = False

    @property
    def status(self) -> int:
        """0 when there was no answer."""
        return int(dict(self.headers).get(":status", "0"))


class Client:
    """One connection. `gone` is True once the server said goodbye or closed."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.socket = connection
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="latin-1"
            )
        )
        self.answers: dict[int, Answer] = {}
        self.gone = False
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what is pending."""
        try:
            self.socket.sendall(self.h2.data_to_send())
        except OSError:
            self.gone = True

    def request(self, rows: Sequence[Row], body: bytes | None = None, *, end: bool = True) -> int:
        """Start a stream with exactly these header rows."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, list(rows), end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def answer(self, stream: int) -> Answer:
        """Wait for a stream's end (or the connection's)."""
        while not (self.answers[stream].ended or self.gone):
            self.receive()
        return self.answers[stream]

    def receive(self) -> None:
        """Take in what came."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self.gone = True
            return
        for event in self.h2.receive_data(data):
            self._take(event)
        self.flush()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.answers[event.stream_id].headers = [(str(name), str(value)) for name, value in event.headers]
            case h2.events.DataReceived():
                self.answers[event.stream_id].body += event.data or b""
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            case h2.events.StreamEnded():
                self.answers[event.stream_id].ended = True
            case h2.events.StreamReset():
                if event.stream_id in self.answers:
                    self.answers[event.stream_id].ended = self.answers[event.stream_id].reset = True
            case h2.events.ConnectionTerminated():
                self.gone = True


@contextlib.contextmanager
def connected(door: Door) -> Iterator[Client]:
    """A client on a fresh connection."""
    with door.connect(alpn="h2") as connection:
        assert connection.selected_alpn_protocol() == "h2"
        yield Client(connection)


def rows(door: Door, method: str = "GET", path: str = "/v1/models", *more: Row) -> list[Row]:
    """A well-formed request's header rows."""
    return [(":method", method), (":scheme", "https"), (":authority", door.host), (":path", path), *more]
