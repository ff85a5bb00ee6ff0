"""Reading one value of a journal's entry; what makes no sense is unknown, for anyone may have edited the file."""

from __future__ import annotations

from typing import Any

from polis.phase import ORDER, Phase

LARGEST = 2**31
"""Above this, a figure is no number of ours: no pid, no count, and (in seconds) no duration."""

_PHASES = frozenset(phase.value for phase in ORDER)


def text(entry: dict[str, Any], key: str) -> str:
    """Return a text that any output can hold, or nothing."""
    value = entry.get(key)
    # Half of a surrogate pair is possible in JSON and in no output.
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def whole(entry: dict[str, Any], key: str) -> int | None:
    """Return a count, or None."""
    value = entry.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST else None


def seconds(entry: dict[str, Any], key: str = "duration_s") -> float | None:
    """Return a duration, or None."""
    value = entry.get(key)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST
    return float(value) if known and value is not None else None


def phase(entry: dict[str, Any]) -> str | None:
    """Return the phase that an entry is about, or None."""
    value = entry.get("phase")
    return Phase(value).value if isinstance(value, str) and value in _PHASES else None
