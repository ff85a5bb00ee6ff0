"""Putting the parts together: from what the user wants to drivers and phases. The only place that knows them all."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.drivers.base import Artifact, Forward, Hardware, Image, LaunchRequest, snapshots_of
from polis.errors import ConfigurationError, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polis.agents.parts import AgentParts, UnavailableAgent
    from polis.cloudinit.document import Document
    from polis.config import ArtifactSpec, ImageSpec, Spec
    from polis.config_site import OfflineSpec
    from polis.drivers.base import Driver
    from polis.drivers.incus.settings import Settings
    from polis.events import Event
    from polis.guest.session import Guest
    from polis.offline.export import Origin
    from polis.paths import Paths
    from polis.states.base import State, Workbench
    from polis.states.images_pulled import ImageSource
    from polis.states.observation import Observation
    from polis.states.savepoint import Savepoint
    from polis.store import RecordStore
    from polis.vault import Vault

ARCHITECTURE = "amd64"
"""What the pinned packages and the images are built for."""


def driver(
    spec: Spec, paths: Paths, disclose: Callable[[str], None] | None = None, *, recorded: str | None = None
) -> Driver:
    """Return the driver that the user wants; `disclose` is told what it chose by itself.

    What is configured wins, then what the workspace was made with (`recorded`), then Multipass where it is installed,
    and else QEMU.
    """
    name = spec.driver or recorded or _usual_driver()
    if name == "multipass":
        from polis.drivers.multipass.driver import MultipassDriver

        return MultipassDriver(disclose=disclose)
    if name == "incus":
        from polis.drivers.incus.driver import IncusDriver

        return IncusDriver(incus_settings(spec), disclose=disclose)
    from polis.drivers.qemu.driver import QemuDriver

    return QemuDriver(data=paths.data, cache=paths.cache, runtime=paths.runtime, accel=spec.accel, disclose=disclose)


def store(spec: Spec, paths: Paths, chosen: Driver) -> RecordStore:
    """Return where the workspace's record is kept: in the server's database, where the driver has one."""
    from polis.store import Store

    own = Store(paths.workspace(spec.name))
    if not chosen.capabilities.cluster:
        return own
    from polis.drivers.entries import HasEntries
    from polis.shared import SharedStore

    return SharedStore(chosen.entries(), spec.name, own) if isinstance(chosen, HasEntries) else own


def incus_settings(spec: Spec) -> Settings:
    """Return the driver's view of the section `incus`."""
    from polis.drivers.incus.settings import Settings

    return Settings(**spec.incus.model_dump())


def _usual_driver() -> str:
    return "multipass" if shutil.which("multipass") else "qemu"


def states(
    spec: Spec,
    paths: Paths,
    chosen: Driver,
    identity: str,
    emit: Callable[[Event], None],
    wanted: AgentParts | UnavailableAgent | None = None,
) -> tuple[State, ...]:
    """Return the phases of a workspace in their order."""
    from polis.contents import SpecifiedContents
    from polis.guest.session import Guest
    from polis.retry import Backoff
    from polis.states.base import Workbench
    from polis.states.configured import Configured
    from polis.states.healthy import Healthy
    from polis.states.images_pulled import ImagesPulled
    from polis.states.running import Running

    bench = Workbench(spec.name, chosen, Guest(chosen, spec.name), emit, spec.timeout)
    backoff = Backoff(spec.retry.attempts, spec.retry.base, spec.retry.cap, spec.retry.deadline)
    return (
        *lowest_states(spec, paths, chosen, identity, emit),
        Configured(bench, SpecifiedContents(spec, wanted), vault(spec, paths), _handover(spec, paths, chosen)),
        ImagesPulled(bench, backoff, spec.retry.silence, _image_source(spec, paths)),
        Running(bench),
        Healthy(bench),
    )


def lowest_states(
    spec: Spec, paths: Paths, chosen: Driver, identity: str, emit: Callable[[Event], None]
) -> tuple[State, ...]:
    """Return the first two phases. Where there is no instance, no judgement goes beyond them; no more is imported."""
    from polis.guest.session import Guest
    from polis.states.absent import Absent
    from polis.states.base import Workbench
    from polis.states.launched import Launched

    bench = Workbench(spec.name, chosen, Guest(chosen, spec.name), emit, spec.timeout)
    birth = SpecifiedBirth(spec, chosen.name, identity, paths.cache / "medium" / spec.name)
    return Absent(), Launched(bench, birth, identity, _savepoint(spec, chosen, bench, birth))


def _savepoint(spec: Spec, chosen: Driver, bench: Workbench, birth: SpecifiedBirth) -> Savepoint | None:
    kept = snapshots_of(chosen) if spec.snapshots else None
    if kept is None:
        return None
    from polis.states.savepoint import Savepoint

    return Savepoint(bench, kept, birth.fingerprint)


def source(spec: Spec, chosen: Driver) -> str:
    """Return in words what a new instance would begin as, if it is not its image."""
    kept = snapshots_of(chosen) if spec.snapshots else None
    template = kept.template(fingerprint=SpecifiedBirth(spec, chosen.name, "").fingerprint) if kept else None
    return f"the template of {template.made}, which was provisioned from the same inputs" if template else ""


