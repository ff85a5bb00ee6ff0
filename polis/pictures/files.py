"""Writing a picture to a file: whole or not at all, and never over something that is not a picture of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis import durable
from polis.errors import HostUnsuitable, UsageError
from polis.pictures.drawing import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BEGINNING = 512
"""Bytes in which the mark stands."""


def require(target: Path, suffixes: Sequence[str], *, force: bool) -> None:
    """Refuse what could not be written in the end, before anything is done for it. Raises UsageError."""
    if target.suffix.lower() not in suffixes:
        raise UsageError(
            f"{target.name} does not say which kind of file it is to be",
            remains="no file was written",
            hint=f"let its name end with {' or '.join(suffixes)}",
        )
    try:
        is_directory, has_place = target.is_dir(), target.parent.is_dir()
    except OSError as error:  # a name that is too long, a place that may not be looked at
        raise UsageError(
            f"{target.name[:60]} cannot be written", cause=error.strerror or "", remains="no file was written"
        ) from error
    if is_directory or not has_place:
        what = "is a directory" if is_directory else "would lie in a directory that does not exist"
        raise UsageError(f"{target} {what}", remains="no file was written", hint="name another file")
    if not force and not _is_ours(target):
        raise UsageError(
            f"{target} exists, and polis did not draw it",
            remains="the file is as it was",
            hint="name another file, or add --force to replace this one",
        )


def write(target: Path, text: str) -> None:
    """Replace the file by a picture, atomically. Raises HostUnsuitable with the old file intact."""
    try:
        durable.write(target, text.encode("utf-8", "replace"), mode=0o644)
    except OSError as error:
        raise HostUnsuitable(
            f"cannot write {target}",
            cause=error.strerror or str(error),
            remains="nothing was changed",
            hint="name a file in a directory that is yours",
        ) from error


def _is_ours(target: Path) -> bool:
    """Return whether nothing is lost if the file is replaced: there is none, it is empty, or polis drew it."""
    try:
        with target.open("rb") as file:
            beginning = file.read(BEGINNING)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return not beginning or MARK.encode() in beginning
