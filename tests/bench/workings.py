"""What the commands of a workspace did with their time, from its journal and its log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Work:
    """One command: its wall time, the time in driver calls, how many of each there were, and its phases (seconds)."""

    command: str
    at: str
    wall: float
    inside: float
    calls: Counter[str]
    phases: dict[str, float]

    @property
    def own(self) -> float:
        """Return the share of the wall time outside driver calls, in percent."""
        return 100 * (self.wall - self.inside) / self.wall if self.wall else 0.0


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log or journal that make sense."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def works(entries: Iterable[dict[str, Any]]) -> Iterator[Work]:
    """Yield the commands that came to their end, oldest first. A journal knows of no driver calls: `inside` is 0."""
    open_: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        run = str(entry.get("run", ""))
        if entry.get("event") == "command.started":
            # What came before the lock was taken belongs to it, too.
            before = [each for each in open_.get(run, []) if run and each["event"] == "driver.called"]
            open_[run] = [*before, entry]
        elif entry.get("event") == "command.ended":
            yield _sum(open_.pop(run, []), entry)
        elif "event" in entry:
            open_.setdefault(run, []).append(entry)


def _sum(entries: list[dict[str, Any]], end: dict[str, Any]) -> Work:
    called = [each for each in entries if each["event"] == "driver.called" and each.get("duration_s") is not None]
    done = [each for each in entries if each["event"] == "phase.completed"]
    return Work(
        command=str(end.get("command")),
        at=str(end.get("at")),
        wall=float(end.get("duration_s") or 0.0),
        inside=sum(float(each["duration_s"]) for each in called),
        calls=Counter(str(each["call"]) for each in called),
        phases={str(each["phase"]): float(each["duration_s"]) for each in done},
    )
