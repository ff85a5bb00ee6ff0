"""How long what may take, in one place."""

from __future__ import annotations

from dataclasses import dataclass

AWAY = frozenset({"daemon-down", "remote-away"})
"""Failures of a server that restarts, or a network that is back in a moment."""


@dataclass(frozen=True)
class Patience:
    """Seconds."""

    call: float = 60.0
    """A question: hundredths of a second here, but a cluster may elect a leader meanwhile."""

    glance: float = 5.0
    """How long `find` bridges a server that is restarting."""

    daemon: float = 30.0
    """The same for what changes something."""

    look: float = 0.5
    """Between two looks at an instance that is coming up."""

    starting: float = 60.0
    """For switching an instance on: its init runs within seconds, and if its cluster member dies, no answer comes."""

    answer: float = 30.0
    """For a trivial guest command."""

    grace: float = 15.0
    """What a call may take beyond its command's own limit: connecting, and ending the command in the guest."""

    blocked: float = 120.0
    """For cutting off or removing an instance."""

    preparing: float = 600.0
    """For another's creation of an instance that is to be deleted: the server ends no creation before its time."""
