"""What apt reads of a repository before it downloads: Packages, which names every .deb, and Release, which names it."""

from __future__ import annotations

import gzip
import hashlib
from email.utils import format_datetime
from typing import TYPE_CHECKING

from lab import deb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SUITE = "noble"
COMPONENT = "stable"
ARCHITECTURE = "amd64"
PLACE = f"{COMPONENT}/binary-{ARCHITECTURE}"
"""Of Packages, below the suite's directory."""


def packages(debs: Mapping[str, bytes]) -> bytes:
    """Return Packages for these files, by their path below the repository's root.

    No hash but SHA256: apt computes every one that is named, and an emulated CPU takes its time. Raises LabError if one
    is no Debian package.
    """
    paragraphs = []
    for path, content in sorted(debs.items()):
        facts = f"Filename: {path}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        paragraphs.append(deb.control_of(content) + facts)
    return "\n".join(paragraphs).encode()


def listing(index: bytes) -> dict[str, bytes]:
    """Return Packages in the forms in which it is served, by path below the suite's directory."""
    return {f"{PLACE}/Packages": index, f"{PLACE}/Packages.gz": gzip.compress(index, mtime=0)}


def release(files: Mapping[str, bytes], *, date: datetime) -> bytes:
    """Return Release for these files, by path below the suite's directory; `date` is in UTC."""
    fields = {
        "Origin": "Docker",
        "Label": "Docker CE",
        "Suite": SUITE,
        "Codename": SUITE,
        "Date": format_datetime(date, usegmt=True),
        "Architectures": ARCHITECTURE,
        "Components": COMPONENT,
        "Description": "the lab's stand-in for Docker's repository",
    }
    lines = [f"{key}: {value}" for key, value in fields.items()]
    lines.append("SHA256:")
    lines += [f" {hashlib.sha256(content).hexdigest()} {len(content)} {path}" for path, content in files.items()]
    return ("\n".join(lines) + "\n").encode()
