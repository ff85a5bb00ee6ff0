"""What all drivers have in common that move files: how long that may take, what is compared, what is refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from polis.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 120.0
"""Seconds for a transfer of any size, to which the size adds at SLOWEST bytes a second."""

SLOWEST = 256 * 1024

PULL_LIMIT = 3600.0
"""Seconds for a file whose size is not known before."""

ATTEMPTS = 3
"""How often a file is fetched whose content is not what its hash was: it may be one that grows."""


def digest(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measured(source: Path) -> tuple[float, str]:
    """Return how many seconds a file of ours may take to a guest, and its sha256. Raises ConfigurationError."""
    try:
        return PATIENCE + source.stat().st_size / SLOWEST, digest(source)
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be read", cause=str(error.strerror)) from error


def require_absolute(path: str) -> None:
    """Raise ValueError for a path of the guest that would depend on where a command happens to run."""
    if not path.startswith("/"):
        raise ValueError(f"{path} is not an absolute path of the guest")


def differs(source: str, wanted: str, found: str) -> IntegrityError:
    """Return the error for a file of the guest that, each time, arrived as something else."""
    return IntegrityError(
        f"{source} did not arrive as it is in the guest",
        cause=f"sha256 in the guest {wanted}\nsha256 here         {found}",
        hint="if something writes to the file all the time, copy it in the guest first",
    )
