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
    from polis.guest.report import GuestReport


@dataclass(frozen=True)
class Check:
    """One property, the phase that it belongs to, why it is demanded, and what mends it.

    `own_kernel` says that it is a property of the kernel: a guest without one of its own can neither have nor mend it.
    """

    name: str
    phase: Phase
    reason: str
    mend: str
    look: dict[str, Any]
    own_kernel: bool = False


@dataclass(frozen=True)
class Failure:
    """A check that did not pass; `excused` says that it does not apply, for only the server could make it pass."""

    check: Check
    expected: str
    actual: str
    excused: bool = False

    def __str__(self) -> str:
        return f"{self.check.name}: expected {self.expected}, saw {self.actual}"

    @property
    def advice(self) -> str:
        """Return all that there is to say about it: what was expected and seen, why it matters, what mends it."""
        return f"{self.check.name}: {self.detail}"

    @property
    def detail(self) -> str:
        """Return the same without the name."""
        if self.excused:
            return (
                f"a system container has its server's kernel: expected {self.expected}, saw {self.actual} "
                f"({self.check.reason})"
            )
        return f"expected {self.expected}, saw {self.actual} ({self.check.reason}; mend: {self.check.mend})"


@functools.cache
def catalogue() -> tuple[Check, ...]:
    """Return all checks, in their order. They are TOML because every `status` reads them, and YAML takes far longer."""
    text = (resources.files("polis.guest") / "checks.toml").read_text(encoding="utf-8")
    return tuple(Check(**{**entry, "phase": Phase(entry["phase"])}) for entry in tomllib.loads(text)["check"])


def questions() -> dict[str, object]:
    """Return what the probe is asked: what to look at, and the host's time in seconds since the epoch."""
    return {"checks": [{"name": check.name, "look": check.look} for check in catalogue()], "sent": time.time()}


def failures(report: GuestReport, phase: Phase) -> list[Failure]:
    """Return the checks of a phase that apply and did not pass; one that the guest says nothing about did not."""
    return [each for each in _unmet(report) if each.check.phase is phase and not each.excused]


def inapplicable(report: GuestReport) -> list[Failure]:
    """Return the checks that did not pass and are not demanded, because the kernel is not the guest's own."""
    return [each for each in _unmet(report) if each.excused]


def _unmet(report: GuestReport) -> list[Failure]:
    found = {result.name: result for result in report.checks}
    unmet = []
    for check in catalogue():
        result = found.get(check.name)
        if result is None:
            unmet.append(Failure(check, "a result", "none"))
        elif not result.ok:
            excused = check.own_kernel and report.shared_kernel
            unmet.append(Failure(check, result.expected, result.actual, excused=excused))
    return unmet
