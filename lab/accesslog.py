"""The proxy's access log: one JSON object a line, one line a request."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A request that reached the proxy.

    `time` is UTC in ISO 8601; `method` and `path` are `-` for a connection cut before it asked; `status` is 0 where
    no response was given; `bytes_sent` counts the body's bytes on the wire; `fault` is the mode that hit, or `none`.
    """

    time: str
    method: str
    path: str
    status: int
    bytes_sent: int
    fault: str


def parse(lines: Iterable[str]) -> list[LogEntry]:
    """Return the entries of a log; a last line that is still being written is left out."""
    names = [field.name for field in fields(LogEntry)]
    entries = []
    for line in lines:
        if line.endswith("\n"):
            content = json.loads(line)
            entries.append(LogEntry(**{name: content[name] for name in names}))
    return entries


class AccessLog:
    """Appends to a log file. Every entry is one write, so that another process may empty the file at any time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def add(self, entry: LogEntry) -> None:
        """Append an entry."""
        self._file.write(json.dumps(asdict(entry)).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
