"""What a user can get wrong: a clear error, the right exit code, nothing changed. No VM gets as far as booting."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.world import World
from tests.e2e.conftest import ROOT, Result, User, qemus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def newcomer(world: World, tmp_path: Path) -> Iterator[User]:
    """A user without a workspace."""
    someone = User(tmp_path / "home", ROOT / "lab" / "polis.yaml", {"POLIS_IMAGES_LOCK": str(world.images_lock)})
    yield someone
    for process in qemus(someone.home):
        process.kill()


def refused(user: User, code: int, *words: str, **environment: str) -> Result:
    """Run `up`, which must end with this code, these words, and no VM."""
    result = user.type("up", **environment)
    assert result.code == code, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert "next: " in result.stderr
    assert "Traceback" not in result.stderr
    assert qemus(user.home) == []
    left = [path.name for path in (user.home / "data").rglob("*") if path.is_file()]
    assert left == []
    return result


def test_unknown_keys_and_impossible_sizes_are_named_with_their_place(newcomer: User, tmp_path: Path) -> None:
    newcomer.config = tmp_path / "polis.yaml"
    newcomer.config.write_text("cpus: 2\nmemroy: 3G\ndisk: 1M\n")
    refused(newcomer, 78, f"{newcomer.config}:2:1", "did you mean `memory`?", f"{newcomer.config}:3:1")
    assert not newcomer.home.exists()


@pytest.mark.parametrize("name", ["-x", "a_b", "a.b", "../x", "", "9lives", "x" * 64])
def test_invalid_names(newcomer: User, name: str) -> None:
    result = newcomer.type(f"--name={name}", "up")
    assert result.code == 78
    assert not newcomer.home.exists()


def image(tmp_path: Path, **changes: object) -> str:
    """Write a copy of the lab's image descriptor with some values changed."""
    original = ROOT / ".lab" / "image.json"
    values = json.loads(original.read_text())
    for part in (values, values["kernel"], values["initrd"]):
        part["location"] = str(original.parent / part["location"])
    target = tmp_path / "image.json"
    target.write_text(json.dumps({**values, **changes}))
    return str(target)


@pytest.mark.usefixtures("world")
def test_an_image_with_a_wrong_hash(newcomer: User, tmp_path: Path) -> None:
    wrong = "0" * 64
    refused(newcomer, 77, wrong, "sha256", POLIS_IMAGE=image(tmp_path, sha256=wrong))


@pytest.mark.usefixtures("world")
def test_an_image_that_does_not_boot_ends_with_the_console_s_last_lines(newcomer: User, tmp_path: Path) -> None:
    disk = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1G"], check=True)
    described = image(tmp_path, location=str(disk), sha256=hashlib.sha256(disk.read_bytes()).hexdigest())
    result = newcomer.type("up", POLIS_IMAGE=described, POLIS_TIMEOUT="45")
    assert result.code == 70
    assert "phase launched" in result.stderr
    assert "  | " in result.stderr
    assert "root" in result.stderr  # the kernel and the initrd say that they find no root file system
    assert "still there: " in result.stderr
    status = newcomer.type("status", "--json", POLIS_IMAGE=described).document
    assert status["phase"] == "absent"
    assert status["last_error"]["kind"] == "launch-failed"
    newcomer.succeed("delete", "-y", POLIS_IMAGE=described)
    assert qemus(newcomer.home) == []


def test_no_qemu(newcomer: User, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("ssh", "ssh-keygen", "sh"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    refused(newcomer, 69, "qemu", "install", PATH=str(tools))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of a few megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "polis-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("world")
def test_no_disk_space(newcomer: User, small_disk: Path) -> None:
    newcomer.home = small_disk / "home"
    refused(newcomer, 69, "space")


@pytest.mark.usefixtures("world")
def test_a_port_in_use(newcomer: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(newcomer, 69, str(port), POLIS_PORTS=f"['{port}:80']")


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("hostile", "word"),
    [
        (lambda: entry("/etc/passwd"), "absolute"),
        (lambda: entry("../outside"), ".."),
        (lambda: entry("a/../../outside"), ".."),
        (lambda: entry("link", tarfile.SYMTYPE, "/etc"), "link"),
        (lambda: entry("link", tarfile.SYMTYPE, "../.."), "link"),
        (lambda: entry("link", tarfile.LNKTYPE, "/etc/passwd"), "absolute"),
        (lambda: entry("device", tarfile.CHRTYPE), "device"),
        (lambda: entry(".env"), ".env"),
    ],
)
def test_a_bundle_that_leaves_its_directory(
    newcomer: User, tmp_path: Path, hostile: Callable[[], tarfile.TarInfo], word: str
) -> None:
    bundle = tmp_path / "bundle.tar"
    with tarfile.open(bundle, "w") as tar:
        compose = tarfile.TarInfo("docker-compose.yml")
        compose.size = len(b"services: {}\n")
        tar.addfile(compose, io.BytesIO(b"services: {}\n"))
        tar.addfile(hostile())
    refused(newcomer, 78, word, POLIS_BUNDLE=str(bundle))


def test_a_cloud_init_document_that_is_none(newcomer: User, tmp_path: Path) -> None:
    document = tmp_path / "mine.yaml"
    document.write_text("#cloud-config\nusers:\n  name: me\n")
    refused(newcomer, 78, f"{document}:2:1", "list", POLIS_CLOUD_INIT=str(document))
