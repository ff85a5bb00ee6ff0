"""How long what may take, in one place."""

from __future__ import annotations

from dataclasses import dataclass

AWAY = frozenset({"daemon-down", "no-root-cert"})
"""Failures of a daemon that is starting or restarting: asked again for a while."""


@dataclass(frozen=True)
class Patience:
    """Seconds. The defaults follow what was observed of 1.16.3 (facts/multipass-observed.md)."""

    call: float = 60.0
    """`list`, `version`: tenths of a second, but they wait while the daemon is busy with a `stop`."""

    glance: float = 5.0
    """How long `find` bridges a daemon that is restarting."""

    daemon: float = 60.0
    """The same for what changes something: a restart takes 5 to 60 s."""

    look: float = 1.0
    """Between two looks at an instance that is coming up."""

    lost: float = 120.0
    """How long Unknown must last, with no client at work, before it is believed: every boot shows it, some for 45 s."""

    answer: float = 30.0
    """For a trivial guest command."""

    grace: float = 15.0
    """What a call may take beyond its command's own limit: connecting, and ending the command in the guest."""

    shutdown: float = 60.0
    """For the guest of a lost instance to switch off by itself; one that has booted takes 3 s."""

    blocked: float = 330.0
    """For a forced stop: one that the guest ignored blocks the daemon for 300 s, and the next one waits for that."""

    preparing: float = 120.0
    """For an instance that is still being prepared to turn up, or to be given up by the daemon."""

    refresh: float = 120.0
    """`find --force-update`: it fetches every remote's list."""

    margin: int = 600
    """What the daemon may wait longer than we do: its own time-out leaves the instance Unknown for good."""
