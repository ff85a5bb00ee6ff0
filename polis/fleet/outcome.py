"""How a command ended for one member, and what that means for the whole."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from polis.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GRAVITY: Final = (
    ExitCode.OK,
    ExitCode.PENDING,
    # what time may mend
    ExitCode.TRANSIENT,
    ExitCode.LOCKED,
    # what somebody has to mend: in one guest, one instance, this machine, a file
    ExitCode.PROVISIONING,
    ExitCode.NOT_FOUND,
    ExitCode.HOST,
    ExitCode.CONFIGURATION,
    ExitCode.USAGE,
    # what somebody has to look into
    ExitCode.INTEGRITY,
    ExitCode.BUG,
    # the rest is not known, for it was not tried to the end
    ExitCode.READER_GONE,
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
)
"""Exit codes, the gravest last: a fleet's command ends with the gravest of its members'."""

_COMMAND = re.compile(r"`polis (?!fleet\b)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended for one member.

    `outcome` is the phase that was reached, `stopped`, `off` (it was already), `deleted`, `none` (there was nothing),
    `failed`, `interrupted`, `not-begun`, or `kept`: a rolling upgrade ended before it, so it has what it had.
    """

    member: str
    outcome: str
    exit_code: ExitCode = ExitCode.OK
    phase: str | None = None
    error: dict[str, Any] | None = None
    duration_s: float = 0.0
    driver_calls: int = 0
    driver_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Return whether it ended as it should."""
        return self.exit_code is ExitCode.OK

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "member": self.member,
            "outcome": self.outcome,
            "phase": self.phase,
            "exit_code": int(self.exit_code),
            "error": self.error,
            "duration_s": round(self.duration_s, 3),
            "driver_calls": self.driver_calls,
            "driver_s": round(self.driver_s, 3),
        }


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the gravest of some exit codes.

    >>> worst([ExitCode.TRANSIENT, ExitCode.OK, ExitCode.PROVISIONING]).name
    'PROVISIONING'
    """
    return max(codes, key=GRAVITY.index, default=ExitCode.OK)


def for_member(error: dict[str, Any], file: Path, member: str) -> dict[str, Any]:
    """Return a described error whose next command is for this member, with the configuration that it has."""
    return {**error, "hint": _COMMAND.sub(f"`{command(file, member)} ", error["hint"])}


def command(file: Path, member: str) -> str:
    """Return how a command line for one member begins."""
    return shlex.join(["polis", "--config", str(file), "-n", member])
