"""The VM's serial console, where the driver keeps one: there whether or not the VM is on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from polis.drivers.base import InstanceState
from polis.errors import GuestUnreachable, NotFound
from polis.logs.lines import Growing, plain, tail
from polis.store import explain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polis.guest.session import Guest
    from polis.logs.lines import Take

LIMIT = 2 * 1024 * 1024
"""Bytes read from the end."""

INTERVAL = 0.5
"""Seconds between two looks at the file."""

LOOKS = 10
"""How many of them until the driver is asked whether the VM is still on."""


def read(guest: Guest, lines: int, take: Take) -> int:
    """Hand the last lines to `take`; return where the file ended. Raises NotFound if the driver keeps no console."""
    path = _path(guest)
    try:
        found, end = tail(path, lines, limit=LIMIT)
    except OSError as error:
        raise explain(error, path) from error
    for line in found:
        take(plain(line))
    return end


def follow(guest: Guest, begin: int, take: Take, pause: Callable[[float], None] = time.sleep) -> None:
    """Hand each new line to `take` for as long as the VM is on. Raises GuestUnreachable when it no longer is."""
    growing = Growing(_path(guest), begin)
    while True:
        state = _state(guest)
        for _ in range(LOOKS):
            for line in growing.read():
                take(plain(line))
            if state not in (InstanceState.RUNNING, InstanceState.STARTING):
                raise GuestUnreachable(f"the VM is {state}", hint="`polis up` switches it on")
            pause(INTERVAL)


def _state(guest: Guest) -> str:
    instance = guest.driver.find(name=guest.name)
    return "gone" if instance is None else instance.state


def _path(guest: Guest) -> Path:
    found = guest.driver.diagnose(name=guest.name)
    if found.log is None:
        raise NotFound(
            f"the {guest.driver.name} driver keeps no console of {guest.name}",
            cause="\n".join(plain(line) for line in found.lines),
            hint="`polis logs --guest` shows the VM's journal while it is on",
        )
    return found.log
