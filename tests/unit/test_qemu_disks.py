"""What may be a base image, and the overlay on it."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from polis import process
from polis.drivers.qemu import disks, host
from polis.errors import ConfigurationError, HostUnsuitable

GIBIBYTE = 1024**3

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


def header(*, backing: int = 0, version: int = 3, features: int = 0) -> bytes:
    return (struct.pack(">4sIQ", b"QFI\xfb", version, backing) + bytes(56) + struct.pack(">Q", features)).ljust(
        512, b"\0"
    )


@pytest.mark.parametrize(
    "content", [header(backing=104), header(backing=104, version=2), header(features=4), header(features=7)]
)
def test_references_are_refused_before_any_tool_opens_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "evil.qcow2"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="refers to another file"):
        disks.examine(path)  # a started process would fail this test


@pytest.mark.parametrize("content", [header(), header(version=2), b"", b"QFI\xfb", b"raw" * 100])
def test_self_contained_headers_pass(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    disks._refuse_references(path)


def answering(
    monkeypatch: pytest.MonkeyPatch, code: int, answer: dict[str, object], stderr: str = ""
) -> list[list[str]]:
    calls: list[list[str]] = []

    def run(argv: list[str], **_: object) -> process.Completed:
        calls.append(list(argv))
        return process.Completed(tuple(argv), code, json.dumps(answer), stderr, 0.1)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(host, "require", lambda name: name)
    return calls


def test_format_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image"
    path.write_bytes(header())
    calls = answering(monkeypatch, 0, {"format": "qcow2", "virtual-size": 7})
    assert disks.examine(path) == disks.BaseDisk("qcow2", 7)
    assert calls == [["qemu-img", "info", "--output", "json", "--force-share", str(path)]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"format": "vmdk", "virtual-size": 7}, "vmdk is not accepted"),
        ({"format": "qcow2", "virtual-size": 7, "backing-filename": "/etc/shadow"}, "another file"),
    ],
)
def test_what_qemu_img_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], words: str
) -> None:
    path = tmp_path / "image"
    path.touch()
    answering(monkeypatch, 0, answer)
    with pytest.raises(ConfigurationError, match=words):
        disks.examine(path)


def test_too_small() -> None:
    base = disks.BaseDisk("qcow2", 4 * GIBIBYTE)
    disks.require_size(base, 4 * GIBIBYTE)
    with pytest.raises(ConfigurationError, match=r"1,024 MiB is too small.*4,096 MiB"):
        disks.require_size(base, GIBIBYTE)


def test_no_room_for_the_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 1, {}, "qemu-img: No space left on device")
    with pytest.raises(HostUnsuitable, match="No space left"):
        disks.create_overlay(Path("/d/disk.qcow2"), base="base.img", base_format="raw", size=1)


@needs_qemu_img
@pytest.mark.processes
def test_a_real_overlay(tmp_path: Path) -> None:
    with (tmp_path / "base.img").open("wb") as file:
        file.truncate(1024**2)
    base = disks.examine(tmp_path / "base.img")
    assert base == disks.BaseDisk("raw", 1024**2)
    overlay = tmp_path / "disk.qcow2"
    disks.create_overlay(overlay, base="base.img", base_format=base.format, size=8 * 1024**2)
    disks.grow(overlay, 9 * 1024**2)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("base.img", "disk.qcow2"):
        (tmp_path / name).rename(moved / name)
    done = process.run(["qemu-img", "info", "--output", "json", str(moved / "disk.qcow2")], timeout=30)
    answer = json.loads(done.stdout)
    assert (answer["virtual-size"], answer["backing-filename"]) == (9 * 1024**2, "base.img")
    with pytest.raises(ConfigurationError, match="refers to another file"):
        disks.examine(moved / "disk.qcow2")
