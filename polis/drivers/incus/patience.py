"""How long what may take, in one place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from polis.drivers.incus.failures import ToolFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Result = TypeVar("Result")

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

    answer: float = 30.0
    """For a trivial guest command."""

    grace: float = 15.0
    """What a call may take beyond its command's own limit: connecting, and ending the command in the guest."""

    blocked: float = 120.0
    """For cutting off or removing an instance."""

    preparing: float = 600.0
    """For another's creation of an instance that is to be deleted: the server ends no creation before its time."""


def patiently(
    action: Callable[[], Result],
    rows: Collection[str],
    seconds: float,
    *,
    pause: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Return the action's result, trying again for `seconds` while it fails with one of `rows`. Raises ToolFailure."""
    until = clock() + seconds
    while True:
        try:
            return action()
        except ToolFailure as failed:
            if failed.name not in rows or clock() + pause > until:
                raise
        sleep(pause)
