"""What may be a base image, and the overlay that takes what the guest writes."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis import process
from polis.drivers.qemu import host, space
from polis.errors import ConfigurationError, HostUnsuitable

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 120.0
"""Seconds for qemu-img, which only writes metadata here."""

# The first 80 bytes of a qcow2 file (QEMU's docs/interop/qcow2.txt): magic, version, offset of the backing file's
# name at 8, ..., incompatible features at 72 (from version 3 on); bit 2 there means "the data is in another file".
_QCOW2_MAGIC = b"QFI\xfb"
_EXTERNAL_DATA = 1 << 2
_VERSION_WITH_FEATURES = 3


@dataclass(frozen=True)
class BaseDisk:
    """A verified base image: its format (`qcow2` or `raw`) and the size that the guest sees, in bytes."""

    format: str
    virtual_size: int


def examine(path: Path) -> BaseDisk:
    """Return format and size of a base image.

    Raises ConfigurationError for an image that is not self-contained (it could show the guest any file of the
    host) or of a format that is not known to be. Its header is read here, before any QEMU program opens it.
    """
    _refuse_references(path)
    done = process.run(
        [host.require("qemu-img"), "info", "--output", "json", "--force-share", str(path)], timeout=TIMEOUT
    )
    if not done.ok:
        raise ConfigurationError(f"{path} is not a disk image", cause=done.last_words())
    answer = json.loads(done.stdout)
    if answer["format"] not in ("qcow2", "raw"):
        raise ConfigurationError(
            f"a base image of the format {answer['format']} is not accepted",
            hint="convert it: qemu-img convert -O qcow2 OLD NEW",
        )
    if answer.get("backing-filename") or answer.get("full-backing-filename"):
        raise _not_self_contained(path)
    return BaseDisk(answer["format"], int(answer["virtual-size"]))


def require_size(base: BaseDisk, size: int) -> None:
    """Raise ConfigurationError if the wanted disk is smaller than the base image."""
    if size < base.virtual_size:
        raise ConfigurationError(
            f"a disk of {space.mebibytes(size)} is too small",
            cause=f"the base image needs at least {space.mebibytes(base.virtual_size)}",
            hint="choose a larger `disk`",
        )


def create_overlay(overlay: Path, *, base: str, base_format: str, size: int) -> None:
    """Create the instance's disk on top of `base`, a path relative to the overlay's directory."""
    argv = [host.require("qemu-img"), "create", "-q", "-f", "qcow2", "-F", base_format, "-b", base]
    _run([*argv, str(overlay), str(size)], overlay)


def grow(overlay: Path, size: int) -> None:
    """Enlarge the disk of an instance that is off; cloud-init grows the file system at the next boot."""
    _run([host.require("qemu-img"), "resize", "-q", "-f", "qcow2", str(overlay), str(size)], overlay)


def _run(argv: list[str], overlay: Path) -> None:
    done = process.run(argv, timeout=TIMEOUT)
    if not done.ok:
        raise HostUnsuitable(f"the disk {overlay} cannot be written", cause=done.last_words())


def _refuse_references(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(80)
    if header[:4] != _QCOW2_MAGIC or len(header) < struct.calcsize(">4sIQ"):
        return
    _, version, backing = struct.unpack_from(">4sIQ", header)
    features = struct.unpack_from(">Q", header, 72)[0] if len(header) == 80 else 0  # noqa: PLR2004
    if backing or (version >= _VERSION_WITH_FEATURES and features & _EXTERNAL_DATA):
        raise _not_self_contained(path)


def _not_self_contained(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"the base image {path} refers to another file",
        cause="an image with a backing file or external data could show the guest any file of this machine",
        hint="flatten it: qemu-img convert -O qcow2 OLD NEW",
    )
