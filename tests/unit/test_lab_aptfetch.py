"""Packages from the host's mirror: which are needed, that apt verifies them, and that the host's apt sees nothing."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab import aptfetch, aptindex, deb, rootfs_build, signing
from lab.errors import LabError
from lab.placing import place

PACKAGES = {
    "base-files": "",
    "apt": "base-files",
    "curl": "libshared",
    "libshared": "",
    "docker.io": "containerd, libshared, libonly",
    "containerd": "runc",
    "runc": "",
    "libonly": "",
    "unrelated": "",
}
"""An archive in miniature: name and dependencies."""


def package(name: str, depends: str) -> bytes:
    return deb.build(
        {
            "Package": name,
            "Version": "2:1.0",
            "Architecture": "amd64",
            **({"Essential": "yes"} if name == "base-files" else {}),
            **({"Depends": depends} if depends else {}),
            "Recommends": "unrelated",
            "Maintainer": "Lab <lab@localhost>",
            "Description": name,
        }
    )


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a signed archive that the host is told to install from; curl is what the VM image has."""
    monkeypatch.setattr(aptindex, "SUITE", rootfs_build.SUITE)
    monkeypatch.setattr(aptindex, "COMPONENT", "main")
    monkeypatch.setattr(aptindex, "PLACE", "main/binary-amd64")
    root = tmp_path / "archive"
    debs = {f"pool/{name}_1.0_amd64.deb": package(name, depends) for name, depends in PACKAGES.items()}
    listing = aptindex.listing(aptindex.packages(debs))
    suite = root / "dists" / rootfs_build.SUITE
    for name, content in debs.items():
        place(root / name, content)
    for name, content in listing.items():
        place(suite / name, content)
    signing.ensure(tmp_path / "archive.key", name="Archive <archive@localhost>")
    with signing.signer(tmp_path / "archive.key") as signer:
        place(suite / "InRelease", signer.clearsign(aptindex.release(listing, date=datetime.now(tz=UTC))))
        place(tmp_path / "archive.asc", signer.public)
    monkeypatch.setattr(aptfetch, "KEYRING", tmp_path / "archive.asc")
    monkeypatch.setattr(rootfs_build, "PACKAGES", ("curl",))
    monkeypatch.setattr(rootfs_build, "host_mirror", lambda: f"file:{root}")
    return root


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    directory = tmp_path / "downloads"
    directory.mkdir()
    return directory


@pytest.mark.processes
def test_what_is_wanted_comes_with_its_dependencies_but_for_those_of_the_image(archive: Path, downloads: Path) -> None:
    fetched = aptfetch.fetch(["docker.io"], downloads)
    assert [path.name for path in fetched] == [
        f"{name}_2%3a1.0_amd64.deb" for name in ("containerd", "docker.io", "libonly", "runc")
    ]
    assert sorted(downloads.iterdir()) == fetched
    assert fetched[0].read_bytes() == package("containerd", "runc")


@pytest.mark.processes
def test_a_package_that_is_not_what_the_list_says_is_an_error(archive: Path, downloads: Path) -> None:
    spoiled = archive / "pool/runc_1.0_amd64.deb"
    spoiled.write_bytes(spoiled.read_bytes()[:-1] + b"!")
    with pytest.raises(LabError, match=r"apt-get download .* failed:\n(?s:.*)runc_1.0_amd64.deb +Hash Sum mismatch"):
        aptfetch.fetch(["docker.io"], downloads)


@pytest.mark.processes
def test_an_archive_that_another_key_signed_is_an_error(archive: Path, downloads: Path, tmp_path: Path) -> None:
    signing.ensure(tmp_path / "other.key", name="Other <other@localhost>")
    with signing.signer(tmp_path / "other.key") as signer:
        place(tmp_path / "archive.asc", signer.public)
    with pytest.raises(LabError, match=r"apt-get update failed:\n(?s:.*)not signed"):
        aptfetch.fetch(["docker.io"], downloads)
    assert not list(downloads.iterdir())


@pytest.mark.processes
def test_a_package_that_is_not_there_is_an_error_that_names_it(archive: Path, downloads: Path) -> None:
    with pytest.raises(LabError, match="Unable to locate package no-such-thing"):
        aptfetch.fetch(["no-such-thing"], downloads)


@pytest.mark.processes
def test_the_hosts_own_lists_and_packages_play_no_part(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "apt").mkdir()
    apt = aptfetch.PrivateApt(tmp_path / "apt", mirror=f"file:{archive}")
    assert apt.closure(["docker.io"]) == {"docker.io", "containerd", "libshared", "libonly", "runc"}
    said = apt._run("indextargets", "--format", "$(REPO_URI)", cwd=tmp_path)
    assert {line.rstrip("/") for line in said.splitlines()} == {f"file:{archive}"}


def test_a_host_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(LabError, match="apt-get is not installed"):
        aptfetch.PrivateApt(tmp_path, mirror="file:/nowhere")
