"""The local CA and its leaves, and the checks on an operator's own certificate."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from freehold.edge.certificates import ca_file, ensure
from freehold.edge.names import Names
from freehold.protocol.errors import Misconfigured
from freehold.settings import Edge, Layout, Tls

NAMES = Names(("box", "localhost"), ("127.0.0.1", "192.0.2.7", "::1"))
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
PEM = serialization.Encoding.PEM


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty state folder."""
    made = Layout(tmp_path / "state")
    made.create()
    return made


def _leaf(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_leaf_of_the_local_ca(layout: Layout) -> None:
    made = ensure(Edge(), layout, NAMES, now=NOW)
    leaf, authority = _leaf(made.chain), _leaf(ca_file(layout))
    leaf.verify_directly_issued_by(authority)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(NAMES.hosts)
    assert sorted(map(str, names.get_values_for_type(x509.IPAddress))) == sorted(NAMES.addresses)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < datetime.timedelta(days=91)
    assert made.own
    assert [oct(path.stat().st_mode & 0o777) for path in (made.key, layout.keys / "ca.pem")] == ["0o600", "0o600"]
    assert b"PRIVATE" not in ca_file(layout).read_bytes() + made.chain.read_bytes()
    ssl.create_default_context(cafile=str(ca_file(layout)))


def test_nothing_happens_until_it_must(layout: Layout) -> None:
    first = ensure(Edge(), layout, NAMES, now=NOW)
    assert ensure(Edge(), layout, NAMES, now=NOW + datetime.timedelta(days=59)) == first
    renewed = ensure(Edge(), layout, NAMES, now=NOW + datetime.timedelta(days=61))
    assert renewed != first
    assert ensure(Edge(), layout, NAMES, now=NOW + datetime.timedelta(days=61)) == renewed
    assert _leaf(renewed.chain).issuer == _leaf(first.chain).issuer


def test_new_names_make_a_new_leaf(layout: Layout) -> None:
    first = ensure(Edge(), layout, NAMES, now=NOW)
    moved = Names(NAMES.hosts, ("127.0.0.1", "198.51.100.4", "::1"))
    second = ensure(Edge(), layout, moved, now=NOW)
    assert second != first
    assert ensure(Edge(), layout, moved, now=NOW) == second


def test_old_leaves_are_forgotten_with_their_keys(layout: Layout) -> None:
    made = [ensure(Edge(), layout, NAMES, now=NOW + datetime.timedelta(days=70 * turn)) for turn in range(4)]
    left = set(layout.certificates.glob("leaf-*"))
    assert left == {made[-1].chain, made[-2].chain}
    assert {path.name for path in layout.keys.glob("leaf-*")} == {path.name for path in left}


@pytest.mark.parametrize("damage", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_leaf_is_made_anew(layout: Layout, damage: bytes) -> None:
    first = ensure(Edge(), layout, NAMES, now=NOW)
    first.chain.write_bytes(damage)
    again = ensure(Edge(), layout, NAMES, now=NOW)
    assert again != first
    _leaf(again.chain)


@pytest.mark.parametrize("part", ["keys", "certificates"])
def test_a_damaged_ca_is_said(layout: Layout, part: str) -> None:
    ensure(Edge(), layout, NAMES, now=NOW)
    (layout.state / part / "ca.pem").write_bytes(b"garbage")
    with pytest.raises(Misconfigured, match="local CA"):
        ensure(Edge(), layout, NAMES, now=NOW)


def test_a_start_cut_short_between_key_and_certificate(layout: Layout) -> None:
    ensure(Edge(), layout, NAMES, now=NOW)
    ca_file(layout).unlink()
    made = ensure(Edge(), layout, NAMES, now=NOW)
    _leaf(made.chain).verify_directly_issued_by(_leaf(ca_file(layout)))


def _bring(
    folder: Path, names: list[str], *, until: datetime.datetime = NOW + datetime.timedelta(days=30), mark: str = ""
) -> Edge:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    leaf = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(NOW, until) - datetime.timedelta(days=60))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / f"chain{mark}.pem", folder / f"key{mark}.pem"
    chain.write_bytes(leaf.public_bytes(PEM))
    private.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return Edge(domains=("ai.example.org",), tls=Tls(certificate=chain, key=private))


@pytest.mark.parametrize("names", [["ai.example.org"], ["*.example.org"], ["other.example", "AI.example.org"]])
def test_the_operators_own(layout: Layout, tmp_path: Path, names: list[str]) -> None:
    made = ensure(_bring(tmp_path, names), layout, NAMES, now=NOW)
    assert not made.own
    assert made.chain.parent == layout.certificates
    assert made.key.stat().st_mode & 0o777 == 0o600


def test_the_operators_renewal_is_taken_over(layout: Layout, tmp_path: Path) -> None:
    edge = _bring(tmp_path, ["ai.example.org"])
    first = ensure(edge, layout, NAMES, now=NOW)
    assert ensure(edge, layout, NAMES, now=NOW) == first
    _bring(tmp_path, ["ai.example.org"], until=NOW + datetime.timedelta(days=90))
    second = ensure(edge, layout, NAMES, now=NOW)
    assert second != first
    assert second.not_after > first.not_after


def _refusals(folder: Path) -> dict[str, Edge]:
    good, other = _bring(folder, ["ai.example.org"]), _bring(folder, ["ai.example.org"], mark="2")
    certificate, key = good.tls.certificate, good.tls.key
    garbage = folder / "garbage.pem"
    garbage.write_bytes(b"\x00garbage")

    def pair(certificate: Path | None, key: Path | None) -> Edge:
        return Edge(domains=good.domains, tls=Tls(certificate=certificate, key=key))

    return {
        "does not belong": pair(certificate, other.tls.key),
        "has expired": _bring(folder, ["ai.example.org"], until=NOW - datetime.timedelta(days=1), mark="3"),
        "does not name ai.example.org": _bring(folder, ["a.ai.example.org", "*.ai.example.org"], mark="4"),
        "no PEM certificate": pair(garbage, key),
        "no private key": pair(certificate, garbage),
        "certificate .* cannot be read": pair(folder / "missing.pem", key),
        "key .* cannot be read": pair(certificate, folder / "missing.pem"),
        "only one of": pair(certificate, None),
    }


def test_a_pair_that_cannot_be_used_is_refused_with_its_reason(layout: Layout, tmp_path: Path) -> None:
    for reason, edge in _refusals(tmp_path).items():
        with pytest.raises(Misconfigured, match=reason) as caught:
            ensure(edge, layout, NAMES, now=NOW)
        assert all(problem.remedy for problem in caught.value.problems)
    assert not list(layout.certificates.glob("leaf-*"))
