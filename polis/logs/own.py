"""Polis's own log, for people: what its commands did in a workspace, all of it or within one phase."""

from __future__ import annotations

import json
import time
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

from polis import log
from polis.logs.lines import Growing, plain
from polis.store import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from polis.logs.lines import Take

INTERVAL = 0.5
"""Seconds between two looks at the file."""

_ENDS = ("phase.completed", "phase.failed", "phase.left", "phase.skipped")
_TOLD_ELSEWHERE = ("at", "level", "event", "run", "command", "pid", "phase")


class Within:
    """Tells of each entry whether it belongs to a phase: it names it, or came while its run was at work on it."""

    def __init__(self, phase: str | None) -> None:
        self._phase = phase
        self._at_work: dict[str, str] = {}

    def __call__(self, entry: dict[str, Any]) -> bool:
        """Return whether the entry is wanted; entries come in their order."""
        if self._phase is None:
            return True
        run, name = str(entry.get("run")), entry.get("event")
        if name == "phase.started":
            self._at_work[run] = str(entry.get("phase"))
        here = self._phase in (_phase(entry), self._at_work.get(run))
        if name in _ENDS or name == "command.ended":
            self._at_work.pop(run, None)
        return here


def read(
    directory: Path, lines: int, take: Take, *, phase: str | None = None, since: datetime | None = None
) -> tuple[int, Within]:
    """Hand the last lines to `take`; return where the file ended, and what tells whether more belongs to the phase.

    Raises HostUnsuitable if the log cannot be read.
    """
    within = Within(phase)
    last: deque[str] = deque(maxlen=lines)
    end = 0
    for number in range(log.OLD, -1, -1):
        path = directory / (f"{log.FILE}.{number}" if number else log.FILE)
        try:
            with path.open("rb") as file:
                for raw in file:
                    last.extend(_wanted(raw, within, since))
                end = file.tell()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise explain(error, path) from error
    for line in last:
        take(line)
    return end, within


def follow(
    directory: Path, begin: int, within: Within, take: Take, pause: Callable[[float], None] = time.sleep
) -> None:
    """Hand each new line to `take`, until the caller is interrupted."""
    growing = Growing(directory / log.FILE, begin)
    while True:
        for raw in growing.read():
            for line in _wanted(raw.encode(errors="replace"), within, None):
                take(line)
        pause(INTERVAL)


def told(entry: dict[str, Any]) -> list[str]:
    """Return an entry as lines for people: time, command and run, what happened; further lines stand indented."""
    first, *more = _words(entry)
    phase = f"{entry['phase']}: " if entry.get("phase") else ""
    head = f"{entry.get('at', '')}  {entry.get('command', '')} {entry.get('run', '')}  {phase}{first}"
    return [plain(line) for line in (head, *(f"    {line}" for line in more))]


def _wanted(raw: bytes, within: Within, since: datetime | None) -> Iterator[str]:
    try:
        entry = json.loads(raw)
        is_wanted = isinstance(entry, dict) and within(entry) and not _is_before(entry, since)
        lines = told(entry) if is_wanted else []
    except (ValueError, RecursionError):  # the deepest nesting that can be read cannot be written again
        return
    yield from lines


def _is_before(entry: dict[str, Any], since: datetime | None) -> bool:
    if since is None:
        return False
    try:
        return datetime.fromisoformat(str(entry.get("at"))) < since
    except (ValueError, TypeError):
        return True


def _phase(entry: dict[str, Any]) -> object:
    error = entry.get("error")
    return entry.get("phase") or (error.get("phase") if isinstance(error, dict) else None)


def _words(entry: dict[str, Any]) -> list[str]:
    """Return what happened: in the words of the kinds that are long, else the name and all that is told of it."""
    name, error = str(entry.get("event")), entry.get("error")
    if name == "error" and isinstance(error, dict):
        causes = [f"| {line}" for line in str(error.get("cause") or "").splitlines()]
        hint = [f"next: {error['hint']}"] if error.get("hint") else []
        return [f"error: {error.get('message')}", *causes, *hint]
    if name == "bug":
        return [f"bug: {entry.get('message')}", *str(entry.get("traceback") or "").splitlines()]
    if name == "driver.called":
        duration = entry.get("duration_s")
        took = "" if duration is None else f" in {duration} s"
        why = f": {entry['reason']}" if entry.get("reason") else ""
        return [f"{entry.get('call')} ({entry.get('words')}): {entry.get('outcome')}{took}{why}"]
    told_too = {key: value for key, value in entry.items() if key not in _TOLD_ELSEWHERE and value is not None}
    values = ", ".join(f"{key} {_short(value)}" for key, value in told_too.items())
    return [f"{name} ({values})" if values else name]


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
