"""How far the evidence reaches: the judgement that `status`, `up` and `reset` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.states.base import State, Verdict
    from polis.states.observation import Observation


@dataclass(frozen=True)
class Assessment:
    """The highest phase that holds with all below it, and why the next one does not."""

    held: Phase
    verdict: Verdict | None
    observation: Observation

    @property
    def obstacle(self) -> str:
        """Return in words why the next phase does not hold."""
        return self.verdict.reason if self.verdict is not None else ""


def assess(states: Sequence[State], observation: Observation) -> Assessment:
    """Return how far the evidence reaches."""
    held = Phase.ABSENT
    for state in states[1:]:
        verdict = state.judge(observation)
        if not verdict.holds:
            return Assessment(held, verdict, observation)
        held = state.phase
    return Assessment(held, None, observation)
