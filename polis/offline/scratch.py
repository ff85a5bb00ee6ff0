"""A directory for what is on its way: always the same name, so that what a killed process left goes with the next."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from polis import durable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """Give an empty private directory, and remove it with all that is in it. For the holder of a workspace's lock.

    Raises OSError if it cannot be made.
    """
    shutil.rmtree(directory, ignore_errors=True)
    durable.private_directory(directory)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
