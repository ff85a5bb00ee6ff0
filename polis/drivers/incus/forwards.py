"""Port forwards: proxy devices of a container, from the loopback of its server to its own.

The tool itself names no host for them but the server, so they are of use only where that is this machine. A VM's would
need an address that is fixed, which is the site's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.drivers.base import Forward
from polis.errors import HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polis.drivers.incus.tool import Tool

PREFIX = "polis-port-"
"""How the names of the devices begin; the port of the server follows, for it can be forwarded once only."""

LOOPBACK = "tcp:127.0.0.1:"

Devices = dict[str, dict[str, str]]


def devices(forwards: Iterable[Forward]) -> Devices:
    """Return the devices of these forwards, by their names."""
    return {
        f"{PREFIX}{each.host}": {
            "type": "proxy",
            "listen": f"{LOOPBACK}{each.host}",
            "connect": f"{LOOPBACK}{each.guest}",
        }
        for each in forwards
    }


def read(found: object) -> tuple[Forward, ...]:
    """Return the forwards among an instance's devices; what is not as we make them is none of ours."""
    entries = found.items() if isinstance(found, dict) else ()
    ours = [entry for name, entry in entries if str(name).startswith(PREFIX) and isinstance(entry, dict)]
    pairs = [(_port(entry.get("listen")), _port(entry.get("connect"))) for entry in ours]
    return tuple(Forward(host, guest) for host, guest in pairs if host and guest)


def refusal(wanted: Iterable[Forward], tool: Tool, why: str) -> HostUnsuitable:
    """Return the error for forwards that cannot be."""
    return HostUnsuitable(
        f"ports cannot be forwarded to this instance of {tool.title}: {why}",
        cause=", ".join(f"{each.host} to {each.guest}" for each in wanted),
        remains="nothing was changed",
        hint="leave `ports` out: the instance has an address of its own, which `polis status` shows",
    )


def _port(place: object) -> int:
    figure = str(place).removeprefix(LOOPBACK)
    return int(figure) if figure.isdecimal() and len(figure) <= len("65535") else 0
