"""Which of the two commands there is: Incus and its ancestor LXD take the same verbs, and say the same things."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1024**2


@dataclass(frozen=True)
class Tool:
    """One of the two. `command` is the client's, `title` what people call it, `group` who may use its socket."""

    command: str
    title: str
    group: str
    service: str
    setup: str
    server: str
    """Where its releases of Ubuntu are: a format for the release's number."""
    prefix: str
    """How the names of its variables begin."""
    protocol: str
    """What it calls its own interface in the settings of a remote."""
    directories: tuple[str, ...]
    """Where the local server's socket may be."""
    configurations: tuple[str, ...]
    """Where in the user's home its client's settings may be."""

    def hint(self, text: str) -> str:
        """Return a hint of the table in this tool's words."""
        return text.format(
            command=self.command, title=self.title, group=self.group, service=self.service, setup=self.setup
        )


INCUS = Tool(
    "incus",
    "Incus",
    "incus-admin",
    service="sudo systemctl restart incus",
    setup="sudo incus admin init",
    server="images:ubuntu/{}/cloud",
    prefix="INCUS",
    protocol="incus",
    directories=("/run/incus", "/var/lib/incus"),
    configurations=(".config/incus",),
)
LXD = Tool(
    "lxc",
    "LXD",
    "lxd",
    service="sudo systemctl restart lxd",
    setup="sudo lxd init",
    server="ubuntu:{}",
    prefix="LXD",
    protocol="lxd",
    directories=("/var/snap/lxd/common/lxd", "/var/lib/lxd"),
    configurations=("snap/lxd/common/config", ".config/lxc"),
)


def detect(which: Callable[[str], str | None] = shutil.which) -> Tool:
    """Return the tool of this machine: Incus where both are, and where neither is."""
    if which(INCUS.command) or not (path := which(LXD.command)):
        return INCUS
    return dataclasses.replace(LXD, service="sudo snap restart lxd") if path.startswith("/snap/") else LXD


def size(figure: int) -> str:
    """Return bytes as both write sizes: whole MiB, rounded up."""
    return f"{-(-figure // MEBIBYTE)}MiB"


_UNITS = {"": 1, "B": 1, "bit": 1}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("kMGTPE", 1)}
_UNITS |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTPE", 1)}


def size_of(text: str) -> int | None:
    """Return the bytes that a size means, or None if it is none (a percentage, nothing)."""
    figure = text.rstrip("BbitkKMGTPE")
    unit = _UNITS.get(text[len(figure) :])
    return int(figure) * unit if figure.isdecimal() and unit is not None else None
