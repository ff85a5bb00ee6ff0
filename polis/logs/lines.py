"""Lines that somebody else wrote: made fit to be shown, cut, and read from the end of a file."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from polis.errors import UsageError
from polis.redaction import redact, without_beginning

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

Take = Callable[[str], None]
"""Called with each line, fit to be shown, without a newline."""

WIDTH = 4096
"""Characters of a line that are shown."""

TORN = 512
"""Characters dropped from a line that was cut: a secret that the cut went through is no longer known by its rest.
What of a longer one is left is known by its beginning."""

CHUNK = 64 * 1024

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles
    r"|[ -/]+[0-~]|[0-~])"  # character sets, resets
)
_AGO = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def plain(text: str, *, is_cut: bool = False) -> str:
    """Return a line without secrets, escape sequences, control and invisible characters, of a bearable length."""
    line = redact(_visible(_ESCAPE.sub("", text)))
    if is_cut:
        return f"{without_beginning(line[:-TORN])}…"
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}…"


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the time that `--since` names: `90s`, `10m`, `2h`, `1d` ago, or an ISO 8601 time (UTC unless it says).

    Raises UsageError if it is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return (now or datetime.now(UTC)) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(
            f"`{plain(text)}` is no time", hint="write --since 10m, --since 2h, or --since 2026-01-31T12:00"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def tail(path: Path, count: int, *, limit: int) -> tuple[list[str], int]:
    """Return the last `count` lines within the last `limit` bytes, as they are, and where reading ended.

    Nothing of a file that is not there. Raises OSError for one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            data = file.read(limit)
            end = file.tell()
    except FileNotFoundError:
        return [], 0
    lines = data.decode("utf-8", "replace").splitlines()
    if size > limit:
        lines = lines[1:]  # half a line, and half a secret would not be known
    return lines[-count:] if count else [], end


class Growing:
    """A file that others append to, and may replace by an empty one; `read` gives what was added since."""

    def __init__(self, path: Path, begin: int) -> None:
        self._path = path
        self._at = begin
        self._rest = b""
        self._is_passing = False

    def read(self) -> list[str]:
        """Return the complete lines that were added, as they are."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._at:
                    self._at, self._rest, self._is_passing = 0, b"", False
                file.seek(self._at)
                return self._lines(file)
        except FileNotFoundError:
            return []

    def _lines(self, file: BinaryIO) -> list[str]:
        data = file.read(CHUNK)
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._is_passing and lines:
            del lines[0]
            self._is_passing = False
        if self._is_passing:
            self._rest = b""
        elif len(self._rest) > CHUNK:
            lines.append(self._rest)  # of a line without an end the beginning: its next part may begin within a secret
            self._rest, self._is_passing = b"", True
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]


def _visible(text: str) -> str:
    """Return the text with a space for each tab, without what steers a terminal or turns the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        " " if char == "\t" else char for char in text if char == "\t" or unicodedata.category(char)[0] != "C"
    )
