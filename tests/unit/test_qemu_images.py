"""The image cache: verified, resumed, bounded, shared."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.server
import ipaddress
import os
import shutil
import ssl
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from polis.drivers.base import Artifact
from polis.drivers.qemu import download, images
from polis.drivers.qemu.images import ImageCache
from polis.errors import ConfigurationError, HostUnsuitable, IntegrityError, Transient
from polis.retry import Backoff

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


def silent(_: str) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "base.qcow2"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def cache_directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "images"


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")


def test_a_local_file_is_copied_verified_and_read_only(source: Path, cache_directory: Path) -> None:
    path = ImageCache(cache_directory).fetch(Artifact(str(source), SHA256), on_progress=silent)
    source.write_bytes(b"edited later")
    assert path == cache_directory / SHA256
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o444
    assert left(cache_directory) == [SHA256]


def test_a_cached_image_needs_no_source(source: Path, cache_directory: Path) -> None:
    cache = ImageCache(cache_directory)
    cache.fetch(Artifact(str(source), SHA256), on_progress=silent)
    source.unlink()
    assert cache.fetch(Artifact(str(source), SHA256), on_progress=silent).read_bytes() == CONTENT


def test_a_damaged_cached_image_is_fetched_again(source: Path, cache_directory: Path) -> None:
    cache = ImageCache(cache_directory)
    path = cache.fetch(Artifact(str(source), SHA256), on_progress=silent)
    path.chmod(0o600)
    path.write_bytes(CONTENT[:-1])
    told: list[str] = []
    assert cache.fetch(Artifact(str(source), SHA256), on_progress=told.append).read_bytes() == CONTENT
    assert "damaged" in told[0]


def test_wrong_hash_names_file_expected_and_found(source: Path, cache_directory: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        ImageCache(cache_directory).fetch(Artifact(str(source), OTHER), on_progress=silent)
    assert str(source) in caught.value.message
    assert OTHER in caught.value.cause
    assert SHA256 in caught.value.cause
    assert left(cache_directory) == []


@pytest.mark.parametrize(
    ("location", "sha256", "words"),
    [
        ("http://x.example/i", SHA256, "encrypted"),
        ("ftp://x.example/i", SHA256, "encrypted"),
        ("file:///etc/passwd", SHA256, "encrypted"),
        ("relative/i", SHA256, "not absolute"),
        ("/no/such/file", SHA256, "not a file"),
        ("/", SHA256, "not a file"),
        ("/x", "abc", "64"),
        ("/x", SHA256.upper(), "64"),
        ("/x", "../" * 21 + "x", "64"),
    ],
)
def test_locations_that_make_no_sense(cache_directory: Path, location: str, sha256: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        ImageCache(cache_directory).fetch(Artifact(location, sha256), on_progress=silent)


def test_an_unreadable_file(source: Path, cache_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(HostUnsuitable, match="cannot be read"):
        images._open_source(str(source))


def test_space_is_asked_for_first(source: Path, cache_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 5, 3 * 1024 * 1024))
    with pytest.raises(HostUnsuitable) as caught:
        ImageCache(cache_directory).fetch(Artifact(str(source), SHA256), on_progress=silent)
    assert "65 MiB needed, 3 MiB free" in caught.value.cause
    assert left(cache_directory) == []


def test_a_disk_that_fills_up_meanwhile(source: Path, cache_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "_copy_hashing", full)
    with pytest.raises(HostUnsuitable, match=r"cannot be written.*No space left"):
        ImageCache(cache_directory).fetch(Artifact(str(source), SHA256), on_progress=silent)
    assert left(cache_directory) == []


def test_old_leftovers_go_and_fresh_ones_stay(source: Path, cache_directory: Path) -> None:
    cache_directory.mkdir(parents=True)
    for name, age in (("old.tmp", 8), ("old.part", 8), ("fresh.part", 1), ("kept", 8)):
        (cache_directory / name).touch()
        moment = time.time() - age * 24 * 3600
        os.utime(cache_directory / name, (moment, moment))
    ImageCache(cache_directory).fetch(Artifact(str(source), SHA256), on_progress=silent)
    assert left(cache_directory) == sorted([SHA256, "fresh.part", "kept"])


def test_a_copy_that_was_killed_is_removed_by_the_next(source: Path, cache_directory: Path) -> None:
    cache_directory.mkdir(parents=True)
    (cache_directory / f"{SHA256}.0123.tmp").touch()
    ImageCache(cache_directory).fetch(Artifact(str(source), SHA256), on_progress=silent)
    assert left(cache_directory) == [SHA256]


def test_two_at_once_both_get_it(source: Path, cache_directory: Path) -> None:
    found: list[bytes] = []

    def fetch() -> None:
        path = ImageCache(cache_directory).fetch(Artifact(str(source), SHA256), on_progress=silent)
        found.append(path.read_bytes())

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert left(cache_directory) == [SHA256]


@dataclass
class Server:
    """An https server on the loopback address whose faults are scripted, one for each request."""

    context: ssl.SSLContext
    port: int = 0
    faults: list[Callable[[http.server.BaseHTTPRequestHandler], bool]] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    ignore_ranges: bool = False

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/base.img"


def handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.ranges.append(wanted)
            if server.faults and server.faults.pop(0)(self):
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not server.ignore_ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def break_off(at: int) -> Callable[[http.server.BaseHTTPRequestHandler], bool]:
    def fault(request: http.server.BaseHTTPRequestHandler) -> bool:
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:at])
        request.close_connection = True
        return True

    return fault


def answer(code: int, location: str = "") -> Callable[[http.server.BaseHTTPRequestHandler], bool]:
    def fault(request: http.server.BaseHTTPRequestHandler) -> bool:
        request.send_response(code)
        if location:
            request.send_header("Location", location)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return True

    return fault


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "BACKOFF", Backoff(attempts=3, base=0.0))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    description = Server(ssl.create_default_context(cafile=certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(description))
    listener.daemon_threads = True
    listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    listener.handle_error = lambda *_: None  # type: ignore[method-assign]
    description.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield description
    listener.shutdown()
    thread.join()
    listener.server_close()


def fetch(server: Server, directory: Path, sha256: str = SHA256) -> Path:
    cache = ImageCache(directory, context=server.context)
    return cache.fetch(Artifact(server.url, sha256), on_progress=silent)


def test_https(server: Server, cache_directory: Path) -> None:
    assert fetch(server, cache_directory).read_bytes() == CONTENT
    assert left(cache_directory) == [SHA256]


def test_a_broken_download_is_resumed_where_it_broke_off(server: Server, cache_directory: Path) -> None:
    server.faults = [break_off(300_000), lambda _: False]
    assert fetch(server, cache_directory).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_a_part_left_by_a_killed_process_is_resumed(server: Server, cache_directory: Path) -> None:
    cache_directory.mkdir(parents=True)
    (cache_directory / f"{SHA256}.part").write_bytes(CONTENT[:1000])
    assert fetch(server, cache_directory).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_starts_over(server: Server, cache_directory: Path) -> None:
    server.ignore_ranges = True
    cache_directory.mkdir(parents=True)
    (cache_directory / f"{SHA256}.part").write_bytes(b"x" * 2_000_000)
    assert fetch(server, cache_directory).read_bytes() == CONTENT


def test_a_part_of_another_version_is_thrown_away(server: Server, cache_directory: Path) -> None:
    cache_directory.mkdir(parents=True)
    (cache_directory / f"{SHA256}.part").write_bytes(b"x" * 1000)
    assert fetch(server, cache_directory).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, cache_directory: Path) -> None:
    cache_directory.mkdir(parents=True)
    (cache_directory / f"{SHA256}.part").write_bytes(b"x" * (len(CONTENT) + 1))
    assert fetch(server, cache_directory).read_bytes() == CONTENT


def test_wrong_hash_from_the_network(server: Server, cache_directory: Path) -> None:
    with pytest.raises(IntegrityError, match=server.url):
        fetch(server, cache_directory, OTHER)
    assert left(cache_directory) == []


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_what_may_be_gone_next_time_is_retried(server: Server, cache_directory: Path, code: int) -> None:
    server.faults = [answer(code), answer(code)]
    assert fetch(server, cache_directory).read_bytes() == CONTENT


def test_an_outage_ends_as_transient(server: Server, cache_directory: Path) -> None:
    server.faults = [answer(503)] * 5
    with pytest.raises(Transient, match="503") as caught:
        fetch(server, cache_directory)
    assert caught.value.attempts == 3


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_final_answer_is_not_retried(server: Server, cache_directory: Path, code: int) -> None:
    server.faults = [answer(code)] * 5
    with pytest.raises(ConfigurationError, match=str(code)):
        fetch(server, cache_directory)
    assert len(server.ranges) == 1


def test_a_redirect_away_from_https_is_refused(server: Server, cache_directory: Path) -> None:
    server.faults = [answer(302, "http://127.0.0.1:1/base.img")]
    with pytest.raises(ConfigurationError, match="not https"):
        fetch(server, cache_directory)


def test_a_redirect_within_https_is_followed(server: Server, cache_directory: Path) -> None:
    server.faults = [answer(302, server.url)]
    assert fetch(server, cache_directory).read_bytes() == CONTENT


def test_an_unknown_certificate(server: Server, cache_directory: Path) -> None:
    server.context = ssl.create_default_context()
    with pytest.raises(HostUnsuitable, match="not trusted") as caught:
        fetch(server, cache_directory)
    assert "SSL_CERT_FILE" in caught.value.hint


def test_a_certificate_authority_from_the_environment(
    server: Server, cache_directory: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    path = ImageCache(cache_directory).fetch(Artifact(server.url, SHA256), on_progress=silent)
    assert path.read_bytes() == CONTENT


def test_nobody_listens(cache_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF", Backoff(attempts=2, base=0.0))
    with pytest.raises(Transient, match="refused"):
        ImageCache(cache_directory).fetch(Artifact("https://127.0.0.1:9/x", SHA256), on_progress=silent)


def test_no_room_for_a_download(server: Server, cache_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 5, 1024))
    with pytest.raises(HostUnsuitable, match="not enough disk space"):
        fetch(server, cache_directory)
