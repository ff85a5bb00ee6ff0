"""Disk space: asked for before a large file is written, and named when it ran out nevertheless."""

from __future__ import annotations

import contextlib
import errno
import shutil
from typing import TYPE_CHECKING

from polis.errors import HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARGIN = 64 * 1024 * 1024
"""Bytes that stay free: a file system filled to the last byte breaks everything else on the machine."""


def require(directory: Path, size: int, *, what: str) -> None:
    """Raise HostUnsuitable unless `size` bytes and a margin are free where the (existing) directory is."""
    free = shutil.disk_usage(directory).free
    if free < size + MARGIN:
        raise HostUnsuitable(
            f"not enough disk space for {what} in {directory}",
            cause=f"{mebibytes(size + MARGIN)} needed, {mebibytes(free)} free",
            hint="free some space, then run the command again",
        )


@contextlib.contextmanager
def checked(directory: Path) -> Iterator[None]:
    """Turn a full or read-only disk met inside into HostUnsuitable."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        with contextlib.suppress(OSError):
            free = mebibytes(shutil.disk_usage(directory).free)
            raise HostUnsuitable(f"{directory} cannot be written", cause=f"{error.strerror}; {free} free") from error
        raise HostUnsuitable(f"{directory} cannot be written", cause=str(error.strerror)) from error


def mebibytes(size: int) -> str:
    """Return a size for people."""
    return f"{size / (1024 * 1024):,.0f} MiB"
