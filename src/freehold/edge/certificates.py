"""What the edge shows: a leaf signed by a local CA of this installation, or the operator's own certificate.

`ensure` is called at start and every few minutes after; it does nothing until a certificate nears its end, the names
change, or the operator's files do. Each certificate lies under a name of its own (its fingerprint), so that a watching
Envoy switches from one whole pair to the next. The CA's key never leaves `keys/`; its certificate is public.
"""

import contextlib
import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from freehold.edge.names import Names
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Edge, Layout, write_private

_CA_LIFE = datetime.timedelta(days=3650)
_LEAF_LIFE = datetime.timedelta(days=90)
_RENEW_AT = 2 / 3
_SKEW = datetime.timedelta(hours=1)
_CA_KEY, _CA_FILE = "ca.pem", "ca.pem"
_CA_NAME = "Freehold local CA"


@dataclass(frozen=True)
class Certificate:
    """A pair on disk: `chain` (leaf first) and `key`. `own` is False when the operator brought it."""

    chain: Path
    key: Path
    not_after: datetime.datetime
    own: bool


@dataclass(frozen=True)
class _Shelf:
    certificates: Path
    keys: Path


def ca_file(layout: Layout) -> Path:
    """Where the local CA's public certificate lies: what a client must trust."""
    return layout.certificates / _CA_FILE


def ensure(
    edge: Edge, layout: Layout, names: Names, *, folder: str = "", now: datetime.datetime | None = None
) -> Certificate:
    """The certificate to show now; made, renewed or taken over when needed. Raises Misconfigured with the remedy.

    `folder` is where under `certificates/` and `keys/` the pair lies: a workspace with a domain has one of its own.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    shelf = _Shelf(layout.certificates / folder, layout.keys / folder)
    if edge.tls.certificate is not None or edge.tls.key is not None:
        return _operators(edge, shelf, now)
    authority, signer = _authority(layout, now)
    current = _current(shelf, authority, names, now)
    if current is None:
        key = ec.generate_private_key(ec.SECP256R1())
        current = _issue(names, key, authority, signer, now)
        _store(shelf, current.public_bytes(_PEM), _key_bytes(key), current)
    chain, private = _paths(shelf, current)
    return Certificate(chain, private, current.not_valid_after_utc, own=True)


_PEM = serialization.Encoding.PEM


def _authority(layout: Layout, now: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key_path, path = layout.keys / _CA_KEY, ca_file(layout)
    if not key_path.exists() and not path.exists():
        key = ec.generate_private_key(ec.SECP384R1())
        write_private(key_path, _key_bytes(key))
        write_private(path, _self_sign(key, now).public_bytes(_PEM))
    try:
        signer = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if not path.exists():  # a start that was cut short between the two files
            write_private(
                path, _self_sign(cast("ec.EllipticCurvePrivateKey", signer), now).public_bytes(_PEM), mode=0o644
            )
        authority = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise Misconfigured(_damaged(key_path, path)) from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != authority.public_key():
        raise Misconfigured(_damaged(key_path, path))
    return authority, signer


def _damaged(key_path: Path, path: Path) -> Problem:
    return Problem(
        f"the local CA in {key_path} and {path} is damaged",
        "Restore both from a backup, or delete both: a new CA is made, and clients must trust its ca.pem instead.",
    )


def _self_sign(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{_CA_NAME} {x509.random_serial_number():040x}"[:26])])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )


def _issue(
    names: Names,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    alternatives: list[x509.GeneralName] = [x509.DNSName(host) for host in names.hosts]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in names.addresses]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(min(now + _LEAF_LIFE, authority.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
        .sign(signer, hashes.SHA384())
    )


def _is_due(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    """True in the last third of its life, and while it is not valid yet (the clock was wrong when it was made)."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return not begin <= now < begin + (end - begin) * _RENEW_AT


