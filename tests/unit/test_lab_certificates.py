"""The lab's certificates: an authority made once, and a server certificate that is always one it vouches for."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab import certificates

NOW = datetime.now(tz=UTC)


def greet(ca: Path, certificate: Path, name: str) -> None:
    """Have a strict client greet a server with this certificate; raises ssl.SSLError if it is not trusted."""
    trusting = ssl.create_default_context(cafile=ca)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(back, there, server_hostname=name)
    server = serving.wrap_bio(there, back, server_side=True)
    for end in (client, server, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.parametrize("name", ["10.0.2.2", "127.0.0.1", "localhost", "mirror.polis.test"])
def test_a_server_is_trusted_under_every_name_of_the_host(tmp_path: Path, name: str) -> None:
    greet(*certificates.ensure(tmp_path), name)


@pytest.mark.parametrize("name", ["registry.example", "10.0.2.3"])
def test_a_server_is_not_trusted_under_another_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        greet(*certificates.ensure(tmp_path), name)


def test_a_server_is_not_trusted_by_who_trusts_another_lab(tmp_path: Path) -> None:
    _, certificate = certificates.ensure(tmp_path / "one")
    other, _ = certificates.ensure(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(other, certificate, "localhost")


def test_authority_and_certificate_are_made_once(tmp_path: Path) -> None:
    paths = certificates.ensure(tmp_path)
    before = [path.read_bytes() for path in paths]
    again = certificates.ensure(tmp_path)
    assert again == paths
    assert [path.read_bytes() for path in again] == before


def test_only_the_user_reads_private_keys_and_everybody_the_authority(tmp_path: Path) -> None:
    ca, certificate = certificates.ensure(tmp_path)
    secret = {path for path in tmp_path.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()}
    assert secret == {tmp_path / "keys/ca.key", certificate}
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert ca.stat().st_mode & 0o777 == 0o644


def lose(certificate: Path) -> None:
    certificate.unlink()


def damage(certificate: Path) -> None:
    certificate.write_bytes(certificate.read_bytes()[:400])


def take_anothers(certificate: Path) -> None:
    _, other = certificates.ensure(certificate.parent / "other")
    certificate.write_bytes(other.read_bytes())


@pytest.mark.parametrize("mishap", [lose, damage, take_anothers])
def test_a_certificate_that_would_not_do_is_made_anew(tmp_path: Path, mishap: object) -> None:
    ca, certificate = certificates.ensure(tmp_path)
    authority = ca.read_bytes()
    assert callable(mishap)
    mishap(certificate)
    ca, renewed = certificates.ensure(tmp_path)
    assert ca.read_bytes() == authority
    assert renewed != certificate
    assert not certificate.exists()
    greet(ca, renewed, "localhost")


@pytest.mark.parametrize(("days", "kept"), [(334, True), (336, False), (400, False)])
def test_a_certificate_is_made_anew_before_it_expires_under_a_server(tmp_path: Path, days: int, kept: bool) -> None:
    ca, certificate = certificates.ensure(tmp_path, now=NOW)
    authority = ca.read_bytes()
    later, renewed = certificates.ensure(tmp_path, now=NOW + timedelta(days=days))
    assert (renewed == certificate) is kept
    assert later.read_bytes() == authority


def test_a_certificate_without_one_of_the_hosts_names_is_made_anew(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, certificate = certificates.ensure(tmp_path)
    monkeypatch.setattr(certificates, "NAMES", ("localhost", "lab.example"))
    ca, renewed = certificates.ensure(tmp_path)
    assert renewed != certificate
    greet(ca, renewed, "lab.example")


@pytest.mark.parametrize("lost", ["ca.pem", "keys/ca.key"])
def test_half_an_authority_is_none(tmp_path: Path, lost: str) -> None:
    ca, certificate = certificates.ensure(tmp_path)
    authority = ca.read_bytes()
    (tmp_path / lost).unlink()
    ca, renewed = certificates.ensure(tmp_path)
    assert ca.read_bytes() != authority
    assert renewed != certificate
    greet(ca, renewed, "localhost")


def test_an_authority_is_replaced_before_it_expires(tmp_path: Path) -> None:
    ca, certificate = certificates.ensure(tmp_path, now=NOW - timedelta(days=3640))
    authority = ca.read_bytes()
    ca, renewed = certificates.ensure(tmp_path, now=NOW)
    assert ca.read_bytes() != authority
    assert renewed != certificate
    greet(ca, renewed, "localhost")


def test_a_guest_whose_clock_is_a_few_hours_behind_trusts_it(tmp_path: Path) -> None:
    ca, certificate = certificates.ensure(tmp_path, now=NOW + timedelta(hours=20))
    greet(ca, certificate, "10.0.2.2")
