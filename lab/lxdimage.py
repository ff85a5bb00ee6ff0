"""A container image from the distribution's packages, cached by the hash of what goes into it.

`.lab/containers/<hash>/` holds metadata.tar.xz and rootfs.squashfs, the two halves of an image as LXD imports it. It is
bookworm, not the trixie of the VM image: trixie's systemd starts on cgroup v2 only, and a container has its host's.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import rootfs_build
from lab.vmimage import PARTIAL, discard_partial

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = 1
"""Part of the cache key: raise it when this module's own steps change what comes out."""

SUITE = "bookworm"
PACKAGES = (
    "apparmor",
    "auditd",
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    "iproute2",
    "iptables",
    "jq",
    "kmod",
    "libnss-myhostname",  # or sudo asks a name server for the machine's own name
    "netcat-openbsd",
    "openssh-server",
    "procps",
    "python3",
    # The mirror's Docker is trixie's and runs here, but for these two: theirs want a newer C library. apt leaves alone
    # what is installed and new enough.
    "runc",
    "sudo",
    "systemd-sysv",
    "tini",
    "udev",  # systemd-networkd touches no link that udev has not announced
)
HERE = Path(__file__).resolve().parent
OVERLAY = HERE / "containerfs"
CUSTOMIZE = HERE / "container.sh"
METADATA = {
    "architecture": "x86_64",
    "creation_date": 1,
    "properties": {"os": "Debian", "release": SUITE, "description": "the lab's container image"},
    "templates": {},
}
# Unpacked anew for each container, so what counts is how fast that is.
SQUASHFS = ("-noappend", "-no-progress", "-comp", "zstd", "-Xcompression-level", "3")


def fingerprint() -> str:
    """Return the name of the image that today's inputs make: 16 hexadecimal digits."""
    options = (*rootfs_build.APT_OPTIONS, *rootfs_build.DPKG_OPTIONS)
    content = json.dumps([FORMAT, SUITE, PACKAGES, options, METADATA, SQUASHFS]).encode()
    for path in [CUSTOMIZE, *sorted(path for path in OVERLAY.rglob("*") if path.is_file())]:
        content += f"\n{path.relative_to(HERE)}\n".encode() + path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def ensure(directory: Path, *, say: Callable[[str], None]) -> Path:
    """Return the directory of an image of today's inputs, building it if the cache has none.

    The caller holds the lab's lock. A build that fails or is interrupted leaves the cache as it was. Raises
    LabError with the failed tool's last lines.
    """
    images = directory / "containers"
    images.mkdir(parents=True, exist_ok=True)
    discard_partial(images)
    image = images / fingerprint()
    if not image.is_dir():
        started = time.monotonic()
        say(f"building the container image {image.name} (about a minute)")
        _build(images, image)
        say(f"built {image.name} in {time.monotonic() - started:.0f} s")
    return image


def _build(images: Path, image: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=images))
    try:
        root, result, log = work / "root", work / "result", work / "log"
        result.mkdir()
        rootfs_build.install(root, suite=SUITE, packages=PACKAGES, overlay=OVERLAY, customize=CUSTOMIZE, log=log)
        squash = ["mksquashfs", str(root), str(result / "rootfs.squashfs"), *SQUASHFS]
        rootfs_build.run_logged(squash, log=log)
        (result / "metadata.tar.xz").write_bytes(_metadata())
        result.rename(image)
    finally:
        discard_partial(images)


def _metadata() -> bytes:
    content = json.dumps(METADATA).encode()  # JSON is YAML
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:xz") as archive:
        entry = tarfile.TarInfo("metadata.yaml")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()