def withdraw(spec: Spec, chosen: Driver) -> int:
    """Remove the templates made from today's inputs if no instance was; return how many. What cannot be is left."""
    kept = snapshots_of(chosen) if spec.snapshots else None
    return kept.withdraw(fingerprint=SpecifiedBirth(spec, chosen.name, "").fingerprint) if kept else 0


def agent(spec: Spec, paths: Paths) -> AgentParts | UnavailableAgent | None:
    """Return the workspace's agent with its keys, or why it cannot be had, or None if it has none; writes nothing."""
    from polis.agents import parts

    return parts.available(spec, paths, os.environ)


def _image_source(spec: Spec, paths: Paths) -> Callable[[], ImageSource] | None:
    if spec.offline is None:
        return None
    file = spec.offline.file

    def source() -> ImageSource:
        from polis.offline.images import OfflineImages
        from polis.offline.reading import open_file

        return OfflineImages(open_file(file), paths.cache / "offline" / spec.name)

    return source


def vault(spec: Spec, paths: Paths) -> Vault:
    """Return where the workspace's keys and passwords are kept."""
    from polis.vault import Vault

    return Vault(paths.secrets(spec.name))


def _handover(spec: Spec, paths: Paths, chosen: Driver) -> Callable[[], bytes] | None:
    if not chosen.capabilities.cluster:
        return None
    from polis.handover import Handover

    return Handover(spec.name, paths).pack


def inherit(spec: Spec, paths: Paths, guest: Guest, seen: Observation) -> tuple[str, ...]:
    """Take over what another operator left in the VM, if it is not what this machine has; return in words what.

    Raises ConfigurationError, HostUnsuitable, and what `Guest.call` raises.
    """
    if not guest.driver.capabilities.cluster:
        return ()
    from polis import handover

    wanted = agent(spec, paths) if spec.agent is None else None
    if not handover.is_due(seen, spec.name, paths, wanted, agent_matters=spec.agent is None):
        return ()
    found = handover.ask(guest)
    return handover.Handover(spec.name, paths).take(found) if found is not None else ()


def user_data(spec: Spec) -> Document:
    """Return the cloud-init document that the user wants. Raises ConfigurationError if a file cannot be used."""
    from polis import site
    from polis.cloudinit import document

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
    if spec.snapshots and snapshots_of(chosen) is None:
        raise HostUnsuitable(
            f"the {chosen.name} driver takes no snapshots",
            remains="nothing was changed",
            hint="leave `snapshots` out, or choose --driver incus",
        )
    if spec.offline is not None:
        _check_offline(spec, spec.offline, chosen)
    if spec.bundle is not None or spec.images_lock is not None or spec.offline is not None:
        from polis.contents import SpecifiedContents

        contents = SpecifiedContents(spec)
        _ = contents.bundle, contents.lock
    return check_user_data(user_data(spec)) if spec.cloud_init is not None else []


def _check_offline(spec: Spec, wanted: OfflineSpec, chosen: Driver) -> None:
    from polis.offline import reading

    if not chosen.capabilities.medium:
        raise HostUnsuitable(
            f"the {chosen.name} driver cannot give a VM the packages of {wanted.file}: it adds no disks to a VM",
            remains="nothing was changed",
            hint="choose --driver qemu",
        )
    found = reading.open_file(wanted.file)
    if found.manifest.base != spec.image.sha256:
        raise ConfigurationError(
            f"{wanted.file} is for another base image, whose packages these complete",
            cause=f"it was exported from a VM of the image {found.manifest.base}; `image` is {spec.image.sha256}",
            remains="nothing was changed",
            hint="configure the same `image`, or export a file from a VM of this one",
        )
    found.verify(sha256=wanted.sha256)


def origin(spec: Spec, chosen: Driver) -> Origin:
    """Return what an offline file tells of the workspace that it is made from."""
    from polis.contents import SpecifiedContents
    from polis.offline.export import Origin

    return Origin(
        bundle=SpecifiedContents(spec).bundle,
        version=spec.version,
        registry=spec.registry,
        base=spec.image.sha256,
        architecture=chosen.capabilities.architecture or ARCHITECTURE,
    )


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
    media: Path | None = None
    """Where a medium with packages may be made."""

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of what only a new instance could change."""
        from polis import fingerprint

        image = image_of(self.spec.image)
        parts = (image.disk.sha256, image.user, _hash(image.kernel), _hash(image.initrd), image.cmdline)
        inputs = {"image": "\n".join(parts), "cloud-init": user_data(self.spec).fingerprint, "driver": self.driver}
        if self.driver == "incus":
            # Its images come from the server's store, and an instance stays what it is.
            inputs["incus"] = f"{image.alias}\n{self.spec.incus.image}\n{self.spec.incus.kind}"
        return fingerprint.of(inputs)

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
            medium=self._medium(),
        )

    def _medium(self) -> Path | None:
        if self.spec.offline is None or self.media is None:
            return None
        from polis.offline import medium, reading

        return medium.build(reading.open_file(self.spec.offline.file), self.media)


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
