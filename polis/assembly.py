"""Putting the parts together: from what the user wants to drivers and phases. The only place that knows them all."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis import fingerprint, site
from polis.bundle.environment import variables
from polis.cloudinit import document
from polis.drivers.base import Artifact, Forward, Hardware, Image, LaunchRequest
from polis.errors import HostUnsuitable
from polis.guest.session import Guest
from polis.retry import Backoff
from polis.states.absent import Absent
from polis.states.base import Workbench
from polis.states.configured import Configured
from polis.states.healthy import Healthy
from polis.states.images_pulled import ImagesPulled
from polis.states.launched import Launched
from polis.states.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.bundle.archive import Bundle
    from polis.cloudinit.document import Document
    from polis.config import ArtifactSpec, ImageSpec, Spec
    from polis.drivers.base import Driver
    from polis.events import Event
    from polis.paths import Paths
    from polis.states.base import State

ARCHITECTURE = "amd64"
"""What the pinned packages and the images are built for."""


def driver(
    spec: Spec, paths: Paths, disclose: Callable[[str], None] | None = None, *, recorded: str | None = None
) -> Driver:
    """Return the driver that the user wants; `disclose` is told what it chose by itself.

    What is configured wins, then what the workspace was made with (`recorded`), then Multipass where it is installed,
    and else QEMU.
    """
    if (spec.driver or recorded or _usual_driver()) == "multipass":
        from polis.drivers.multipass.driver import MultipassDriver

        return MultipassDriver(disclose=disclose)
    from polis.drivers.qemu.driver import QemuDriver

    return QemuDriver(data=paths.data, cache=paths.cache, runtime=paths.runtime, accel=spec.accel, disclose=disclose)


def _usual_driver() -> str:
    return "multipass" if shutil.which("multipass") else "qemu"


def states(spec: Spec, chosen: Driver, identity: str, emit: Callable[[Event], None]) -> tuple[State, ...]:
    """Return the phases of a workspace in their order."""
    bench = Workbench(spec.name, chosen, Guest(chosen, spec.name), emit, spec.timeout)
    backoff = Backoff(spec.retry.attempts, spec.retry.base, spec.retry.cap, spec.retry.deadline)
    environment = variables(version=spec.version, registry=spec.registry, image_suffix=spec.image_suffix)
    return (
        Absent(),
        Launched(bench, SpecifiedBirth(spec, chosen.name, identity), identity),
        Configured(bench, lambda: bundle(spec), environment),
        ImagesPulled(bench, backoff, spec.retry.silence),
        Running(bench),
        Healthy(bench),
    )


def bundle(spec: Spec) -> Bundle:
    """Return the bundle that the user wants. Raises ConfigurationError if it is not acceptable."""
    from polis.bundle import archive

    return archive.load(spec.bundle)


def user_data(spec: Spec) -> Document:
    """Return the cloud-init document that the user wants. Raises ConfigurationError if a file cannot be used."""
    return document.read(spec.cloud_init, site.overrides(spec))


def check(spec: Spec, chosen: Driver) -> list[str]:
    """Return warnings about what the user named, before anything is touched.

    Raises ConfigurationError if a file is not acceptable, HostUnsuitable if the driver's machines are.
    """
    architecture = chosen.capabilities.architecture
    if architecture not in (None, ARCHITECTURE):
        raise HostUnsuitable(
            f"the {chosen.name} driver makes {architecture} machines here; what they run is pinned for {ARCHITECTURE}",
            remains="nothing was changed",
            hint=f"use a machine with an {ARCHITECTURE} processor",
        )
    if spec.bundle is not None:
        bundle(spec)
    return check_user_data(user_data(spec)) if spec.cloud_init is not None else []


def check_user_data(wanted: Document) -> list[str]:
    """Return warnings about a document, as it is and as it will be sent. Raises ConfigurationError."""
    from polis.cloudinit import checking

    warnings = checking.check(wanted.text, wanted.name)
    if wanted.is_edited:
        checking.check(wanted.render(), wanted.sent_name)
    return warnings


@dataclass(frozen=True)
class SpecifiedBirth:
    """What the Spec says an instance is created from."""

    spec: Spec
    driver: str
    identity: str

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of what only a new instance could change."""
        image = image_of(self.spec.image)
        parts = (image.disk.sha256, image.user, _hash(image.kernel), _hash(image.initrd), image.cmdline)
        return fingerprint.of(
            {"image": "\n".join(parts), "cloud-init": user_data(self.spec).fingerprint, "driver": self.driver}
        )

    @property
    def hardware(self) -> Hardware:
        """Return the sizes and forwards that are wanted."""
        spec = self.spec
        forwards = tuple(Forward(port.host, port.guest) for port in spec.ports)
        return Hardware(spec.cpus, spec.memory, spec.disk, forwards)

    def request(self) -> LaunchRequest:
        """Return the order for the driver. Raises ConfigurationError if the document is not acceptable."""
        from polis.cloudinit import checking

        wanted = user_data(self.spec)
        text = wanted.render()
        checking.check(text, wanted.sent_name)
        return LaunchRequest(
            name=self.spec.name,
            owner=self.identity,
            image=image_of(self.spec.image),
            cpus=self.spec.cpus,
            memory=self.spec.memory,
            disk=self.spec.disk,
            user_data=text,
            timeout=self.spec.timeout,
            forwards=self.hardware.forwards,
        )


def image_of(spec: ImageSpec) -> Image:
    """Return the driver's view of the configured image."""
    return Image(
        disk=_artifact(spec),
        user=spec.user,
        alias=spec.alias,
        kernel=_artifact(spec.kernel) if spec.kernel else None,
        initrd=_artifact(spec.initrd) if spec.initrd else None,
        cmdline=spec.cmdline,
    )


def _artifact(spec: ArtifactSpec) -> Artifact:
    return Artifact(spec.location, spec.sha256)


def _hash(artifact: Artifact | None) -> str:
    return artifact.sha256 if artifact is not None else ""
