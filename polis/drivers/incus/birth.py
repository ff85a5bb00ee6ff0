"""What an instance is created from: image, kind and configuration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polis.drivers.incus import forwards, records, settings
from polis.drivers.incus.tool import size
from polis.errors import ConfigurationError, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polis.drivers.base import LaunchRequest
    from polis.drivers.incus.records import Server
    from polis.drivers.incus.settings import Settings
    from polis.drivers.incus.tool import Tool

LESS_ISOLATION = (
    "{title} makes a system container, not a VM: it shares the server's kernel, which is less isolation; "
    "{why} (`incus.kind`)"
)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What `init` is told. `disk` is a size as the tool writes it; the configuration may hold secrets."""

    name: str
    image: str
    vm: bool
    disk: str
    config: Mapping[str, str] = field(repr=False)
    devices: forwards.Devices = field(default_factory=dict)


def order(request: LaunchRequest, tool: Tool, wanted: Settings, *, vm: bool) -> Order:
    """Return the order for a request. Raises ConfigurationError if no image is named that the server could have."""
    nesting = {} if vm else {"security.nesting": "true"}  # what Docker needs in a container
    return Order(
        name=request.name,
        image=wanted.place(request.template) if request.template else image(request, tool, wanted),
        vm=vm,
        disk=size(request.disk),
        config={
            **limits(request),
            **nesting,
            # Understood by every cloud-init that knows either tool; `cloud-init.user-data` is not.
            "user.user-data": request.user_data,
            records.OWNER: request.owner,
            records.WORKSPACE: request.name,
            records.USER: request.image.user,
            **origin(request.fingerprint),
        },
        devices=forwards.devices(request.forwards),
    )


def origin(fingerprint: str) -> dict[str, str]:
    """Return the keys that tell what an instance or a template is made from; none without a fingerprint."""
    return {records.FINGERPRINT: fingerprint, records.TEMPLATE: digest(fingerprint)} if fingerprint else {}


def digest(fingerprint: str) -> str:
    """Return a fingerprint in sixteen digits: it has spaces and equals signs, which no server's filter takes."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:16]


def limits(request: LaunchRequest) -> dict[str, str]:
    """Return the keys that hold an instance's sizes."""
    return {"limits.cpu": str(request.cpus), "limits.memory": size(request.memory)}


def image(request: LaunchRequest, tool: Tool, wanted: Settings) -> str:
    """Return the image as `init` takes it: what is configured, or the tool's own of the release that is wanted."""
    if wanted.image:
        return wanted.image
    alias = request.image.alias
    if not alias:
        raise ConfigurationError(
            f"{tool.title} cannot use the image {request.image.disk.location}",
            cause="it takes images from its server's store, by their names there",
            remains="nothing was changed",
            hint=f"name one in `incus.image`; `{tool.command} image list` shows what there is",
        )
    return alias if ":" in alias else tool.server.format(alias)


def is_vm(server: Server, wanted: Settings, tool: Tool) -> tuple[bool, str]:
    """Return whether a VM is made, and what the user should know of it. Raises HostUnsuitable if it cannot be."""
    if wanted.kind == settings.VM and not server.vms and not server.clustered:
        raise HostUnsuitable(
            f"{tool.title} makes no VMs on this server",
            cause="the server names no driver for them: it has no KVM, or no QEMU",
            remains="nothing was changed",
            hint="set `incus.kind: container` (less isolation: it shares the server's kernel), or use another server",
        )
    vm = wanted.kind == settings.VM or (wanted.kind == settings.AUTO and server.vms)
    if vm:
        return True, ""
    why = "as configured" if wanted.kind == settings.CONTAINER else "this server makes no VMs"
    return False, LESS_ISOLATION.format(title=tool.title, why=why)


def refuse(request: LaunchRequest, tool: Tool, *, vm: bool, local: bool) -> None:
    """Raise HostUnsuitable for what the instance cannot be given; `local` says that its server is this machine."""
    if request.forwards and vm:
        raise forwards.refusal(request.forwards, tool, "it is a VM, which would need an address that is fixed")
    if request.forwards and not local:
        raise forwards.refusal(
            request.forwards, tool, "they would be opened on its server, which may not be this machine"
        )
