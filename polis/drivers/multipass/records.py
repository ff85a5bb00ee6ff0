"""What the client prints, as typed records. Unknown keys are ignored: 1.17 has more of them."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import Any

from polis.drivers.base import Instance, InstanceState
from polis.drivers.toolcalls import Unreadable

STATES: dict[str, tuple[InstanceState, str]] = {
    "Running": (InstanceState.RUNNING, ""),
    "Stopped": (InstanceState.STOPPED, ""),
    "Deleted": (InstanceState.DELETED, "deleted, but not purged"),
    "Starting": (InstanceState.STARTING, ""),
    "Restarting": (InstanceState.STARTING, "restarting"),
    "Delayed Shutdown": (InstanceState.RUNNING, "a shutdown is scheduled"),
    "Suspending": (InstanceState.SUSPENDED, "suspending"),
    "Suspended": (InstanceState.SUSPENDED, ""),
    "Unknown": (InstanceState.UNKNOWN, "booting, or lost: only time tells"),
    "Unavailable": (InstanceState.UNKNOWN, "its zone is not available"),
}
"""Every string of format_utils.cpp in 1.16 and 1.17. On QEMU each boot shows Unknown until SSH answers."""


@dataclass(frozen=True)
class Listed:
    """One row of `list`. `state` is the tool's own word."""

    name: str
    state: str
    ipv4: tuple[str, ...] = ()
    release: str = ""

    def instance(self, driver: str) -> Instance:
        """Return the instance in the driver's terms."""
        state, detail = STATES.get(self.state, (InstanceState.UNKNOWN, f"Multipass calls it {self.state}"))
        return Instance(driver, self.name, state, ipv4=self.ipv4, detail=detail)


@dataclass(frozen=True)
class Versions:
    """`daemon` is empty if it did not answer, or did not let this client in: `version` ends with 0 all the same."""

    client: str
    daemon: str = ""

    def older_than(self, minimum: tuple[int, ...]) -> str:
        """Return the first of the two that is older, or an empty string; suffixes such as `+mac` do not count."""
        return next((version for version in (self.client, self.daemon) if _older(version, minimum)), "")


def listed(text: str) -> tuple[Listed, ...]:
    """Return the instances of `list --format json`, deleted ones too. Raises Unreadable."""
    rows = _object(text).get("list")
    if not isinstance(rows, list):
        raise Unreadable("`list` names no list")
    return tuple(_listed(row) for row in rows)


def versions(text: str) -> Versions:
    """Return what `version --format json` says. Raises Unreadable."""
    found = _object(text)
    if "multipass" not in found:
        raise Unreadable("`version` names no version")
    return Versions(str(found["multipass"]), str(found.get("multipassd") or ""))


def details(text: str, name: str) -> dict[str, Any]:
    """Return the entry of one instance in `info --format json`, as it is. Raises Unreadable."""
    found = _object(text).get("info")
    entry = found.get(name) if isinstance(found, dict) else None
    if not isinstance(entry, dict):
        raise Unreadable(f"`info` does not tell of {name}")
    return entry


def _listed(row: object) -> Listed:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not isinstance(row.get("state"), str):
        raise Unreadable("an entry of `list` has no name or no state")
    addresses = row.get("ipv4", [])
    known = tuple(str(each) for each in addresses if _is_ipv4(each)) if isinstance(addresses, list) else ()
    return Listed(row["name"], row["state"], known, str(row.get("release", "")))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return value


def _is_ipv4(text: object) -> bool:
    # A running instance without a lease has the address "N/A".
    try:
        return ipaddress.ip_address(str(text)).version == 4  # noqa: PLR2004 -- IPv4
    except ValueError:
        return False


def _older(version: str, minimum: tuple[int, ...]) -> bool:
    found = re.match(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", version)
    return found is not None and tuple(int(figure) for figure in found.groups()) < minimum
