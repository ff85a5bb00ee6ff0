"""The suite of the shared record on a real LXD, through its own interface; and what else only a real one can show."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.lxd import Lxd
from polis.drivers.incus.api import Api
from polis.drivers.incus.client import Client
from polis.drivers.incus.driver import IncusDriver
from polis.drivers.incus.endpoint import Endpoint
from polis.drivers.incus.settings import Settings
from polis.drivers.incus.tool import LXD
from polis.errors import ConfigurationError, DriverUnavailable, HostUnsuitable, PolisError
from polis.lease import Pace
from tests.contract.subjects import ROOT
from tests.profiles import entries
from tests.shared_record import Operator, Operators, SharedRecordSuite, record


@pytest.fixture(scope="session")
def lxd() -> Iterator[Lxd]:
    with Lxd(ROOT / ".lab" / "lxd-record", shared=ROOT / ".lab") as started:
        yield started


@pytest.fixture
def operators(lxd: Lxd, tmp_path: Path) -> Iterator[Operators]:
    api = Api(Endpoint(socket=f"{lxd.home}/unix.socket"))

    def operator(name: str, pace: Pace | None = None) -> Operator:
        return Operator(tmp_path / name, api, pace or Pace())

    yield operator
    kept = entries(api)
    for name in kept.all():
        kept.remove(name)


class TestSharedRecord(SharedRecordSuite):
    """All of it."""


def driver(lxd: Lxd, **settings: str) -> IncusDriver:
    os.environ.update(lxd.environment)
    chosen = Settings(**settings)  # type: ignore[arg-type]  # no profiles here
    return IncusDriver(chosen, client=Client(LXD, chosen))


def test_of_all_who_create_or_remove_a_name_at_once_one_succeeds(operators: Operators) -> None:
    rounds = 20
    made: list[int] = []
    removed: list[int] = []
    meet = threading.Barrier(4)

    def work() -> None:
        mine = operators("any").entries
        for number in range(rounds):
            meet.wait()
            made.extend([number] * mine.create(f"race{number}", {"a": "b"}))
            meet.wait()
            removed.extend([number] * mine.remove(f"race{number}"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == removed == list(range(rounds))


def test_the_server_is_found_as_its_client_finds_it(lxd: Lxd) -> None:
    kept = driver(lxd).entries()
    assert kept.create("found", {"record": "ä\n\u2028"})
    found = kept.read("found")
    assert found is not None
    assert found.texts == {"record": "ä\n\u2028"}
    assert kept.remove("found")
    lxd.lxc("profile", "show", "default")


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"remote": "nowhere"}, ConfigurationError, "doesn't exist"),
        ({"project": "none"}, ConfigurationError, "Project not found"),
    ],
)
def test_what_is_configured_wrongly_is_told_and_never_read_as_no_record(
    lxd: Lxd, settings: dict[str, str], kind: type[PolisError], words: str
) -> None:
    kept = driver(lxd, **settings).entries()
    asked: tuple[Callable[[], object], ...] = (
        lambda: kept.read("x"),
        lambda: kept.create("x", {}),
        lambda: kept.remove("x"),
        lambda: kept.replace("x", {}),
    )
    for ask in asked:
        with pytest.raises(kind) as caught:
            ask()
        assert words in caught.value.cause
        assert caught.value.hint


def test_a_remote_is_reached_by_https_with_its_own_certificate_only(lxd: Lxd, tmp_path: Path) -> None:
    lxd.lxc("config", "set", "core.https_address", "127.0.0.1:18443")
    try:
        certificates = lxd.client / "servercerts"
        certificates.mkdir(exist_ok=True)
        configuration = lxd.client / "config.yml"
        before = configuration.read_text()
        remote = "{addr: 'https://127.0.0.1:18443', auth_type: tls, protocol: lxd, public: false}"
        configuration.write_text(before.replace("remotes:\n", f"remotes:\n  far: {remote}\n"))
        (certificates / "far.crt").write_bytes((lxd.home / "server.crt").read_bytes())
        lxd.lxc("remote", "list")  # it makes the client's own certificate, or does not
        _own_certificate(lxd)
        kept = driver(lxd, remote="far").entries()
        with pytest.raises(HostUnsuitable) as caught:
            kept.read("x")
        assert "does not trust this machine's certificate" in caught.value.hint
        lxd.lxc("config", "trust", "add", str(lxd.client / "client.crt"))
        assert kept.create("far", {"record": "1"})
        assert driver(lxd).entries().remove("far")
        (certificates / "far.crt").write_bytes((lxd.client / "client.crt").read_bytes())
        with pytest.raises(HostUnsuitable) as caught:
            driver(lxd, remote="far").entries().read("x")
        assert "certificate" in caught.value.cause
    finally:
        configuration.write_text(before)
        lxd.lxc("config", "unset", "core.https_address")
    configuration.write_text(before.replace("remotes:\n", f"remotes:\n  far: {remote}\n"))
    with pytest.raises((DriverUnavailable, HostUnsuitable)):
        driver(lxd, remote="far").entries().read("x")
    configuration.write_text(before)


def test_a_daemon_that_is_down_is_unavailable_and_what_is_remembered_is_told(lxd: Lxd, operators: Operators) -> None:
    ann = operators("ann")
    ann.save(record())
    lxd.interrupt()
    try:
        with pytest.raises(DriverUnavailable) as caught:
            ann.store.load()
        assert "remembers shared as absent" in caught.value.remains
    finally:
        lxd.resume()
    assert ann.store.load().record == record()


def _own_certificate(lxd: Lxd) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "operator")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (lxd.client / "client.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (lxd.client / "client.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
