"""Writing a file so that a power cut leaves either the old content or the new one, never a mixture."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PARTIAL = ".partial"
"""Suffix of files that were being written when a process died; they never count as content."""


def write(path: Path, data: bytes, *, mode: int = 0o600, backup: Path | None = None) -> None:
    """Replace the file at `path`; its previous content stays readable at `backup` if one is named.

    Order: unique temporary file beside it, fsync, rename, fsync of the directory. Raises OSError (ENOSPC, EROFS,
    EACCES, ...) with the old file intact.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        _write_through(partial, data, mode)
        if backup is not None and path.exists():
            _keep(path, backup)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync_directory(path.parent)


def private_directory(path: Path) -> None:
    """Create the directory and its parents, readable for its owner only."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o700)


def sweep(directory: Path, name: str) -> None:
    """Remove what killed processes left while writing `name`; only for the holder of the lock."""
    for partial in directory.glob(f".{name}.*{PARTIAL}"):
        with contextlib.suppress(OSError):
            partial.unlink()


def sync_directory(directory: Path) -> None:
    """Make renames and new names in the directory survive a power cut."""
    if os.name == "nt":  # directories cannot be opened there; renames are journalled by NTFS
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_through(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _keep(path: Path, backup: Path) -> None:
    # A hard link costs nothing and is atomic to put in place; some file systems have none.
    spare = backup.with_name(f".{backup.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        os.link(path, spare)
    except OSError:
        _write_through(spare, path.read_bytes(), 0o600)
    try:
        spare.replace(backup)
    finally:
        with contextlib.suppress(OSError):
            spare.unlink()  # renaming onto a link of the same file leaves the source name behind
