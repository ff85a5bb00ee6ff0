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
    """What lies in /opt/polis; `intact` says that its files are still those that were placed."""

    digest: Line
    fingerprint: Line
    intact: bool


class Service(_Part):
    """A service that should run, as Compose resolved it."""

    name: Line
    image: Line
    one_shot: bool
    config_hash: Line


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
    """What the guest saw where `checks.yaml` told it to look."""

    name: Line
    ok: bool
    expected: Line = ""
    actual: Line = ""


class Mishap(_Part):
    """Why the cloud-init document gave up, in its own words; the kind is integrity, unreachable, missing or failed."""

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
    images: tuple[PresentImage, ...] = ()
    containers: tuple[Container, ...] = ()
    docker: Docker = Docker()
    checks: tuple[CheckResult, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """Return the distinct images that the services need, sorted."""
        return tuple(sorted({service.image for service in self.expected}))

    @property
    def missing_images(self) -> tuple[str, ...]:
        """Return the needed images that the guest does not have, sorted."""
        present = {image.reference for image in self.images}
        return tuple(reference for reference in self.references if reference not in present)
