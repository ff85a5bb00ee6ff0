"""Files that are placed beside the bundle's own: keys, passwords, what an agent needs. Each has an owner and a mode."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class PlacedFile:
    """One file in the guest: its content, permission bits and the number of its owner (and group)."""

    content: bytes = field(repr=False)
    mode: int
    owner: int = 0


def write(files: Mapping[str, PlacedFile], target: Path) -> str:
    """Write the files as a tar that only its owner can read; return its `sha256:<hex>`.

    Owners and modes are in its headers, which whoever unpacks it has to obey: unlike a bundle it is Polis' own work.
    """
    import hashlib  # reading commands know these files, and never write them
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(files):
            file = files[name]
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(file.content), file.mode, file.owner, file.owner
            tar.addfile(info, io.BytesIO(file.content))
    content = buffer.getvalue()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(target, flags, 0o600), "wb") as stream:
        stream.write(content)
    return "sha256:" + hashlib.sha256(content).hexdigest()
