"""The list of a release's files with their hashes, `SHA256SUMS`, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from release.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.sig"

_LINE: Final = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)")


def write(directory: Path) -> Path:
    """Write the list of all files in a directory; a list and a signature that are there do not count."""
    sums = directory / SUMS
    lines = [
        f"{_sha256(path)}  {path.name}\n"
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name not in (SUMS, SIGNATURE)
    ]
    sums.write_text("".join(lines), encoding="ascii")
    return sums


def read(sums: Path) -> Mapping[str, str]:
    """Return the sha256 of each file by its name. Raises ReleaseError for a line that is none."""
    found = {}
    for line in sums.read_text(encoding="ascii", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ReleaseError(f"{sums.name}: {line[:100]!r} is no line of sha256sum")
        found[match[2]] = match[1]
    return found


def verify(directory: Path) -> tuple[str, ...]:
    """Return the names of the files that are listed, each there and with its hash. Raises ReleaseError."""
    listed = read(directory / SUMS)
    for name, sha256 in listed.items():
        path = directory / name
        if not path.is_file():
            raise ReleaseError(f"{name} is missing")
        found = _sha256(path)
        if found != sha256:
            raise ReleaseError(f"{name} is not what was released: its sha256 is {found}, {SUMS} says {sha256}")
    stray = sorted({path.name for path in directory.iterdir()} - set(listed) - {SUMS, SIGNATURE})
    if stray:
        raise ReleaseError(f"{stray[0]} is in no list of this release")
    return tuple(listed)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
