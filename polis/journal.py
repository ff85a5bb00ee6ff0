"""The append-only history of a workspace: one JSON line for each event that matters (DESIGN section 4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from polis import durable, events
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
            durable.append(self._path, line.encode(errors="replace"))
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
