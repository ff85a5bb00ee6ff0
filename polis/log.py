"""The log of one workspace: what its commands did, one JSON object a line, in `polis.log` beside its record.

Every changing command is in it from beginning to end, and a reading one if it fails: until either is known, its lines
wait in memory, so that a `status` that succeeds writes nothing and imports nothing. A log that cannot be written never
stops the work that it describes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from polis import durable, events
from polis.redaction import redact, redact_all

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from pathlib import Path

    from polis.errors import PolisError

    Entry = MutableMapping[str, Any]

FILE = "polis.log"

SIZE = 5 * 1024 * 1024
"""Bytes after which the file is set aside."""

OLD = 3
"""How many files that were set aside are kept: `polis.log.1` is the newest."""

TEXT_LIMIT = 4000
"""Characters of one text in a line; a traceback may have more."""

TRACEBACK_LIMIT = 16_000

LINE_LIMIT = 64 * 1024
"""Bytes of a line. What is longer is replaced by its most important parts."""

WAITING = 200
"""Lines that wait in memory; of more, the oldest are dropped."""

_IDLE = (events.CommandStarted, events.CommandEnded, events.PhaseSkipped, events.DriverCalled, events.Disclosed)
"""What happens in a command that finds nothing to do."""

_current: RunLog | None = None


def begin(directory: Path, command: str) -> RunLog:
    """Return the log of the command that this process runs; `directory` is that of the workspace."""
    global _current  # noqa: PLW0603 -- a process runs one command, and its last line of defence has to find its log
    _current = RunLog(directory, command)
    return _current


def current() -> RunLog | None:
    """Return the log of this process's command, if it came as far as to have one."""
    return _current


def forget() -> None:
    """Let the command that follows in this process have no log, until it begins one."""
    global _current  # noqa: PLW0603 -- see begin
    _current = None


class RunLog:
    """The lines of one run of a command, known by a number that no other run has; a sink of the stream of events."""

    def __init__(self, directory: Path, command: str) -> None:
        self.run = secrets.token_hex(4)
        self.path = directory / FILE
        self._bound = {"run": self.run, "command": command, "pid": os.getpid()}
        self._waiting: list[Entry] = []
        self._file = _File(self.path)
        self._logger: Callable[..., Any] | None = None

    @property
    def is_written(self) -> bool:
        """Return whether anything of this run is in the file."""
        return self._file.is_begun

    def take(self, event: events.Event) -> None:
        """Log the event of a changing command; keep it back while it is not known whether this is one."""
        payload = event.payload()
        self._waiting.append(payload)
        del self._waiting[:-WAITING]
        if isinstance(event, events.CommandStarted):
            self._file.is_owned = True
        if not self._file.is_owned:
            return
        if self._logger is not None or not isinstance(event, _IDLE):
            self._flush(self._open())
        elif isinstance(event, events.CommandEnded):
            # It found nothing to do, and the library takes longer to import than all of that took.
            self._flush(self._write_plainly)
        if isinstance(event, events.CommandEnded):
            self._file.is_owned = False  # with it goes the lock

    def failed(self, problem: PolisError) -> None:
        """Log why the command ends."""
        self._waiting.append({"event": "error", "level": "error", "error": events.describe(problem)})
        self._flush(self._open())

    def broke(self, bug: BaseException) -> None:
        """Log a bug with its traceback, which has no values of variables in it."""
        import traceback

        # Struck through before it is cut: half a secret would not be known any more.
        told = redact("".join(traceback.format_exception(bug)))[-TRACEBACK_LIMIT:]
        entry = {"event": "bug", "level": "error", "message": f"{type(bug).__name__}: {bug}", "traceback": told}
        self._waiting.append(entry)
        self._flush(self._open())

    def _flush(self, write: Callable[..., Any]) -> None:
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            write(**entry)

    def _open(self) -> Callable[..., Any]:
        """Return what writes a line: structlog's logger, imported by the first line that is worth it."""
        if self._logger is None:
            import structlog

            chain = [self._complete, *PROCESSORS]
            self._logger = structlog.wrap_logger(
                self._file, processors=chain, wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=True
            ).msg
        return self._logger

    def _write_plainly(self, **entry: Any) -> None:
        value: Any = entry
        for process in (self._complete, *PROCESSORS):
            value = process(None, "msg", value)
        self._file.msg(value)

    def _complete(self, _logger: object, _method: str, entry: Entry) -> Entry:
        at = entry.get("at") or events.timestamp(datetime.now(UTC))
        level = entry.get("level") or _LEVELS.get(str(entry.get("event")), "info")
        first = {"at": at, "level": level, "event": entry.get("event"), **self._bound}
        return {**first, **{key: value for key, value in entry.items() if key not in first}}


_LEVELS = {
    "phase.progress": "debug",
    "driver.called": "debug",
    "phase.retry": "warning",
    "drift": "warning",
    "warning": "warning",
    "phase.failed": "error",
}


def _struck(_logger: object, _method: str, entry: Entry) -> Entry:
    """Strike out what is secret, before anything is cut: half a secret would not be known any more."""
    clean: Entry = redact_all(dict(entry))
    return clean


def _bounded(_logger: object, _method: str, entry: Entry) -> Entry:
    return {key: value if key == "traceback" else _cut(value) for key, value in entry.items()}


def _rendered(_logger: object, _method: str, entry: Entry) -> str:
    import json

    line = json.dumps(entry, ensure_ascii=False, default=str)
    if len(line.encode(errors="replace")) > LINE_LIMIT:
        kept = {key: entry[key] for key in ("at", "level", "event", "run", "command", "pid")}
        line = json.dumps({**kept, "cut": True}, ensure_ascii=False, default=str)
    return line


PROCESSORS: tuple[Callable[[object, str, Any], Any], ...] = (_struck, _bounded, _rendered)
"""What becomes of an entry before it is written, in the way of structlog's processors."""


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= TEXT_LIMIT else f"{value[:TEXT_LIMIT]}…"
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(each) for each in value]
    return value


class _File:
    """A file to which several processes may append, each line by one write, and none glued to one that was torn.

    Only the holder of the workspace's lock (`is_owned`) makes it and sets it aside, so no two ever do. Once it has
    written and the file is gone, so is the workspace, and the log does not come back.
    """

    def __init__(self, path: Path) -> None:
        self.is_owned = False
        self.is_begun = False
        self._path = path

    def msg(self, line: str) -> None:
        """Append a line; what cannot be written is lost."""
        with contextlib.suppress(OSError):
            if self.is_owned:
                self._set_aside()
            durable.append(self._path, f"{line}\n".encode(errors="replace"), create=self.is_owned and not self.is_begun)
            self.is_begun = True

    def _set_aside(self) -> None:
        try:
            if self._path.stat().st_size < SIZE:
                return
        except FileNotFoundError:
            return
        for number in range(OLD, 0, -1):
            newer = self._path.with_name(f"{FILE}.{number - 1}") if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                newer.replace(self._path.with_name(f"{FILE}.{number}"))
        os.close(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
