"""The append-only history of a workspace: one JSON line for each event that matters (DESIGN section 4)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from polis import events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "journal.jsonl"

_UNWORTHY = (events.PhaseProgress,)


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
            self._append(line.encode())
        except OSError:
            return

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the events, oldest first; a line that is no JSON object (torn by a power cut) is left out."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry

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
