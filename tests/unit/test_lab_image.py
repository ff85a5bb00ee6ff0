"""The lab's VM image: what decides its name, what its descriptor says, what an interrupted build leaves."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab import initrd, rootfs_build, vmimage
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILES = {"disk.qcow2": b"disk", "kernel": b"kernel", "initrd": b"initrd"}


def finished_image(directory: Path, name: str) -> Path:
    image = directory / "images" / name
    image.mkdir(parents=True)
    (image / "facts.json").write_text(
        json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()})
    )
    return image


class FakeBuild:
    """Stands for mmdebstrap, mke2fs and qemu-img; counts and can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.builds = 0
        self.failure: BaseException | None = None
        monkeypatch.setattr(rootfs_build, "build", self.build)
        monkeypatch.setattr(rootfs_build, "run_logged", self.run)
        monkeypatch.setattr(initrd, "build", lambda _root: FILES["initrd"])
        monkeypatch.setattr(vmimage, "discard_partial", lambda _images: None)

    def build(self, root: Path, *, log: Path) -> None:
        self.builds += 1
        log.write_text("working\n")
        (root / "boot").mkdir(parents=True)
        (root / "boot/vmlinuz-6.12").write_bytes(FILES["kernel"])
        if self.failure is not None:
            raise self.failure

    def run(self, argv: Sequence[str], *, log: Path) -> None:
        assert log.exists()
        target = argv[-1] if argv[0] == "qemu-img" else argv[-2]
        (log.parent / "result" / target.rpartition("/")[2]).write_bytes(FILES["disk.qcow2"])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeBuild:
    return FakeBuild(monkeypatch)


def test_an_image_is_built_once_for_the_same_inputs(fake: FakeBuild, tmp_path: Path) -> None:
    said: list[str] = []
    first = vmimage.ensure(tmp_path, say=said.append)
    assert vmimage.ensure(tmp_path, say=said.append) == first
    assert fake.builds == 1
    assert len(said) == 2


