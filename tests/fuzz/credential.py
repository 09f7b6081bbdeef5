"""From header bytes to a credential: refused or one secret, whose kind is known only when its check fits."""

from collections.abc import Iterator

from freehold.gateway.call import Call
from freehold.gateway.routes import _secret
from freehold.identity.directory import secret_digest
from freehold.protocol.errors import Refused
from freehold.protocol.ids import new_secret, secret_kind
from tests.fuzz.target import Target, Wire

_NAMES = (b"authorization", b"x-api-key", b"api-key", b"cookie")


def run(data: bytes) -> None:
    """The first byte says which headers come; the values are the lines of the rest."""
    call = Call(Wire())
    for number, value in enumerate(data[1:].split(b"\n")[:4]):
        name = _NAMES[(len(data) + sum(data[:1]) + number) % len(_NAMES)]
        if name in call.headers:
            call.twice.add(name)
        call.headers[name] = value
    try:
        secret = _secret(call)
    except Refused as error:
        assert error.status == 400
        return
    assert len(secret_digest(b"k" * 32, secret)) == 32
    kind = secret_kind(secret)
    assert kind in (None, "fh", "fhs", "fhc") or kind is not None
    if kind is not None:
        assert secret.isascii()
        assert secret.startswith(f"{kind}_")
        for at in (0, len(secret) // 2, len(secret) - 1):  # no neighbour passes for it
            other = secret[:at] + ("A" if secret[at] != "A" else "B") + secret[at + 1 :]
            assert secret_kind(other) is None
        assert secret_kind(secret + "\n") is None
        assert secret_kind(secret[:-1]) is None


def seeds() -> Iterator[bytes]:
    """Credentials of each kind, in each header."""
    for prefix in ("fh", "fhs", "fhc"):
        yield b"\x00Bearer " + new_secret(prefix).encode()
        yield b"\x01" + new_secret(prefix).encode()
        yield b"\x03" + new_secret(prefix).encode() + b"\nbearer   x"
    yield b"\x00Basic QTpC"
    yield b"\x00Bearer eyJhbGciOiJub25lIn0.e30."


TARGET = Target(run, seeds)
