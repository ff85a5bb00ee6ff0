"""What the guest reports, checked before anyone believes it: guest output is untrusted."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Line = Annotated[str, Field(max_length=4096)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class CloudInit(_Part):
    """How far cloud-init is and what went wrong in it."""

    finished: bool
    stage: Line = ""
    errors: tuple[str, ...] = ()
    recoverable: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


class Marker(_Part):
    """Whose VM this is and what it was created from."""

    workspace: Line
    id: Line
    fingerprint: Line


class PlacedBundle(_Part):
    """What lies in /opt/polis; `intact` says that its files are still those that were placed.

    `restored` says that it was there before, and was put back when what replaced it was left.
    """

    digest: Line
    fingerprint: Line
    intact: bool
    restored: bool = False


class Service(_Part):
    """A service that should run, as Compose resolved it.

    `reference` is what its image is pulled as, `image` what it runs as; `digest` and `id` are what that image has to
    be, empty if nobody locked it.
    """

    name: Line
    image: Line
    reference: Line
    digest: Line = ""
    id: Line = ""
    one_shot: bool
    config_hash: Line

    @property
    def wanted(self) -> dict[str, str]:
        """Return what the guest has to know to get the image."""
        return {"image": self.image, "reference": self.reference, "digest": self.digest, "id": self.id}

    def accepts(self, image: PresentImage) -> bool:
        """Return whether an image is the locked one, if one is locked. What came from a file has no digest."""
        if self.id and image.id != self.id:
            return False
        known = {each.partition("@")[2] for each in image.digests}
        return not self.digest or self.digest in known or bool(self.id and not known)


class Kept(_Part):
    """What belongs to the bundle that leaving the current one gives back, or that was just given back."""

    config_hashes: tuple[Line, ...] = ()
    images: tuple[Line, ...] = ()


class PresentImage(_Part):
    """An image that the guest's engine has."""

    reference: Line
    id: Line
    digests: tuple[Line, ...] = ()


class Container(_Part):
    """A container of the workspace's project."""

    id: Line
    service: Line
    config_hash: Line
    image_id: Line
    state: Line
    exit_code: int
    this_boot: bool
    health: Line
    detail: Line = ""


class CheckResult(_Part):
    """What the guest saw where `checks.toml` told it to look."""

    name: Line
    ok: bool
    expected: Line = ""
    actual: Line = ""


class Mishap(_Part):
    """Why the cloud-init document gave up, in its own words.

    The kind is one of integrity, unreachable, untrusted, missing and failed.
    """

    kind: Line
    what: Line
    expected: Line
    actual: Line

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, got {self.actual}"


class Docker(_Part):
    """The engine: its version, or why it does not answer."""

    version: Line = ""
    error: Line = ""


class KnownService(_Part):
    """A service of the stack; `state` is its container's, or `missing`."""

    name: Line
    one_shot: bool
    state: Line


class Refusal(_Part):
    """Why a command was not run in a service: the engine's error, or else what services there are."""

    error: Line = ""
    services: tuple[KnownService, ...] = ()


class GuestReport(_Part):
    """All evidence that the guest can give, read in one call."""

    boot_id: Line
    marker: Marker | None = None
    cloud_init: CloudInit
    sentinel: dict[str, Any] | None = None
    mishap: Mishap | None = None
    bundle: PlacedBundle | None = None
    leftovers: tuple[Line, ...] = ()
    expected: tuple[Service, ...] = ()
    kept: Kept = Kept()
    images: tuple[PresentImage, ...] = ()
    containers: tuple[Container, ...] = ()
    docker: Docker = Docker()
    checks: tuple[CheckResult, ...] = ()
    shared_kernel: bool = False
    """Whether its kernel is its server's: not the guest's word, but what the driver says of the instance."""

    @property
    def needed(self) -> tuple[Service, ...]:
        """Return for each image that the services need one of these services, sorted by reference."""
        by_image = {service.image: service for service in self.expected}
        return tuple(sorted(by_image.values(), key=lambda service: service.reference))

    def pins(self) -> dict[str, dict[str, str]]:
        """Return digest and id of each needed image by its reference; of one from a file, what was locked."""
        present = {image.reference: image for image in self.images}
        pins = {}
        for service in self.needed:
            image, repository = present[service.image], service.reference.rpartition(":")[0]
            own = [each.partition("@")[2] for each in image.digests if each.startswith(f"{repository}@")]
            digest = service.digest or next(iter(own), "")
            if digest:
                pins[service.reference] = {"digest": digest, "id": image.id}
        return pins

    @property
    def missing(self) -> tuple[Service, ...]:
        """Return those of `needed` whose image the guest does not have, or has as something else."""
        present = {image.reference: image for image in self.images}
        return tuple(
            service
            for service in self.needed
            if service.image not in present or not service.accepts(present[service.image])
        )
