"""What a guest, or a journal, tells of the stages of a boot, checked before anyone believes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

STAGES: dict[str, str] = {
    "kernel": "",
    "initrd": "",
    "systemd": "",
    "init-local": "",
    "init": "",
    "modules-config": "",
    "modules-final": "",
    "fetch-sysbox": "modules-final",
    "fetch-packages": "modules-final",
    "install-packages": "modules-final",
    "install-sysbox": "modules-final",
    "start-and-harden": "modules-final",
}
"""Every stage that is known, and the one that it is a part of. No other name is believed, so none has to be escaped."""

SLACK = 1.0
"""Seconds by which a stage may reach beyond what is possible: some are only known to the second."""

LONGEST = 86400.0 * 366
"""Seconds. A guest that says it has been up for longer is not believed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a boot: when it began and ended, in seconds since the boot."""

    name: str
    start_s: float
    end_s: float

    @property
    def within(self) -> str:
        """Return the name of the stage that it is a part of, or nothing."""
        return STAGES[self.name]

    def document(self) -> dict[str, Any]:
        """Return the stage as JSON-ready values."""
        return {"name": self.name, "start_s": self.start_s, "end_s": self.end_s}


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot of the guest: how long ago it was when this was told, and its stages in the order of their beginning."""

    uptime_s: float
    stages: tuple[Stage, ...]


def read(value: object) -> Boot | None:
    """Return the boot that a mapping with `uptime_s` and `stages` tells of, or None if that makes no sense."""
    if not isinstance(value, dict):
        return None
    uptime, entries = _seconds(value.get("uptime_s"), LONGEST), value.get("stages")
    if uptime is None or not isinstance(entries, list | tuple):
        return None
    found: dict[str, Stage] = {}
    for entry in entries[: 2 * len(STAGES)]:
        stage = _stage(entry, uptime)
        if stage is not None:
            found.setdefault(stage.name, stage)
    ordered = sorted(found.values(), key=lambda stage: (stage.start_s, list(STAGES).index(stage.name)))
    return Boot(uptime, tuple(ordered)) if ordered else None


def _stage(entry: object, uptime: float) -> Stage | None:
    if not isinstance(entry, dict):
        return None
    name = entry.get("name")
    start, end = (_seconds(entry.get(key), uptime + SLACK) for key in ("start_s", "end_s"))
    if not isinstance(name, str) or name not in STAGES or start is None or end is None or end < start:
        return None
    return Stage(name, start, end)


def _seconds(value: object, largest: float) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= largest:
        return None
    return round(float(value), 3) if math.isfinite(value) else None
