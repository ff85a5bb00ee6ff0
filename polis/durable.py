"""Writing a file so that a power cut leaves either the old content or the new one, never a mixture.

What a kernel has in memory survives a killed process but not a power cut: a file's content is safe after fsync of the
file, a name (new, renamed, removed) after fsync of its directory. Every promise here is kept in that order, and the
crash tests cut the power between each two steps.
"""

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


def append(path: Path, line: bytes, *, create: bool = True) -> None:
    """Add a whole line to a file, in one write: with O_APPEND, lines of two processes stay apart. Raises OSError.

    If the last line is torn, by a power cut or a full disk, this one is not glued to it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.name == "posix" and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


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


def anchor(directory: Path) -> None:
    """Make the names of a directory and of all above it survive a power cut, whoever made them and when.

    Directories that this user may not read are not new, so they are passed over.
    """
    for parent in directory.parents:
        with contextlib.suppress(PermissionError):
            sync_directory(parent)


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
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
