"""The append-only history of a workspace: one JSON line for each event that matters (DESIGN section 4)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from polis import events
from polis.store import explain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

FILE = "journal.jsonl"
LINE_LIMIT = 1024 * 1024
"""Bytes of the longest line that is read: no event of ours comes near, and after a power cut blocks of nothing may."""

_UNWORTHY = (events.PhaseProgress, events.DriverCalled)


class Journal:
    """A sink that appends, and a reader that survives a torn last line."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def take(self, event: events.Event) -> None:
        """Append the event. A journal that cannot be written must not stop the work it describes."""
        if isinstance(event, _UNWORTHY):
            return
        line = json.dumps(event.payload(), ensure_ascii=False, separators=(",", ":")) + "\n"
        try:
            self._append(line.encode(errors="replace"))
        except OSError:
            return

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the events, oldest first; a line that is no JSON object (torn by a power cut) is left out.

        Raises HostUnsuitable if the file is there but cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                for line in _lines(file):
                    entry = _parse(line)
                    if isinstance(entry, dict):
                        yield entry
        except FileNotFoundError:
            return
        except OSError as error:
            raise explain(error, self._path) from error

    def _append(self, data: bytes) -> None:
        # One write of a whole line: O_APPEND keeps lines of two processes apart. If the last line is torn, this one
        # must not be glued to it.
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.name == "posix" and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines, one in memory at a time, without those that are too long."""
    while line := file.readline(LINE_LIMIT):
        if len(line) < LINE_LIMIT:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LINE_LIMIT)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
