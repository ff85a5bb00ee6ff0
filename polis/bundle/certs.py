"""The certificates of a workspace: an authority of its own, and what it signs (facts, "The stack").

The authority's key never leaves the host. The service that opens the workspace's connections gets an authority below
it instead, which can be replaced without anybody having to trust something new, and which can sign no other authority.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3650)
LEAF_LIFE: Final = timedelta(days=365)
SKEW: Final = timedelta(hours=1)
"""How far a clock in the guest may be behind the host's."""


@dataclass(frozen=True)
class Profile:
    """What a certificate is for. Without a usage it is an authority that signs for one purpose only."""

    common_name: str
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    usage: x509.ObjectIdentifier | None = None


PROFILES: Final = {
    "interception": Profile("polis interception"),
    "valkey-server": Profile(
        "state",
        names=("state", "valkey", "polis-state", "localhost"),
        addresses=("10.30.1.4", "127.0.0.1"),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    ),
    "valkey-client": Profile("valkey-client", usage=ExtendedKeyUsageOID.CLIENT_AUTH),
    "toolbox": Profile(
        "toolbox",
        names=("toolbox", "polis-toolbox", "localhost"),
        addresses=("10.10.1.20", "10.30.1.20", "127.0.0.1"),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    ),
}
"""All that a workspace's authority signs. The addresses are those of the bundle's services."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM; valid until `until`."""

    certificate: bytes
    key: bytes
    until: datetime


def authority(workspace: str, now: datetime) -> Pair:
    """Return a new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"polis workspace {workspace}"[:64])
    builder = _builder(name, name, key, now, now + AUTHORITY_LIFE)
    return _pair(_as_authority(builder, key, key, below=1).sign(key, hashes.SHA256()), key)


def issue(profile: Profile, signer: Pair, now: datetime) -> Pair:
    """Return a new certificate that the authority signs; it ends with the authority at the latest."""
    ca = x509.load_pem_x509_certificate(signer.certificate)
    ca_key = _load_key(signer.key)
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + LEAF_LIFE, signer.until)
    builder = _builder(_name(profile.common_name), ca.subject, key, now, until)
    if profile.usage is None:
        builder = _as_authority(builder, key, ca_key, below=0)
    else:
        builder = _as_leaf(builder, profile, profile.usage, ca_key)
    return _pair(builder.sign(ca_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _as_authority(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    below: int,
) -> x509.CertificateBuilder:
    """Let it sign certificates, and `below` further levels of authorities."""
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return builder if key is signer else _signed_by(builder, signer)


def _as_leaf(
    builder: x509.CertificateBuilder,
    profile: Profile,
    usage: x509.ObjectIdentifier,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    known = [
        *(x509.DNSName(name) for name in profile.names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in profile.addresses),
    ]
    if known:
        builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
    return _signed_by(builder, signer)


def _signed_by(builder: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(identifier, critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "polis")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate=certificate.public_bytes(Encoding.PEM),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        until=certificate.not_valid_after_utc.astimezone(UTC),
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not one of an elliptic curve")
    return key
