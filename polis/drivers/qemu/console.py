"""The guest's serial console: a file that QEMU appends to. The guest writes it, so nothing in it is trusted."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1024 * 1024
"""Bytes after which the file is set aside at the next start; one older file is kept."""

TAIL = 64 * 1024
"""Bytes read from the end."""

WIDTH = 200
"""Characters of a line that are shown."""

_ALL = TAIL
_MARK = "--- polis switched on at "
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles
    r"|[ -/]+[0-~]|[0-~])"  # character sets, resets
)


def clean(text: str) -> str:
    """Return a line without escape sequences and control or invisible characters, cut to WIDTH."""
    plain = _ESCAPE.sub("", text)
    visible = (" " if char == "\t" else char for char in plain if char == "\t" or _shown(char))
    line = "".join(visible).strip()
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


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
    lines = (clean(line) for line in re.split(r"[\r\n]+", current))
    return tuple(line for line in lines if line)


def _shown(char: str) -> bool:
    # Category C holds controls, but also the marks that turn the direction of writing.
    return unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029"
