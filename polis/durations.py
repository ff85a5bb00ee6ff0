"""Seconds as people read them."""

from __future__ import annotations

MINUTE = 60
HOUR = 3600


def readable(seconds: float | None) -> str:
    """Return a duration in the two units that matter: `9.5 s`, `1 min 15 s`, `2 h 3 min`; nothing for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{seconds:.1f} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
