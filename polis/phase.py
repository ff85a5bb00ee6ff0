"""The six phases of a workspace, in the order in which they are reached (DESIGN section 3)."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """A fact about the world: each phase holds only on top of all those before it."""

    ABSENT = "absent"
    LAUNCHED = "launched"
    CONFIGURED = "configured"
    IMAGES_PULLED = "images-pulled"
    RUNNING = "running"
    HEALTHY = "healthy"

    @property
    def rank(self) -> int:
        """Return the place in the order, 0 for absent."""
        return ORDER.index(self)

    @property
    def above(self) -> tuple[Phase, ...]:
        """Return the phases after this one, nearest first."""
        return ORDER[self.rank + 1 :]


ORDER: tuple[Phase, ...] = tuple(Phase)
