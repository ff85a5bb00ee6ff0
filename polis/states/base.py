"""What a phase is made of: how to judge its evidence, how to reach it, how to undo it (DESIGN section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.base import Driver, Hardware, LaunchRequest
    from polis.events import Event
    from polis.guest.session import Guest
    from polis.phase import Phase
    from polis.states.observation import Observation


@dataclass(frozen=True)
class Verdict:
    """Whether a phase's evidence was seen, and if not, in words, what is different.

    `recreate` says that only a new instance can change that, so it is never done silently. `remedy` is the next command
    to type where it is not `polis up`. `deferred` tells what is wanted otherwise and will change when the instance is
    next switched on, though the phase holds.
    """

    holds: bool
    reason: str = ""
    recreate: bool = False
    remedy: str = ""
    deferred: tuple[str, ...] = ()


HOLDS = Verdict(holds=True)


def lacks(reason: str, *, remedy: str = "") -> Verdict:
    """Return the verdict that the evidence is missing."""
    return Verdict(holds=False, reason=reason, remedy=remedy)


@dataclass(frozen=True)
class Workbench:
    """What every phase works with: a machine's driver and name, the guest on it, and somebody to tell."""

    name: str
    driver: Driver
    guest: Guest
    emit: Callable[[Event], None]
    timeout: float
    """Seconds that one phase may take."""


class State(Protocol):
    """One phase."""

    phase: Phase

    def fingerprint(self, observation: Observation) -> str:
        """Return the fingerprint of today's inputs."""
        ...

    def judge(self, observation: Observation) -> Verdict:
        """Return whether the phase holds, given that all phases below it do."""
        ...

    def has_traces(self, observation: Observation) -> bool:
        """Return whether there is anything that `leave` would remove."""
        ...

    def enter(self, observation: Observation) -> None:
        """Make the phase hold. May be called again after having been killed anywhere."""
        ...

    def leave(self, observation: Observation) -> None:
        """Undo what `enter` did; no-op if nothing of it is left."""
        ...


@runtime_checkable
class Returning(Protocol):
    """A phase that may be able to make everything what it was when it held for the first time."""

    def can_return(self, observation: Observation) -> bool:
        """Return whether it is."""
        ...

    def restore(self, observation: Observation) -> None:
        """Do it; the phase holds afterwards, and what came above it is gone without having been undone.

        May be called again after having been killed anywhere.
        """
        ...


class Birth(Protocol):
    """What an instance is created from."""

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of what cannot be changed without a new instance."""
        ...

    @property
    def hardware(self) -> Hardware:
        """Return what may change whenever the instance is switched on."""
        ...

    def request(self) -> LaunchRequest:
        """Return the driver's order. Raises ConfigurationError if a file it names is not acceptable."""
        ...
