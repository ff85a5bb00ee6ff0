"""The state machine of a workspace as something to draw: its phases, its moves, and where the workspace is."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from polis import machine
from polis.phase import ORDER, Phase


@dataclass(frozen=True)
class Arrow:
    """One transition of the machine."""

    trigger: str
    source: Phase
    dest: Phase

    @property
    def move(self) -> str:
        """Return what kind of move it is: a trigger without the phase that it falls to."""
        return self.trigger.partition("_")[0]

    def document(self) -> dict[str, str]:
        """Return the transition as JSON-ready values."""
        return {"trigger": self.trigger, "source": self.source.value, "dest": self.dest.value}


@dataclass(frozen=True)
class Diagram:
    """The machine, and a workspace in it. `drift` holds the phases that are lost and why, `error` the last failure.

    Both are texts from outside: a guest's, a registry's.
    """

    workspace: str
    phase: Phase
    drift: dict[Phase, str] = field(default_factory=dict)
    failed: Phase | None = None
    error: str = ""

    @property
    def states(self) -> tuple[Phase, ...]:
        """Return all phases in their order."""
        return ORDER

    @property
    def arrows(self) -> tuple[Arrow, ...]:
        """Return all transitions, as the machine is wired."""
        return _arrows()

    def moves(self) -> dict[tuple[Phase, Phase], list[str]]:
        """Return for each pair of phases the kinds of moves from the first to the second."""
        found: dict[tuple[Phase, Phase], list[str]] = {}
        for arrow in self.arrows:
            found.setdefault((arrow.source, arrow.dest), []).append(arrow.move)
        return found

    def document(self) -> dict[str, Any]:
        """Return the diagram as JSON-ready values."""
        return {
            "schema": 1,
            "workspace": self.workspace,
            "phase": self.phase.value,
            "states": [phase.value for phase in self.states],
            "transitions": [arrow.document() for arrow in self.arrows],
            "drift": [{"phase": phase.value, "reason": reason} for phase, reason in self.drift.items()],
            "last_error": {"phase": self.failed.value, "message": self.error} if self.failed is not None else None,
        }


@functools.cache
def _arrows() -> tuple[Arrow, ...]:
    return tuple(Arrow(*parts) for parts in machine.arrows())


def of(status: dict[str, Any]) -> Diagram:
    """Return the diagram of a workspace from what `polis status --json` says of it."""
    error = status["last_error"]
    return Diagram(
        workspace=status["workspace"],
        phase=Phase(status["phase"]),
        drift={Phase(entry["phase"]): entry["reason"] for entry in status["drift"]},
        failed=Phase(error["phase"]) if error is not None else None,
        error=error["message"] if error is not None else "",
    )
