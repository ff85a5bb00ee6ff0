"""What the server says of an instance (`GET /1.0/instances/<name>`), as typed records. Unknown keys are ignored."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polis.drivers.base import Hardware, Instance, InstanceKind, InstanceState
from polis.drivers.incus import forwards
from polis.drivers.incus.tool import size_of
from polis.drivers.toolcalls import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWNER = "user.polis.owner"
WORKSPACE = "user.polis.workspace"
USER = "user.polis.user"
"""Who runs commands in it: the default user of the image that it was made from."""
FINGERPRINT = "user.polis.fingerprint"
"""What the instance was created from; snapshots inherit it, for they are copies of the configuration too."""
TEMPLATE = "user.polis.template"
"""The same in sixteen digits, which the server can search for: on instances, and as a property of templates."""
COMPLETE = "user.polis.snapshot."
"""And a label: when the snapshot was taken. Written when it is complete: a server that dies leaves half of one."""
CLOSED = "user.polis.closed"
"""On an instance that is somebody's: nothing more is taken of it. Its snapshots do not have it."""

USUAL_USER = "ubuntu"

CONTAINER = "container"
"""How the server calls a system container."""

NEVER = "1970-01-01"
"""How `last_used_at` begins for an instance that was never started."""

AWAY = "the server cannot tell: its cluster member may be away"
STATES: dict[str, tuple[InstanceState, str]] = {
    "Running": (InstanceState.RUNNING, ""),
    "Ready": (InstanceState.RUNNING, ""),
    "Started": (InstanceState.RUNNING, ""),
    "Thawed": (InstanceState.RUNNING, ""),
    "Stopped": (InstanceState.STOPPED, ""),
    "Pending": (InstanceState.STARTING, ""),
    "Starting": (InstanceState.STARTING, ""),
    "Frozen": (InstanceState.SUSPENDED, ""),
    "Freezing": (InstanceState.SUSPENDED, "freezing"),
    "Stopping": (InstanceState.UNKNOWN, "stopping"),
    "Cancelling": (InstanceState.UNKNOWN, "cancelling"),
    "Aborting": (InstanceState.UNKNOWN, "aborting"),
    "Error": (InstanceState.UNKNOWN, AWAY),
}
"""Every word of the status codes 100 to 199 (shared/api/status_code.go), the same in LXD 5.0 and Incus 6."""


@dataclass(frozen=True)
class Seen:
    """An instance, with what only this driver wants to know.

    `fresh` says that it was never started; `kind` is virtual-machine or container, `location` the cluster's member,
    `user` whom commands run as. `fingerprint` is what it was created from, `taken` has the time of each snapshot of it,
    complete or not.
    """

    instance: Instance
    fresh: bool
    kind: str
    location: str
    user: str
    fingerprint: str = ""
    taken: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    closed: bool = False

    @property
    def is_container(self) -> bool:
        """Return whether it is a system container."""
        return self.kind == CONTAINER


@dataclass(frozen=True)
class Server:
    """What the server is, and whether it makes VMs."""

    name: str
    version: str
    vms: bool
    clustered: bool


def seen(text: str, driver: str) -> Seen:
    """Return the instance. Raises Unreadable."""
    return _seen(_object(text), driver)


def every(text: str, driver: str) -> tuple[Seen, ...]:
    """Return all instances of `GET /1.0/instances?recursion=2`; one that is not told of whole is left out.

    Raises Unreadable.
    """
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if not isinstance(rows, list):
        raise Unreadable("instances that are no list")
    found = []
    for row in rows:
        with contextlib.suppress(Unreadable):
            found.append(_seen(row if isinstance(row, dict) else {}, driver))
    return tuple(found)


def _seen(found: dict[str, Any], driver: str) -> Seen:
    name, status = found.get("name"), found.get("status")
    config = found.get("expanded_config") or found.get("config")
    if not isinstance(name, str) or not isinstance(status, str) or not isinstance(config, dict):
        raise Unreadable("an instance without name, status or configuration")
    state, detail = STATES.get(status, (InstanceState.UNKNOWN, f"its server calls it {status}"))
    instance = Instance(
        driver,
        name,
        state,
        owner=str(config.get(OWNER) or "") or None,
        ipv4=_addresses(found.get("state")),
        detail=detail,
        hardware=_hardware(config, found.get("expanded_devices")),
        kind=InstanceKind.CONTAINER if found.get("type") == CONTAINER else InstanceKind.VM,
        snapshots=dict(_snapshots(found.get("snapshots"), config)),
        template=str(config.get("volatile.base_image", "")) if config.get(f"image.{TEMPLATE}") else "",
    )
    return Seen(
        instance,
        fresh=str(found.get("last_used_at", "")).startswith(NEVER),
        kind=str(found.get("type", "")),
        location=str(found.get("location", "")),
        user=str(config.get(USER) or USUAL_USER),
        fingerprint=str(config.get(FINGERPRINT) or ""),
        taken=_taken(found.get("snapshots")),
        created=str(found.get("created_at", "")),
        closed=bool(config.get(CLOSED)),
    )


