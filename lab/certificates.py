"""A certificate authority of the lab's own, and the registry's certificate from it.

The authority is made once, for whoever trusts it keeps a copy. The certificate is made anew whenever it would not do.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.placing import place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BRIDGES = tuple(f"10.{second}.0.1" for second in range(90, 120))
"""The host on the bridges of the lab's containers: whichever of them is free when one is made (lab/lxd.py)."""
ADDRESSES = ("10.0.2.2", "127.0.0.1", *BRIDGES)
"""The host as QEMU's user network shows it, as it shows itself, and on the bridges."""
HOSTS = ("mirror.polis.test", "registry.polis.test")
"""Names that no name server knows: only a proxy that is told where they lead finds the way."""
NAMES = ("localhost", *HOSTS)

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=365)
MARGIN = timedelta(days=30)
"""A certificate with less than this left is made anew, so that none expires under a running server."""
SKEW = timedelta(days=1)
"""How far behind a guest's clock may be."""


def ensure(directory: Path, *, now: datetime | None = None) -> tuple[Path, Path]:
    """Return the authority's certificate and the server's, which has its private key with it; make what is missing.

    The server's file is named after its content: another name says that a server must be started anew. The caller holds
    the lab's lock.
    """
    now = now or datetime.now(tz=UTC)
    keys = directory / "keys"
    ca_path, ca_key_path = directory / "ca.pem", keys / "ca.key"
    ca, ca_key = _load(ca_path), _load_key(ca_key_path)
    if ca is None or ca_key is None or ca.public_key() != ca_key.public_key() or ca.not_valid_after_utc < now + MARGIN:
        ca, ca_key = authority(now, "Polis lab CA")
        ca_path.unlink(missing_ok=True)  # never an old certificate beside a new key
        place(ca_key_path, pem(ca_key), mode=0o600)
        place(ca_path, ca.public_bytes(serialization.Encoding.PEM))
    for path in keys.glob("registry-*.pem"):
        if _serves(_load(path), ca, now):
            return ca_path, path
        path.unlink()
    certificate, key = leaf(ca, ca_key, (now, LEAF_LIFE), _names())
    path = keys / f"registry-{certificate.fingerprint(hashes.SHA256()).hex()[:16]}.pem"
    place(path, pem(key) + certificate.public_bytes(serialization.Encoding.PEM), mode=0o600)
    return ca_path, path


def _serves(found: x509.Certificate | None, ca: x509.Certificate, now: datetime) -> bool:
    if found is None or found.not_valid_after_utc < now + MARGIN:
        return False
    try:
        found.verify_directly_issued_by(ca)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return names == _names()


def _load(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def authority(now: datetime, common_name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the certificate of a new authority and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    usage = _usage(signs_certificates=True)
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage, True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    return _certificate(name, name, key, key, (now, AUTHORITY_LIFE), extensions), key


def leaf(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    life: tuple[datetime, timedelta],
    names: x509.SubjectAlternativeName,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a server's certificate from an authority, and its key; `life` is its beginning and its length."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Polis lab server")])
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (names, False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    return _certificate(name, ca.subject, key, ca_key, life, extensions), key


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signed_with: ec.EllipticCurvePrivateKey,
    life: tuple[datetime, timedelta],
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    begin, length = life
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - SKEW)
        .not_valid_after(begin + length)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signed_with, hashes.SHA256())


def _names() -> x509.SubjectAlternativeName:
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    return x509.SubjectAlternativeName([*addresses, *(x509.DNSName(name) for name in NAMES)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in the form that servers read."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
