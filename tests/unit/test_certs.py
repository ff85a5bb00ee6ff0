"""What a workspace's certificates are good for, and what they are not, judged by OpenSSL."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from polis.bundle import certs

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> certs.Pair:
    return certs.authority("polis", NOW)


def handshake(server: certs.Pair, client: certs.Pair, *, trusted: bytes, name: str, directory: Path) -> None:
    """Let a server and a client, each of which asks for the other's certificate, talk in memory."""
    contexts = []
    for role, own in ((ssl.PROTOCOL_TLS_SERVER, server), (ssl.PROTOCOL_TLS_CLIENT, client)):
        context = ssl.SSLContext(role)
        path = directory / f"{role.name}.pem"
        path.write_bytes(own.certificate + own.key)
        context.load_cert_chain(path)
        context.load_verify_locations(cadata=trusted.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    served = contexts[0].wrap_bio(up, down, server_side=True)
    asked = contexts[1].wrap_bio(down, up, server_hostname=name)
    open_sides = [asked, served]
    for _ in range(10):
        for side in list(open_sides):
            try:
                side.do_handshake()
                open_sides.remove(side)
            except ssl.SSLWantReadError:
                continue
        if not open_sides:
            return
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize(
    ("profile", "name"),
    [
        ("valkey-server", "state"),
        ("valkey-server", "valkey"),
        ("valkey-server", "10.30.1.4"),
        ("valkey-server", "127.0.0.1"),
        ("toolbox", "toolbox"),
        ("toolbox", "10.10.1.20"),
    ],
)
def test_server_and_client_accept_each_other(authority: certs.Pair, profile: str, name: str, tmp_path: Path) -> None:
    server = certs.issue(certs.PROFILES[profile], authority, NOW)
    client = certs.issue(certs.PROFILES["valkey-client"], authority, NOW)
    handshake(server, client, trusted=authority.certificate, name=name, directory=tmp_path)


@pytest.mark.parametrize(
    ("served", "asking", "name", "problem"),
    [
        ("toolbox", "valkey-client", "state", "Hostname mismatch"),
        ("valkey-client", "valkey-client", "state", "unsuitable certificate purpose|Hostname mismatch"),
        ("valkey-server", "toolbox", "state", "unsuitable certificate purpose|unsupported certificate"),
    ],
)
def test_a_certificate_is_good_for_its_own_purpose_only(
    authority: certs.Pair, served: str, asking: str, name: str, problem: str, tmp_path: Path
) -> None:
    server, client = (certs.issue(certs.PROFILES[profile], authority, NOW) for profile in (served, asking))
    with pytest.raises(ssl.SSLError, match=problem):
        handshake(server, client, trusted=authority.certificate, name=name, directory=tmp_path)


def test_another_workspace_s_authority_is_not_trusted(authority: certs.Pair, tmp_path: Path) -> None:
    other = certs.authority("polis", NOW)
    server = certs.issue(certs.PROFILES["valkey-server"], authority, NOW)
    client = certs.issue(certs.PROFILES["valkey-client"], authority, NOW)
    with pytest.raises(ssl.SSLError, match=r"certificate verify failed|unknown ca"):
        handshake(server, client, trusted=other.certificate, name="state", directory=tmp_path)


def test_the_interception_authority_signs_servers_but_no_further_authority(
    authority: certs.Pair, tmp_path: Path
) -> None:
    interception = certs.issue(certs.PROFILES["interception"], authority, NOW)
    site = certs.Profile("example.test", names=("example.test",), usage=ExtendedKeyUsageOID.SERVER_AUTH)
    client = certs.issue(certs.PROFILES["valkey-client"], authority, NOW)
    made = certs.issue(site, interception, NOW)
    served = certs.Pair(made.certificate + interception.certificate, made.key, made.until)
    handshake(served, client, trusted=authority.certificate, name="example.test", directory=tmp_path)

    further = certs.issue(certs.Profile("another"), interception, NOW)
    made = certs.issue(site, further, NOW)
    chain = made.certificate + further.certificate + interception.certificate
    with pytest.raises(ssl.SSLError, match="path length constraint"):
        handshake(
            certs.Pair(chain, made.key, made.until),
            client,
            trusted=authority.certificate,
            name="example.test",
            directory=tmp_path,
        )


def test_lifetimes(authority: certs.Pair) -> None:
    assert authority.until - NOW > timedelta(days=3649)
    for profile in certs.PROFILES.values():
        leaf = certs.issue(profile, authority, NOW)
        assert timedelta(days=364) < leaf.until - NOW <= timedelta(days=365)
        certificate = x509.load_pem_x509_certificate(leaf.certificate)
        assert certificate.not_valid_before_utc <= NOW - certs.SKEW + timedelta(seconds=1)


def test_no_certificate_outlives_its_authority(authority: certs.Pair) -> None:
    late = authority.until - timedelta(days=10)
    leaf = certs.issue(certs.PROFILES["toolbox"], authority, late)
    assert leaf.until == authority.until