def _covers(certificate: x509.Certificate) -> tuple[set[str], set[str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), set()
    return set(names.get_values_for_type(x509.DNSName)), set(map(str, names.get_values_for_type(x509.IPAddress)))


def _current(
    shelf: _Shelf, authority: x509.Certificate, names: Names, now: datetime.datetime
) -> x509.Certificate | None:
    """The newest leaf in the store that is whole, of this CA, for these names and not due. Damage is no error here."""
    wanted = set(names.hosts), set(names.addresses)
    usable = []
    for chain in shelf.certificates.glob("leaf-*.pem"):
        with contextlib.suppress(OSError, ValueError, TypeError, UnsupportedAlgorithm):
            leaf = x509.load_pem_x509_certificate(chain.read_bytes())
            key = serialization.load_pem_private_key(_paths(shelf, leaf)[1].read_bytes(), None)
            whole = leaf.issuer == authority.subject and key.public_key() == leaf.public_key()
            if whole and _covers(leaf) == wanted and not _is_due(leaf, now):
                usable.append(leaf)
    return max(usable, key=lambda leaf: leaf.not_valid_after_utc, default=None)


def _paths(shelf: _Shelf, leaf: x509.Certificate) -> tuple[Path, Path]:
    name = leaf.fingerprint(hashes.SHA256()).hex()[:16]
    return shelf.certificates / f"leaf-{name}.pem", shelf.keys / f"leaf-{name}.pem"


def _store(shelf: _Shelf, chain: bytes, key: bytes, leaf: x509.Certificate) -> None:
    """Write a pair, key first, and forget all but it and the youngest one before it (Envoy may still name that)."""
    chain_path, key_path = _paths(shelf, leaf)
    before = sorted(shelf.certificates.glob("leaf-*.pem"), key=os.path.getmtime)
    if not key_path.exists() or key_path.read_bytes() != key:
        write_private(key_path, key)
    if not chain_path.exists() or chain_path.read_bytes() != chain:
        write_private(chain_path, chain)
    for old in [path for path in before if path != chain_path][:-1]:
        old.unlink(missing_ok=True)
        (shelf.keys / old.name).unlink(missing_ok=True)


def _key_bytes(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _operators(edge: Edge, shelf: _Shelf, now: datetime.datetime) -> Certificate:
    """Check the operator's pair and take a copy, so that a later, half-written or broken file cannot be loaded."""
    files = edge.tls.certificate, edge.tls.key
    if files[0] is None or files[1] is None:
        raise Misconfigured(
            Problem("only one of edge.tls.certificate and edge.tls.key is set", "Set both, or neither for a local CA.")
        )
    chain = _read_chain(files[0])
    key = _read_key(files[1])
    leaf, problems = chain[0], []
    if leaf.public_key() != key.public_key():
        problems.append(Problem(f"the key {files[1]} does not belong to the certificate {files[0]}", "Set a pair."))
    if leaf.not_valid_after_utc <= now:
        problems.append(Problem(f"the certificate {files[0]} has expired", "Renew it."))
    if leaf.not_valid_before_utc > now + _SKEW:
        problems.append(Problem(f"the certificate {files[0]} is not valid yet", "Check this machine's clock."))
    if missing := sorted(domain for domain in edge.domains if not _names_domain(leaf, domain)):
        problems.append(
            Problem(
                f"the certificate {files[0]} does not name {', '.join(missing)}",
                "Get a certificate for every domain in edge.domains, or take the domain out.",
            )
        )
    if problems:
        raise Misconfigured(*problems)
    _store(shelf, b"".join(link.public_bytes(_PEM) for link in chain), _key_bytes(key), leaf)
    return Certificate(*_paths(shelf, leaf), leaf.not_valid_after_utc, own=False)


def _read_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise Misconfigured(_unreadable(path, "certificate", error)) from None
    except ValueError:
        raise Misconfigured(Problem(f"{path} holds no PEM certificate", "Set the full chain, leaf first.")) from None


def _read_key(path: Path) -> PrivateKeyTypes:
    remedy = "Set the PEM private key without a passphrase: ECDSA P-256 or P-384, or RSA of 2048 bits or more."
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise Misconfigured(_unreadable(path, "key", error)) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Misconfigured(Problem(f"{path} holds no private key that can be read", remedy)) from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    raise Misconfigured(Problem(f"the private key {path} is of a kind that is not offered", remedy))


def _unreadable(path: Path, kind: str, error: OSError) -> Problem:
    return Problem(f"the TLS {kind} {path} cannot be read: {error.strerror}", "Correct the path or its rights.")


def _names_domain(leaf: x509.Certificate, domain: str) -> bool:
    hosts = {host.lower() for host in _covers(leaf)[0]}
    return domain in hosts or f"*.{domain.partition('.')[2]}" in hosts
