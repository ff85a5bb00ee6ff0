"""The guest's serial console: a file that QEMU appends to. The guest writes it, so nothing in it is trusted."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from polis.drivers import terminaltext

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1024 * 1024
"""Bytes after which the file is set aside at the next start; one older file is kept."""

TAIL = 64 * 1024
"""Bytes read from the end."""

_ALL = TAIL
_MARK = "--- polis switched on at "


def tail(path: Path, count: int) -> tuple[str, ...]:
    """Return the last `count` non-empty lines since QEMU was started, cleaned; empty if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            text = file.read(TAIL).decode("utf-8", "replace")
    except OSError:
        return ()
    return _lines(text)[-count:]


def panic(path: Path) -> str:
    """Return the last kernel panic's line, or "": a guest that reboots after it fills the tail with other things."""
    return next((line for line in reversed(tail(path, _ALL)) if "Kernel panic" in line), "")


def begin(path: Path) -> None:
    """Prepare the file for a start: set a large one aside, and mark where this start begins."""
    if path.exists() and path.stat().st_size > LIMIT:
        path.replace(path.with_name(path.name + ".1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        file.write(f"\n{_MARK}{moment} ---\n".encode())


def _lines(text: str) -> tuple[str, ...]:
    current = text.rpartition(_MARK)[2].partition("\n")[2] if _MARK in text else text
    return terminaltext.lines(current)