@dataclass(frozen=True)
class StoredImage:
    """An image that Polis made. `made` is when, as the server writes times (RFC 3339, UTC)."""

    id: str
    kind: str
    fingerprint: str
    made: str


def images(text: str) -> tuple[StoredImage, ...]:
    """Return the images of `GET /1.0/images?recursion=1` that Polis made, newest first. Raises Unreadable."""
    found = []
    for entry in _list(text):
        properties = entry.get("properties") or {}
        if isinstance(properties, dict) and properties.get(TEMPLATE):
            id_, kind, made = (str(entry.get(key, "")) for key in ("fingerprint", "type", "uploaded_at"))
            found.append(StoredImage(id_, kind, str(properties.get(FINGERPRINT, "")), made))
    return tuple(sorted(found, key=lambda image: image.made, reverse=True))


def creations(text: str) -> dict[str, str]:
    """Return when each instance of `GET /1.0/instances?recursion=1` was created, by name. Raises Unreadable."""
    return {str(entry.get("name", "")): str(entry.get("created_at", "")) for entry in _list(text)}


def server(text: str) -> Server:
    """Return what `GET /1.0` says. Raises Unreadable."""
    environment = _object(text).get("environment")
    if not isinstance(environment, dict):
        raise Unreadable("the server does not describe itself")
    return Server(
        name=str(environment.get("server", "")),
        version=str(environment.get("server_version", "")),
        vms="qemu" in str(environment.get("driver", "")).split(" | "),
        clustered=bool(environment.get("server_clustered")),
    )


def creating(text: str, name: str) -> bool:
    """Return whether the operations of `GET /1.0/operations?recursion=1` create this instance. Raises Unreadable."""
    running = _object(text or "{}").get("running") or []
    if not isinstance(running, list):
        raise Unreadable("running operations that are no list")
    for operation in running:
        if not isinstance(operation, dict):
            continue
        resources = operation.get("resources")
        named = (resources.get("instances") or []) if isinstance(resources, dict) else []
        if "reating instance" in str(operation.get("description")) and any(_is(path, name) for path in named):
            return True
    return False


def _is(path: object, name: str) -> bool:
    return str(path).partition("?")[0].rpartition("/")[2] == name


def _hardware(config: dict[str, Any], devices: object) -> Hardware | None:
    root = devices.get("root") if isinstance(devices, dict) else None
    disk = size_of(str(root.get("size", ""))) if isinstance(root, dict) else None
    memory, cpus = size_of(str(config.get("limits.memory", ""))), str(config.get("limits.cpu", ""))
    if disk is None or memory is None or not cpus.isdecimal():
        return None
    return Hardware(int(cpus), memory, disk, forwards.read(devices))


def _taken(listed: object) -> dict[str, str]:
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    # Incus and LXD name them alone here; with the instance before a slash elsewhere.
    return {str(entry.get("name", "")).rpartition("/")[2]: str(entry.get("created_at", "")) for entry in entries}


def _snapshots(listed: object, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and fingerprint of each snapshot that is complete."""
    for entry in listed if isinstance(listed, list) else ():
        label = str(entry.get("name", "")).rpartition("/")[2] if isinstance(entry, dict) else ""
        kept = entry.get("config") if label else None
        if isinstance(kept, dict) and kept.get(FINGERPRINT) and config.get(COMPLETE + label) == entry.get("created_at"):
            yield label, str(kept[FINGERPRINT])


def _list(text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text or "[]")
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Unreadable("not a list of JSON objects")
    return value


def _addresses(state: object) -> tuple[str, ...]:
    """Return the addresses of the interfaces that the server gave it; those of bridges inside it have no other end."""
    networks = (state.get("network") or {}) if isinstance(state, dict) else {}
    found = []
    for interface in networks.values() if isinstance(networks, dict) else ():
        if not interface.get("host_name"):
            continue
        entries = interface.get("addresses") or []
        found += [each.get("address") for each in entries if each.get("scope") == "global"]
    return tuple(str(address) for address in found if _is_ipv4(address))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return value


def _is_ipv4(text: object) -> bool:
    try:
        return ipaddress.ip_address(str(text)).version == 4  # noqa: PLR2004 -- IPv4
    except ValueError:
        return False
