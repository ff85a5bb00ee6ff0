"""Offline files: what is written is what is read, and what was changed on the way is not believed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polis.errors import ConfigurationError, HostUnsuitable, IntegrityError, PolisError
from polis.offline import manifest as manifests
from polis.offline import reading
from polis.offline.manifest import Manifest, Package, SavedImage
from polis.offline.writing import Writer

IMAGE = "a" * 64
DEB = "packages/docker-ce_5.27_amd64.deb"
CONTENT = {
    "bundle.tar": b"the bundle",
    "sysbox.deb": b"the Sysbox package",
    DEB: b"Docker" * 1000,
    f"images/{IMAGE}.tar": os.urandom(200_000),
    "images.lock": b"{}",
}


def manifest(writer: Writer) -> Manifest:
    return Manifest(
        created="2026-01-01T00:00:00+00:00",
        polis="0.5.0",
        version="v0.5.0",
        base="b" * 64,
        architecture="amd64",
        installed={"docker": "27"},
        packages=(Package(member=DEB, control="Package: docker-ce\nVersion: 5:27\n"),),
        images=(SavedImage(reference="r/a:v1", digest="", id=f"sha256:{IMAGE}", member=f"images/{IMAGE}.tar"),),
        members=writer.members,
    )


def write(path: Path, content: dict[str, bytes] | None = None) -> str:
    with Writer(path) as writer:
        for name, data in (content or CONTENT).items():
            writer.add(name, data)
        return writer.finish(manifest(writer))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "offline.tar"
    write(path)
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def pack(path: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def use(path: Path, *, sha256: str | None = None) -> reading.OfflineFile:
    found = reading.open_file(path)
    found.verify(sha256=sha256)
    return found


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "offline.tar"
    sha256 = write(path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(tmp_path.iterdir()) == [path]
    found = use(path, sha256=sha256)
    assert {name: found.read(name) for name in found.manifest.members} == CONTENT
    found.extract(DEB, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT[DEB]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(members(path))[-1] == "manifest.json"


def test_how_far_the_reading_is_is_told_up_to_its_end(file: Path) -> None:
    told: list[tuple[int, int]] = []
    reading.open_file(file).verify(on_bytes=lambda done, size: told.append((done, size)))
    assert told == sorted(told)
    assert sum(len(data) for data in CONTENT.values()) == told[-1][0]


class _Broken(Exception):
    pass


def test_what_is_not_finished_leaves_nothing_and_what_was_there_before(file: Path, tmp_path: Path) -> None:
    def fail() -> None:
        with Writer(file) as writer:
            writer.add("bundle.tar", b"another")
            raise _Broken

    before = file.read_bytes()
    with pytest.raises(_Broken):
        fail()
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_named_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(HostUnsuitable, match=r"offline.tar cannot be written") as caught, Writer(file):
        raise OSError(28, "No space left on device")
    assert "No space left" in caught.value.cause
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostUnsuitable, match="cannot be written"), Writer(tmp_path / "missing" / "file"):
        pass


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_one_changed_byte_anywhere_is_found_before_anything_is_used(file: Path, name: str) -> None:
    data = bytearray(file.read_bytes())
    data[reading.open_file(file).offsets[name] + 1] ^= 1
    file.write_bytes(data)
    with pytest.raises(IntegrityError, match=name) as caught:
        use(file)
    assert caught.value.exit_code == 77
    assert caught.value.remains == "nothing was changed"


def test_what_changed_after_the_check_is_found_again(file: Path, tmp_path: Path) -> None:
    found = use(file)
    data = bytearray(file.read_bytes())
    data[found.offsets[DEB]] ^= 1
    file.write_bytes(data)
    with pytest.raises(IntegrityError):
        found.extract(DEB, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with pytest.raises(IntegrityError):
        found.read(DEB)


def test_another_file_than_the_one_whose_hash_is_known(file: Path) -> None:
    with pytest.raises(IntegrityError, match=r"offline.tar"):
        use(file, sha256="0" * 64)


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda content: {key: data for key, data in content.items() if key != name}


def adding(name: str, data: bytes = b"x") -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda content: {name: data, **content}


def stating(**values: Any) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def change(content: dict[str, bytes]) -> dict[str, bytes]:
        document = {**json.loads(content["manifest.json"]), **values}
        return {**content, "manifest.json": json.dumps(document).encode()}

    return change


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (without("sysbox.deb"), IntegrityError, "sysbox.deb"),
        (adding("packages/more.deb"), IntegrityError, "packages/more.deb"),
        (without("manifest.json"), ConfigurationError, "it has no manifest.json"),
        (adding("../escape"), ConfigurationError, "'../escape' has no business in it"),
        (adding("/etc/passwd"), ConfigurationError, "has no business in it"),
        (adding("packages/../x.deb"), ConfigurationError, "has no business in it"),
        (adding("packages/$(id).deb"), ConfigurationError, "has no business in it"),
        (stating(schema=2), ConfigurationError, "schema"),
        (stating(more=1), ConfigurationError, "more"),
        (stating(images=[{"reference": "a"}]), ConfigurationError, "images.0"),
        (stating(packages=[{"member": "packages/none.deb", "control": "Package: x"}]), ConfigurationError, "it lacks"),
    ],
)
def test_a_file_that_is_not_what_it_says(
    file: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], error: type[PolisError], words: str
) -> None:
    pack(file, change(members(file)))
    with pytest.raises(error) as caught:
        use(file)
    assert words in f"{caught.value.message}{caught.value.cause}"
    assert caught.value.exit_code == (77 if error is IntegrityError else 78)


@pytest.mark.parametrize("data", [b"", b"no tar", b"\0" * 10240, b"\x1f\x8b" + b"x" * 1000])
def test_what_is_no_offline_file_at_all(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match="is no offline file") as caught:
        reading.open_file(path)
    assert "polis bundle export" in caught.value.hint


def test_what_is_missing_or_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigurationError, match="is no offline file"):
            reading.open_file(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off(file: Path, share: float) -> None:
    data = file.read_bytes()
    end = len(data) - 10240  # the manifest and what tar puts after it
    file.write_bytes(data[: int(end * share)])
    with pytest.raises(ConfigurationError):
        reading.open_file(file)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_have_no_place_in_it(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "file"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("bundle.tar")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(ConfigurationError, match="is no offline file"):
        reading.open_file(path)


def test_a_manifest_without_end_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_MANIFEST", 10)
    with pytest.raises(ConfigurationError) as caught:
        reading.open_file(file)
    assert "larger than 10 bytes" in caught.value.cause
    monkeypatch.setattr(reading, "MAX_MEMBERS", 2)
    with pytest.raises(ConfigurationError) as caught:
        reading.open_file(file)
    assert "more than 2 members" in caught.value.cause


def test_names_are_those_that_an_export_makes() -> None:
    good = ["bundle.tar", DEB, "packages/libc6_2.39-0ubuntu8.4_amd64.deb", f"images/{IMAGE}.tar"]
    assert all(manifests.MEMBER.fullmatch(name) for name in good)
    bad = ["packages/.deb", "packages/a/b.deb", "images/x.tar", "manifest.json", "packages/a b.deb", DEB + "\n"]
    assert not any(manifests.MEMBER.fullmatch(name) for name in bad)
