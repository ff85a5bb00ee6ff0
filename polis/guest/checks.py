"""What must be true inside a guest: read from `checks.toml`, compared with what the guest reports."""

from __future__ import annotations

import functools
import time
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.guest.report import CheckResult


@dataclass(frozen=True)
class Check:
    """One property, the phase that it belongs to, why it is demanded, and what mends it."""

    name: str
    phase: Phase
    reason: str
    mend: str
    look: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A check that did not pass."""

    check: Check
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.check.name}: expected {self.expected}, saw {self.actual}"

    @property
    def advice(self) -> str:
        """Return all that there is to say about it: what was expected and seen, why it matters, what mends it."""
        return f"{self.check.name}: {self.detail}"

    @property
    def detail(self) -> str:
        """Return the same without the name."""
        return f"expected {self.expected}, saw {self.actual} ({self.check.reason}; mend: {self.check.mend})"


@functools.cache
def catalogue() -> tuple[Check, ...]:
    """Return all checks, in their order. They are TOML because every `status` reads them, and YAML takes far longer."""
    text = (resources.files("polis.guest") / "checks.toml").read_text(encoding="utf-8")
    return tuple(Check(**{**entry, "phase": Phase(entry["phase"])}) for entry in tomllib.loads(text)["check"])


def questions() -> dict[str, object]:
    """Return what the probe is asked: what to look at, and the host's time in seconds since the epoch."""
    return {"checks": [{"name": check.name, "look": check.look} for check in catalogue()], "sent": time.time()}


def failures(results: Sequence[CheckResult], phase: Phase) -> list[Failure]:
    """Return the checks of a phase that did not pass; one that the guest says nothing about did not."""
    found = {result.name: result for result in results}
    failed = []
    for check in catalogue():
        result = found.get(check.name)
        if check.phase is not phase or (result is not None and result.ok):
            continue
        expected, actual = (result.expected, result.actual) if result is not None else ("a result", "none")
        failed.append(Failure(check, expected, actual))
    return failed
