"""The gateway's client to a runner: what the runner says is pushed on the same wherever it is cut."""

from collections.abc import Iterator

from freehold.protocol.http import PeerGone
from freehold.protocol.pushed import Flow, PushClient, _Channel
from tests.fuzz import response
from tests.fuzz.target import LOOP, Target, Wire, cut, turns


class _Keeper:
    """Keeps what is pushed."""

    def __init__(self) -> None:
        self.got = b""
        self.statuses: set[int] = set()
        self.over = False

    def begun(self, flow: Flow) -> None:
        """Nothing yet."""

    def chunk(self, status: int, data: bytes) -> bool:
        """Keep it."""
        assert not self.over
        assert data
        self.statuses.add(status)
        self.got += data
        return False

    def ended(self, status: int) -> None:
        """That was all."""
        assert not self.over
        self.statuses.add(status)
        self.over = True


async def _fed(pieces: list[bytes]) -> tuple[bytes, set[int], bool]:
    client, keeper, wire = PushClient("nowhere"), _Keeper(), Wire()
    channel = _Channel(client)
    channel.connection_made(wire)
    exchange = LOOP.create_task(channel.exchange(b"POST", keeper, 100, 100))
    await turns(1)
    for piece in pieces:
        if wire.closed:
            break
        channel.data_received(piece)
        await turns(1)
    channel.connection_lost(None)
    try:
        await exchange
        assert keeper.over
    except PeerGone:
        assert not keeper.over
    client.close()
    if client._sweeper is not None:
        client._sweeper.cancel()
    return keeper.got, keeper.statuses, keeper.over


def run(data: bytes) -> None:
    """Whole and in pieces: a break may swallow the end of what was read, but never change or add."""
    raw, pieces = cut(data)
    whole, parts = LOOP.run_until_complete(_fed([raw])), LOOP.run_until_complete(_fed(pieces))
    assert whole[2] == parts[2], (whole, parts)
    assert whole[0] == parts[0] if whole[2] else parts[0].startswith(whole[0]), (whole, parts)
    assert len(whole[1] | parts[1]) <= 1


TARGET = Target(run, lambda: _seeds())


def _seeds() -> Iterator[bytes]:
    yield from response.seeds()
    yield (
        b'\x0a\x20HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1c\r\n{"type":"delta","text":"a"}\n\r\n0\r\n\r\n'
    )
