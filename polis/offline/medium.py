"""The packages of an offline file as a read-only medium: an ISO 9660 image that is a repository for apt.

https://wiki.debian.org/DebianRepository/Format ("Flat Repository Format"). What the cloud-init document does with it is
in polis/cloudinit/overrides.py.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from polis.cloudinit.overrides import MEDIUM_LABEL
from polis.errors import HostUnsuitable
from polis.offline.manifest import SYSBOX
from polis.offline.scratch import scratch

if TYPE_CHECKING:
    from pathlib import Path

    from polis.offline.reading import OfflineFile

READ_ONLY = 0o100444
LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"
"""apt wants a date, and one that is not in the future of any guest."""


def build(offline: OfflineFile, directory: Path) -> Path:
    """Return the medium, made anew in a directory that holds nothing else; the one before it is replaced.

    Raises IntegrityError, ConfigurationError; HostUnsuitable if the disk is full.
    """
    target = directory / "medium.iso"
    try:
        with scratch(directory / "work") as work:
            files = _collect(offline, work)
            image = work / "image"
            _write_iso(files, image)
            image.replace(target)
    except OSError as error:
        raise HostUnsuitable(f"{target} cannot be written", cause=str(error.strerror or error)) from error
    return target


def index(offline: OfflineFile) -> bytes:
    """Return Packages: what apt knows of each file."""
    paragraphs = []
    for package in offline.manifest.packages:
        member = offline.manifest.members[package.member]
        facts = f"Filename: ./{_file_name(package.member)}\nSize: {member.size}\nSHA256: {member.sha256}\n"
        paragraphs.append(package.control.strip("\n") + "\n" + facts)
    return "\n".join(paragraphs).encode()


def release(packages: bytes) -> bytes:
    """Return Release, which names Packages; without it apt looks for other forms of that, again and again."""
    return f"Date: {LONG_AGO}\nSHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n".encode()


def _collect(offline: OfflineFile, work: Path) -> dict[str, Path]:
    """Put every file of the medium into a directory; return them by their name on the medium."""
    packages = index(offline)
    files = {"Packages": work / "0", "Release": work / "1"}
    files["Packages"].write_bytes(packages)
    files["Release"].write_bytes(release(packages))
    members = [SYSBOX, *(package.member for package in offline.manifest.packages)]
    for number, member in enumerate(members, start=len(files)):
        files[_file_name(member)] = work / str(number)
        offline.extract(member, work / str(number))
    return files


def _write_iso(files: dict[str, Path], target: Path) -> None:
    import pycdlib

    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, rock_ridge="1.09", vol_ident=MEDIUM_LABEL)
    try:
        for number, (name, path) in enumerate(files.items()):
            image.add_file(str(path), f"/F{number:05}.;1", rr_name=name, file_mode=READ_ONLY)
        image.write(str(target))
    finally:
        image.close()


def _file_name(member: str) -> str:
    return PurePosixPath(member).name
