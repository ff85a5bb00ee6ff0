"""A bootable cloud image from the distribution's packages, cached by the hash of what goes into it.

`.lab/images/<hash>/` holds disk.qcow2, kernel and initrd; `.lab/image.json` describes the newest, with paths
relative to itself and the sha256 of each file, as polis takes it. The disk is one ext4 file system without a
partition table, so that growing it is one resize2fs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import initrd, rootfs_build
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = 1
"""Part of the cache key: raise it when this module's own steps change what comes out."""

LABEL = "polis-root"
SIZE = "2G"
"""Of the file system as built; a VM's disk is larger, and resizefs grows into it at first boot."""

CMDLINE = " ".join(
    (
        f"root=LABEL={LABEL}",
        "rw",
        "console=ttyS0",
        "loglevel=4",
        "apparmor=1",
        "security=apparmor",
        "net.ifnames=0",
        # A VM without hardware virtualization pays for each of these in seconds of boot.
        "mitigations=off",
        "no5lvl",
        "nokaslr",
        # QEMU 7.2 leaves garbage in the flags after cmpxchg16b; an interrupt at that moment ends in a double fault.
        "clearcpuid=cx16",
        "8250.nr_uarts=1",
        # A kernel that cannot go on must end the VM, for nobody reads the screen.
        "panic=-1",
    )
)
MKE2FS = (
    "mke2fs",
    "-q",
    "-t",
    "ext4",
    "-L",
    LABEL,
    "-m",
    "0",
    "-J",
    "size=32",
    "-E",
    "lazy_itable_init=1,lazy_journal_init=1",
)
USER = "ubuntu"
PARTIAL = ".partial-"


def fingerprint() -> str:
    """Return the name of the image that today's inputs make: 16 hexadecimal digits."""
    own = json.dumps([FORMAT, SIZE, MKE2FS, initrd.INIT]).encode()
    return hashlib.sha256(own + rootfs_build.inputs()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ensure(directory: Path, *, say: Callable[[str], None]) -> Path:
    """Return the descriptor of an image of today's inputs, building the image if the cache has none.

    The caller holds the lab's lock. A build that fails or is interrupted leaves the cache as it was. Raises
    LabError with the failed tool's last lines.
    """
    images = directory / "images"
    images.mkdir(parents=True, exist_ok=True)
    discard_partial(images)
    image = images / fingerprint()
    if not image.is_dir():
        started = time.monotonic()
        say(f"building the VM image {image.name} (about a minute)")
        _build(images, image)
        say(f"built {image.name} in {time.monotonic() - started:.0f} s")
    return write_descriptor(directory, image)


def discard_partial(images: Path) -> None:
    """Remove what killed builds left, never crossing into a file system that is still mounted there.

    A killed build's tools may take a second to end and write on meanwhile; what they leave goes next time.
    """
    for path in images.glob(f"{PARTIAL}*"):
        subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=False, stderr=subprocess.DEVNULL)


def write_descriptor(directory: Path, image: Path) -> Path:
    """Write `image.json` for a finished image and return its path; hashing is done once, when it was built."""
    facts = json.loads((image / "facts.json").read_text())
    descriptor = directory / "image.json"

    def part(name: str) -> dict[str, str]:
        return {"location": str((image / name).relative_to(directory)), "sha256": facts[name]}

    content: dict[str, Any] = {
        **part("disk.qcow2"),
        "kernel": part("kernel"),
        "initrd": part("initrd"),
        "cmdline": CMDLINE,
        "user": USER,
    }
    text = json.dumps(content, indent=2) + "\n"
    if not descriptor.is_file() or descriptor.read_text() != text:
        temporary = descriptor.with_suffix(".json.new")
        temporary.write_text(text)
        temporary.replace(descriptor)
    return descriptor


def _build(images: Path, image: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=images))
    try:
        root, result, log = work / "root", work / "result", work / "log"
        result.mkdir()
        rootfs_build.build(root, log=log)
        shutil.copyfile(_kernel(root), result / "kernel")
        (result / "initrd").write_bytes(initrd.build(root))
        _make_disk(root, result / "disk.qcow2", log=log)
        names = ("disk.qcow2", "kernel", "initrd")
        (result / "facts.json").write_text(json.dumps({name: sha256_of(result / name) for name in names}))
        os.sync()  # the rename must not reach the disk before what it names
        result.rename(image)
    finally:
        discard_partial(images)


def _kernel(root: Path) -> Path:
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise LabError(f"expected one kernel in the image, found {[kernel.name for kernel in kernels]}")
    return kernels[0]


def _make_disk(root: Path, disk: Path, *, log: Path) -> None:
    raw = disk.with_name("disk.raw")
    for path in (root / "boot").iterdir():
        path.unlink()  # the VM is started with a kernel from outside
    rootfs_build.run_logged([*MKE2FS, "-d", str(root), str(raw), SIZE], log=log)
    rootfs_build.run_logged(["qemu-img", "convert", "-O", "qcow2", str(raw), str(disk)], log=log)
    raw.unlink()
