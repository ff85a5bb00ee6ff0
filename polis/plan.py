"""What `up` would do, phase by phase, and why: shown by `polis plan`, carried out by `polis up` (DESIGN section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from polis.phase import ORDER, Phase

if TYPE_CHECKING:
    from polis.assessment import Assessment


class Action(StrEnum):
    """What happens to a phase."""

    KEEP = "keep"
    """It holds and is recorded."""
    RECOGNISE = "recognise"
    """It holds; only the record does not know yet."""
    ENTER = "enter"
    """It does not hold, and is reached by acting."""
    FOLLOW = "follow"
    """It stands on a phase that is entered first; only then is seen whether anything is to be done for it."""
    RECREATE = "recreate"
    """Only a new instance can make it hold, and that is never made silently."""


@dataclass(frozen=True)
class Step:
    """One phase's part of a plan."""

    phase: Phase
    action: Action
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """The way from what holds to the target. `drift` says why the record claims more than can be observed.

    `remedy` is what the user has to type before `up` can go on, if anything.

    `deferred` are changes that take effect when the instance is next switched on: no phase has to be entered for them,
    and nothing is switched off for their sake. `serves` says that all services that were placed last are up now.

    `source` is what a new instance would begin as, if it is not the image: in words, for people.
    """

    target: Phase
    recorded: Phase
    held: Phase
    steps: tuple[Step, ...]
    drift: str = ""
    remedy: str = ""
    deferred: tuple[str, ...] = ()
    is_absent: bool = False
    source: str = ""
    serves: bool = False

    @property
    def launches(self) -> bool:
        """Return whether the plan makes a new instance."""
        first = self.steps[0] if self.steps else None
        return first is not None and (
            first.action is Action.RECREATE or (first.action is Action.ENTER and self.is_absent)
        )

    @property
    def next(self) -> Step | None:
        """Return the first step for which something is to be done, or None if the target is reached."""
        return next((step for step in self.steps if step.action is not Action.KEEP), None)

    @property
    def recreate(self) -> bool:
        """Return whether the plan needs a new instance."""
        return any(step.action is Action.RECREATE for step in self.steps)

    @property
    def is_pending(self) -> bool:
        """Return whether anything differs from what is wanted."""
        return self.next is not None or bool(self.deferred)

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        return {
            "schema": 1,
            "target": self.target.value,
            "phase": self.held.value,
            "recorded_phase": self.recorded.value,
            "pending": self.is_pending,
            "recreate": self.recreate,
            "steps": [
                {"phase": step.phase.value, "action": step.action.value, "reason": step.reason} for step in self.steps
            ],
            "drift": self.drift or None,
            "remedy": self.remedy or None,
            "deferred": list(self.deferred),
            "source": self.source or None,
            "serves": self.serves,
        }


def make(seen: Assessment, *, recorded: Phase, target: Phase) -> Plan:
    """Return the plan for what was seen. Pure: it looks at nothing and changes nothing."""
    drift = seen.obstacle if seen.held.rank < recorded.rank else ""
    steps = tuple(_step(phase, seen, recorded) for phase in ORDER[1 : target.rank + 1])
    remedy = seen.verdict.remedy if seen.verdict is not None and seen.held.rank < target.rank else ""
    return Plan(
        target,
        recorded,
        seen.held,
        steps,
        drift=drift,
        remedy=remedy,
        deferred=seen.deferred,
        is_absent=seen.observation.instance is None,
        serves=seen.observation.serves,
    )


def anew(seen: Assessment, *, recorded: Phase, target: Phase) -> Plan:
    """Return the plan of `up --recreate` for an instance that is there."""
    new = Phase.LAUNCHED
    reason = seen.obstacle if seen.verdict is not None and seen.verdict.recreate else "asked for"
    steps = (
        Step(new, Action.RECREATE, reason),
        *(Step(phase, Action.FOLLOW, _after(new)) for phase in ORDER[new.rank + 1 : target.rank + 1]),
    )
    return Plan(target, recorded, seen.held, steps, serves=seen.observation.serves)


def _step(phase: Phase, seen: Assessment, recorded: Phase) -> Step:
    if phase.rank <= seen.held.rank:
        return Step(phase, Action.KEEP if phase.rank <= recorded.rank else Action.RECOGNISE)
    entered = seen.held.above[0]
    if phase is not entered:
        return Step(phase, Action.FOLLOW, _after(entered))
    recreate = seen.verdict is not None and seen.verdict.recreate
    return Step(phase, Action.RECREATE if recreate else Action.ENTER, seen.obstacle)


def _after(phase: Phase) -> str:
    return f"as far as needed, once {phase} holds"
