"""The packages that the lab serves: what there is, who signed it, when it is built, and what apt makes of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import aptfetch, deb, dockerpackages, mirror, rootfs_build, signing, sysbox
from lab.errors import LabError

ENGINE = "5:27.5.1-1~ubuntu.24.04~noble"
SUITE = "dists/noble"


def stand_in(name: str, depends: str = "") -> bytes:
    """Return a package of the distribution's, without the content."""
    control = {"Package": name, "Version": "1.0", "Architecture": "amd64", "Maintainer": "Lab <lab@localhost>"}
    return deb.build({**control, **({"Depends": depends} if depends else {}), "Description": name})


def plant_debs(into: Path) -> None:
    """Stand for `repack`, which downloads."""
    for name in dockerpackages.DEBIAN:
        depends = {"docker.io": "containerd, libthing", "containerd": "runc"}.get(name, "")
        (into / f"{name}_1.0_amd64.deb").write_bytes(stand_in(name, depends))
    (into / "libthing_1.0_amd64.deb").write_bytes(stand_in("libthing"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Return a tree and the public keys of its parts."""
    directory = tmp_path_factory.mktemp("mirror")
    debs = directory / "debs"
    debs.mkdir()
    plant_debs(debs)
    secrets = {name: directory / f"{name}.key" for name in mirror.KEYS}
    for name, secret in secrets.items():
        signing.ensure(secret, name=mirror.KEYS[name])
    return directory / "tree", mirror.plant(directory / "tree", debs, secrets)


class Apt:
    """apt in a guest whose only package source is the lab's, with one key and a directory of its own."""

    def __init__(self, directory: Path, repository: Path, key: bytes) -> None:
        for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (directory / name).mkdir(parents=True)
        (directory / "key.asc").write_bytes(key)
        source = f"deb [arch=amd64 signed-by={directory}/key.asc] file:{repository} noble stable\n"
        (directory / "etc/sources.list").write_text(source)
        self.preferences = directory / "etc/preferences.d/pin"
        self._cache = directory / "cache/archives"
        settings = {
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "Dir::Cache": directory / "cache",
            "Dir::Etc": directory / "etc",
            "Dir::State": directory / "state",
            "Dir::State::status": os.devnull,
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["apt-get", "-q", *self._options, *words]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            argv,
            env=environment,
            cwd=self._cache,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def would_install(self, *words: str) -> dict[str, str]:
        """Return the packages that would come, with their versions."""
        done = self.run("--simulate", "install", *words)
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^Inst (\S+) \((\S+) ", done.stdout, re.MULTILINE))


@pytest.fixture
def apt(planted: tuple[Path, dict[str, bytes]], tmp_path: Path) -> Apt:
    tree, keys = planted
    guest = Apt(tmp_path / "guest", tree / "docker/ubuntu", keys["docker"])
    updated = guest.run("update", "-o", "APT::Update::Error-Mode=any")
    assert updated.returncode == 0, updated.stderr
    return guest


@pytest.mark.processes
def test_apt_takes_the_pinned_engine_though_a_newer_one_is_there(apt: Apt) -> None:
    apt.preferences.write_text("Package: containerd.io\nPin: version 1.7.*\nPin-Priority: 1001\n")
    pinned = apt.would_install(
        f"docker-ce={ENGINE}",
        f"docker-ce-cli={ENGINE}",
        "containerd.io",
        "docker-compose-plugin",
        "docker-buildx-plugin",
    )
    assert (pinned["docker-ce"], pinned["docker-ce-cli"]) == (ENGINE, ENGINE)
    assert pinned["containerd.io"].startswith("1.7.")
    assert pinned.keys() >= {*dockerpackages.DEBIAN, "libthing", "docker-compose-plugin", "docker-buildx-plugin"}


@pytest.mark.processes
def test_without_pins_apt_would_take_the_newer_ones(apt: Apt) -> None:
    newest = apt.would_install("docker-ce", "docker-ce-cli", "containerd.io")
    assert newest["docker-ce"] == newest["docker-ce-cli"] == "5:28.3.0-1~ubuntu.24.04~noble"
    assert newest["containerd.io"].startswith("2.")


@pytest.mark.processes
def test_apt_downloads_what_is_listed(apt: Apt, planted: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    done = apt.run("download", f"docker-ce={ENGINE}", "docker.io")
    assert done.returncode == 0, done.stderr
    fetched = {path.name.partition("_")[0]: path for path in (tmp_path / "guest/cache/archives").glob("*.deb")}
    assert fetched.keys() == {"docker-ce", "docker.io"}
    assert f"Version: {ENGINE}\n" in deb.control_of(fetched["docker-ce"].read_bytes())


@pytest.mark.processes
def test_apt_refuses_what_another_key_signed(planted: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    tree, keys = planted
    for part in ("docker", "docker-foreign"):
        other = next(key for name, key in keys.items() if name != part)
        done = Apt(tmp_path / part, tree / part / "ubuntu", other).run("update")
        assert done.returncode != 0
        assert "is not signed" in done.stderr


def test_the_foreign_repository_differs_in_nothing_but_its_signatures(planted: tuple[Path, dict[str, bytes]]) -> None:
    tree, _ = planted
    own, foreign = (
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tree / "docker/ubuntu", tree / "docker-foreign/ubuntu")
    )
    assert own.keys() == foreign.keys()
    assert {name for name in own if own[name] != foreign[name]} == {f"{SUITE}/InRelease", f"{SUITE}/Release.gpg"}


def test_sysbox_is_served_with_the_sum_that_is_stated(planted: tuple[Path, dict[str, bytes]]) -> None:
    tree, _ = planted
    assert hashlib.sha256((tree / "sysbox" / sysbox.NAME).read_bytes()).hexdigest() == sysbox.SHA256


def test_no_file_name_needs_an_escape_in_an_address(planted: tuple[Path, dict[str, bytes]]) -> None:
    tree, _ = planted
    names = {path.name for path in tree.rglob("*.deb")}
    assert {f"docker-ce_{ENGINE.partition(':')[2]}_amd64.deb", "containerd.io_1.7.27-1_amd64.deb"} <= names
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9.+~_-]+", name)] == []


def test_every_engine_version_has_its_packages() -> None:
    versions: dict[str, list[str]] = {}
    for name, version, _depends in dockerpackages.NAMES:
        versions.setdefault(name, []).append(version)
    assert versions["docker-ce"] == versions["docker-ce-cli"] == [ENGINE, "5:28.3.0-1~ubuntu.24.04~noble"]
    assert [version.partition(".")[0] for version in versions["containerd.io"]] == ["1", "2"]
    assert [version.partition("-")[0] for version in versions["docker-compose-plugin"]] == ["2.32.4"]
    assert len(dockerpackages.build()) == len(dockerpackages.NAMES)


@pytest.mark.parametrize(
    ("path", "dropped"),
    [
        ("/usr/bin/ctr", True),
        ("/usr/share/doc/docker.io/copyright", True),
        ("/usr/share/man/man1/docker.1.gz", True),
        ("/usr/bin/dockerd", False),
        ("/usr/bin/containerd", False),
        ("/usr/bin/containerd-shim-runc-v2", False),
        ("/usr/sbin/runc", False),
        ("/usr/share/docker.io/contrib/x", False),
        ("/lib/systemd/system/docker.service", False),
    ],
)
def test_nothing_that_docker_starts_is_left_out(path: str, dropped: bool) -> None:
    assert dockerpackages.is_dropped(path) is dropped


@pytest.mark.processes
def test_the_distributions_packages_lose_their_rivalry_and_their_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(wanted: object, into: Path) -> list[Path]:
        assert wanted == dockerpackages.DEBIAN
        control = {
            "Package": "docker.io",
            "Version": "2:1.0",
            "Conflicts": "docker-ce",
            "Breaks": "x",
            "Depends": "runc",
        }
        files = [deb.Entry("/usr/bin/ctr"), deb.Entry("/usr/bin/dockerd")]
        path = into / "docker.io_2%3a1.0_amd64.deb"
        path.write_bytes(deb.build(control, files=files))
        return [path]

    monkeypatch.setattr(aptfetch, "fetch", fetch)
    mirror.repack(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == "docker.io_2.1.0_amd64.deb"
    assert deb.control_of(path.read_bytes()) == "Package: docker.io\nVersion: 2:1.0\nDepends: runc\n"
    listing = subprocess.check_output(["dpkg-deb", "--contents", str(path)], text=True)
    assert "/usr/bin/dockerd" in listing
    assert "/usr/bin/ctr" not in listing


class Building:
    """`ensure` with packages that cost nothing; `repacked` counts how often they were made."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.repacked = 0
        self.failure: BaseException | None = None
        self.said: list[str] = []
        monkeypatch.setattr(mirror, "repack", self._repack)
        monkeypatch.setattr(os, "sync", lambda: None)

    def ensure(self) -> Path:
        return mirror.ensure(self.directory, say=self.said.append)

    def _repack(self, into: Path) -> None:
        self.repacked += 1
        plant_debs(into)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Building:
    return Building(tmp_path / "lab", monkeypatch)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.processes
def test_the_tree_is_built_once(building: Building) -> None:
    tree = building.ensure()
    before = snapshot(building.directory)
    assert building.ensure() == tree
    assert snapshot(building.directory) == before
    assert building.repacked == 1
    assert len(building.said) == 2
    assert mirror.docker_key(building.directory).read_bytes().startswith(b"-----BEGIN PGP PUBLIC KEY")
    private = {path for path in building.directory.rglob("*") if path.is_file() and path.stat().st_mode & 0o077 == 0}
    assert {path.name for path in private} == {"docker.key", "docker-foreign.key"}


@pytest.mark.processes
@pytest.mark.parametrize("failure", [LabError("no mirror"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing_half_done(building: Building, failure: BaseException) -> None:
    building.failure = failure
    with pytest.raises(type(failure)):
        building.ensure()
    assert list((building.directory / "packages").iterdir()) == []
    building.failure = None
    assert building.ensure().is_dir()


@pytest.mark.processes
def test_what_a_killed_build_left_is_cleared_away(building: Building) -> None:
    left = building.directory / "packages/.partial-x"
    left.mkdir(parents=True)
    (left / "file").touch()
    tree = building.ensure()
    assert {path.name.partition("-")[0] for path in tree.parent.iterdir()} == {"debs", "tree"}


def lose_public(directory: Path) -> None:
    mirror.docker_key(directory).unlink()


def lose_secret(directory: Path) -> None:
    (directory / "keys/docker.key").unlink()


@pytest.mark.processes
@pytest.mark.parametrize("loss", [lose_public, lose_secret])
def test_a_lost_key_costs_new_signatures_but_no_download(
    building: Building, loss: Callable[[Path], None], tmp_path: Path
) -> None:
    building.ensure()
    loss(building.directory)
    tree = building.ensure()
    assert building.repacked == 1
    key = mirror.docker_key(building.directory).read_bytes()
    assert Apt(tmp_path / "guest", tree / "docker/ubuntu", key).run("update").returncode == 0


def test_the_caches_name_changes_with_its_sources_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*mirror.DEBS_SOURCES, *mirror.TREE_SOURCES}:
        shutil.copy(mirror.HERE / name, tmp_path)
    secret = tmp_path / "key"
    secret.write_text("one")

    def names() -> tuple[str, str]:
        debs = mirror.debs_fingerprint()
        return debs, mirror.tree_fingerprint(tmp_path / f"debs-{debs}", {"docker": secret})

    first = names()
    monkeypatch.setattr(mirror, "HERE", tmp_path)
    assert names() == first
    (tmp_path / "aptindex.py").write_text("two")
    second = names()
    assert second[0] == first[0]
    assert second[1] != first[1]
    secret.write_text("two")
    third = names()
    assert third[0] == first[0]
    (tmp_path / "dockerpackages.py").write_text("two")
    fourth = names()
    assert fourth[0] != first[0]
    assert len({first[1], second[1], third[1], fourth[1]}) == 4


def test_the_vm_image_has_no_docker_of_its_own() -> None:
    """An image that had it would prove nothing about provisioning."""
    assert not {*dockerpackages.DEBIAN} & {*rootfs_build.PACKAGES}
