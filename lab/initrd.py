"""The image's initial RAM disk: one driver, one shell, one script.

The distribution's generator makes 17 MB with udev in it, which an emulated CPU unpacks for seconds. The cloud
kernel has ext4 and virtio-pci built in, so all that is missing between it and the disk is virtio_blk.
"""

from __future__ import annotations

import gzip
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox insmod /virtio_blk.ko
for word in $(/bin/busybox cat /proc/cmdline); do
    case $word in root=*) wanted=${word#root=} ;; esac
done
case $wanted in
    LABEL=*|UUID=*) device=$(/bin/busybox findfs "$wanted") ;;
    *) device=$wanted ;;
esac
if ! /bin/busybox mount -t ext4 -o rw "$device" /root; then
    echo "initrd: no root file system on '$wanted'" >/dev/console
    exec /bin/busybox poweroff -f
fi
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of the archive: `mode` with its file type bits, `device` as (major, minor) for a node."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(entries: list[Entry]) -> bytes:
    """Return a `newc` archive, the only format the kernel unpacks; no times, so that equal input is equal output."""
    archive = bytearray()
    for inode, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (
            inode,
            entry.mode,
            0,  # uid
            0,  # gid
            1,  # links
            0,  # time of change
            len(entry.data),
            0,  # device of the file system, major and minor
            0,
            *entry.device,
            len(name),
            0,  # checksum, unused in this format
        )
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += b"\0" * (-len(archive) % 4)
        archive += entry.data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def build(root: Path) -> bytes:
    """Return the initrd for the kernel installed in `root`.

    Raises LabError if `root` lacks the static busybox or the (unpacked) virtio_blk module.
    """
    modules = sorted(root.glob("usr/lib/modules/*/kernel/drivers/block/virtio_blk.ko"))
    busybox = root / "usr/bin/busybox"
    if len(modules) != 1 or not busybox.is_file():
        raise LabError(f"{root} has {len(modules)} virtio_blk modules and busybox={busybox.is_file()}; need one each")
    directories = [Entry(name, stat.S_IFDIR | 0o755) for name in ("bin", "dev", "proc", "root")]
    files = [
        # The kernel opens the console before /init runs; without the node init would have no output.
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()),
        Entry("virtio_blk.ko", stat.S_IFREG | 0o644, modules[0].read_bytes()),
        Entry("init", stat.S_IFREG | 0o755, INIT.encode()),
    ]
    return gzip.compress(cpio(directories + files), compresslevel=1, mtime=0)
