"""Absent: the driver finds no instance. The floor on which everything stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.phase import Phase
from polis.states.base import HOLDS, Verdict

if TYPE_CHECKING:
    from polis.states.observation import Observation


class Absent:
    """The phase below all others; nothing has to be true for it."""

    phase = Phase.ABSENT

    def fingerprint(self, observation: Observation) -> str:  # noqa: ARG002 -- the protocol of all states
        """Return the empty fingerprint: nothing is built from nothing."""
        return ""

    def judge(self, observation: Observation) -> Verdict:  # noqa: ARG002 -- the protocol of all states
        """Return that it holds: whatever is there, nothing may be claimed of it."""
        return HOLDS

    def has_traces(self, observation: Observation) -> bool:  # noqa: ARG002 -- the protocol of all states
        """Return False: absence leaves nothing."""
        return False

    def enter(self, observation: Observation) -> None:
        """Do nothing: absence is reached by leaving `launched`."""

    def leave(self, observation: Observation) -> None:
        """Do nothing."""