def test_other_inputs_make_another_image_beside_it(
    fake: FakeBuild,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vmimage.ensure(tmp_path, say=lambda _: None)
    monkeypatch.setattr(rootfs_build, "PACKAGES", (*rootfs_build.PACKAGES, "vim"))
    descriptor = vmimage.ensure(tmp_path, say=lambda _: None)
    assert fake.builds == 2
    assert json.loads(descriptor.read_text())["location"] == f"images/{vmimage.fingerprint()}/disk.qcow2"


@pytest.mark.parametrize("failure", [LabError("mmdebstrap failed"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_no_image_and_no_descriptor(
    fake: FakeBuild,
    tmp_path: Path,
    failure: BaseException,
) -> None:
    fake.failure = failure
    with pytest.raises(type(failure)):
        vmimage.ensure(tmp_path, say=lambda _: None)
    assert not (tmp_path / "image.json").exists()
    assert [path.name for path in (tmp_path / "images").iterdir() if not path.name.startswith(".partial-")] == []
    fake.failure = None
    assert vmimage.ensure(tmp_path, say=lambda _: None).is_file()


@pytest.mark.processes
def test_what_a_killed_build_left_is_removed_and_images_stay(tmp_path: Path) -> None:
    image = finished_image(tmp_path, "abc")
    (tmp_path / "images/.partial-1/root/etc").mkdir(parents=True)
    vmimage.discard_partial(tmp_path / "images")
    assert list((tmp_path / "images").iterdir()) == [image]


def test_the_descriptor_names_files_relative_to_itself_with_their_hashes(tmp_path: Path) -> None:
    descriptor = vmimage.write_descriptor(tmp_path, finished_image(tmp_path, "abc"))
    content = json.loads(descriptor.read_text())
    assert content == {
        "location": "images/abc/disk.qcow2",
        "sha256": hashlib.sha256(b"disk").hexdigest(),
        "kernel": {"location": "images/abc/kernel", "sha256": hashlib.sha256(b"kernel").hexdigest()},
        "initrd": {"location": "images/abc/initrd", "sha256": hashlib.sha256(b"initrd").hexdigest()},
        "cmdline": vmimage.CMDLINE,
        "user": "ubuntu",
    }
    assert f"root=LABEL={vmimage.LABEL} rw console=ttyS0" in content["cmdline"]


def test_an_unchanged_descriptor_is_not_written_again(tmp_path: Path) -> None:
    image = finished_image(tmp_path, "abc")
    before = vmimage.write_descriptor(tmp_path, image).stat()
    after = vmimage.write_descriptor(tmp_path, image).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_every_file_laid_over_the_image_is_part_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = tmp_path / "rootfs"
    overlay.mkdir()
    (overlay / "one").write_text("1")
    monkeypatch.setattr(rootfs_build, "HERE", tmp_path)
    monkeypatch.setattr(rootfs_build, "OVERLAY", overlay)
    monkeypatch.setattr(rootfs_build, "CUSTOMIZE", overlay / "one")
    names = {vmimage.fingerprint()}
    (overlay / "one").write_text("2")
    names.add(vmimage.fingerprint())
    (overlay / "one").rename(overlay / "two")
    monkeypatch.setattr(rootfs_build, "CUSTOMIZE", overlay / "two")
    names.add(vmimage.fingerprint())
    assert len(names) == 3
    assert vmimage.fingerprint() in names


def test_the_mirror_is_the_one_that_serves_the_hosts_own_release() -> None:
    targets = "http://a.example/updates|one-updates\nhttp://b.example/main|one\nhttp://c.example/main|one\n"
    assert rootfs_build.mirror_of(targets, "one") == "http://b.example/main"
    with pytest.raises(LabError, match="no package source for two"):
        rootfs_build.mirror_of(targets, "two")


def test_nothing_of_the_host_is_in_the_files_of_the_repository() -> None:
    """A mirror, a machine path or a key in here would be somebody's own."""
    for path in sorted(rootfs_build.HERE.rglob("*")):
        if path.is_file() and path.suffix in {".py", ".sh", ".yaml", ".cfg", ".toml"}:
            assert not re.search(r"https?://[a-z.]*debian", path.read_text()), path


@pytest.mark.processes
def test_a_failed_tool_is_shown_with_its_last_lines(tmp_path: Path) -> None:
    script = "for i in $(seq 100); do echo line $i; done; exit 3"
    with pytest.raises(LabError) as caught:
        rootfs_build.run_logged(["sh", "-c", script], log=tmp_path / "log")
    lines = str(caught.value).splitlines()
    assert lines[0] == "sh failed (3); its last lines:"
    assert lines[-1] == "  line 100"
    assert len(lines) == 1 + rootfs_build.TAIL_LINES


@pytest.mark.processes
def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no-such-tool is not installed"):
        rootfs_build.run_logged(["no-such-tool"], log=tmp_path / "log")


def test_only_root_may_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"):
        rootfs_build.build(tmp_path / "root", log=tmp_path / "log")


@pytest.mark.processes
def test_the_initrd_is_an_archive_as_the_kernel_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    module = root / "usr/lib/modules/6.12/kernel/drivers/block/virtio_blk.ko"
    busybox = root / "usr/bin/busybox"
    for path, content in ((module, b"module"), (busybox, b"busybox\n")):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    made = initrd.build(root)
    assert made == initrd.build(root)
    members = read_newc(gzip.decompress(made))
    assert members["virtio_blk.ko"] == (stat.S_IFREG | 0o644, b"module")
    assert members["bin/busybox"] == (stat.S_IFREG | 0o755, b"busybox\n")
    assert members["init"] == (stat.S_IFREG | 0o755, initrd.INIT.encode())
    assert members["dev/console"] == (stat.S_IFCHR | 0o600, b"")
    script = tmp_path / "init"
    script.write_text(initrd.INIT)
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_an_initrd_without_its_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="0 virtio_blk modules"):
        initrd.build(tmp_path)


def read_newc(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read an archive as the kernel does: every header and every content on a multiple of four."""
    members: dict[str, tuple[int, bytes]] = {}
    offset = 0
    while True:
        assert archive[offset : offset + 6] == b"070701"
        fields = [int(archive[offset + 6 + 8 * i : offset + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[offset + 110 : offset + 110 + name_size].rstrip(b"\0").decode()
        start = (offset + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return members
        members[name] = (mode, archive[start : start + size])
        offset = (start + size + 3) // 4 * 4
