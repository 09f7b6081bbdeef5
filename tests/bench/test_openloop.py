"""The load generator tells the truth: about failures, cut streams, slow answers, and what waited behind them."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import openloop, results

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@contextlib.contextmanager
def server(path: Path, answer: Callable[[int], bytes]) -> Iterator[openloop.Where]:
    """A server that gives `answer(number)` to the request of that number; b"" closes the connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    count = iter(range(1_000_000))

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(65536):
                said = answer(next(count))
                if not said:
                    return
                connection.sendall(said)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield openloop.Where(REQUEST, socket=path)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def whole(status: int = 200, body: bytes = b"ok") -> bytes:
    return b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


def test_good_answers_are_counted(tmp_path: Path) -> None:
    with server(tmp_path / "s", lambda _: whole()) as where:
        seen = openloop.run(where, rate=100, seconds=0.5)
    assert (len(seen.latencies), seen.failures) == (50, 0)
    assert 0 < seen.at(0.5) < 1000


def test_every_other_status_is_a_failure(tmp_path: Path) -> None:
    with server(tmp_path / "s", lambda n: whole(503 if n % 2 else 200)) as where:
        seen = openloop.run(where, rate=100, seconds=0.4)
    assert (len(seen.latencies), seen.failures) == (20, 20)


def test_a_cut_stream_is_a_failure(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n"

    def answer(number: int) -> bytes:
        return head + b"3\r\nabc\r\n0\r\n\r\n" if number % 2 else b""

    with server(tmp_path / "s", answer) as where:
        seen = openloop.run(where, rate=50, seconds=0.4, mark=b"abc")
    assert (len(seen.latencies), seen.failures) == (10, 10)
    assert (seen.chunks, len(seen.firsts)) == (10, 10)


def test_a_stall_is_charged_to_all_that_wait(tmp_path: Path) -> None:
    """With one connection at work at a time, a stall delays each request that was due in it."""
    lock = threading.Lock()

    def answer(number: int) -> bytes:
        with lock:
            time.sleep(0.5 if number == 5 else 0)
        return whole()

    with server(tmp_path / "s", answer) as where:
        seen = openloop.run(where, rate=40, seconds=1)
    assert sum(latency > 0.1 for latency in seen.latencies) >= 10


def test_the_table_judges() -> None:
    figures = {
        "requests_per_second": 1000.0,
        "chunks_per_second": 1000.0,
        "added_p50_ms": 0.5,
        "added_p99_ms": 5.0,
        "added_first_p50_ms": 0.5,
        "resident_bytes": 50 << 20,
        "resident_streams_bytes": 100 << 20,
        "start_seconds": 1.0,
        "cpu_seconds_per_1000": 0.1,
        "failures": 0,
        "version": "1",
    }
    rows = [{**figures, "name": "freehold"}, {**figures, "name": "nginx", "requests_per_second": 5000.0}]
    rows.append({"name": "litellm", "not_measured": "no registry"})
    told = results.table({"when": "", "machine": "", "python": "", "tokens_per_answer": 200, "rows": rows})
    assert "| requests/s beside nginx `proxy_pass` | ≥ 0.4 | 0.20 | **not reached** |" in told
    assert "| added latency at half load, p50, ms | ≤ 0.6 | 0.50 | reached |" in told
    assert "| requests/s beside LiteLLM | ≥ 100 | not measured | |" in told
