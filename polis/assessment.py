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
    """The highest phase that holds with all below it, and why the next one does not.

    `deferred` is what will change when the instance is next switched on.
    """

    held: Phase
    verdict: Verdict | None
    observation: Observation
    deferred: tuple[str, ...] = ()

    @property
    def obstacle(self) -> str:
        """Return in words why the next phase does not hold."""
        return self.verdict.reason if self.verdict is not None else ""


def assess(states: Sequence[State], observation: Observation) -> Assessment:
    """Return how far the evidence reaches."""
    held = Phase.ABSENT
    deferred: list[str] = []
    for state in states[1:]:
        verdict = state.judge(observation)
        if not verdict.holds:
            return Assessment(held, verdict, observation, tuple(deferred))
        held = state.phase
        deferred += verdict.deferred
    return Assessment(held, None, observation, tuple(deferred))
