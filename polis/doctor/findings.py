"""What an examination finds, and what that means for the exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from polis.errors import ExitCode

Fix = Callable[[], str]
"""Mends something safely and returns in words what was done. Raises PolisError."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was seen, why it matters, what to type.

    `exit_code` is what `polis doctor` ends with if this is a problem.
    """

    name: str
    level: Level
    what: str
    why: str = ""
    mend: str = ""
    fix: Fix | None = field(default=None, compare=False, repr=False)
    exit_code: ExitCode = ExitCode.HOST

    def payload(self) -> dict[str, Any]:
        """Return the finding for scripts."""
        return {
            "name": self.name,
            "level": self.level.value,
            "what": self.what,
            "why": self.why,
            "mend": self.mend,
            "fixable": self.fix is not None,
        }


def ok(name: str, what: str) -> Finding:
    """Return that all is well with it."""
    return Finding(name, Level.OK, what)


def warning(name: str, what: str, *, why: str, mend: str, fix: Fix | None = None) -> Finding:
    """Return something that may do harm."""
    return Finding(name, Level.WARNING, what, why, mend, fix)


def problem(name: str, what: str, *, why: str, mend: str, fix: Fix | None = None) -> Finding:
    """Return something that `polis up` would fail at."""
    return Finding(name, Level.PROBLEM, what, why, mend, fix)


def exit_code(findings: list[Finding]) -> ExitCode:
    """Return 69 if the machine is the trouble, else 70 if the workspace is, else 0."""
    codes = {finding.exit_code for finding in findings if finding.level is Level.PROBLEM}
    return min(codes, default=ExitCode.OK)
