"""Making an offline file from a workspace whose images are pulled: what is in its VM, fetched part by part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from polis import __version__
from polis.bundle import imagelock
from polis.errors import ChangesPending, GuestCommandFailed, HostUnsuitable
from polis.offline.manifest import BUNDLE, LOCK, MEMBER, SYSBOX, Manifest, Package, SavedImage
from polis.offline.scratch import scratch
from polis.offline.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from polis.bundle.archive import Bundle
    from polis.guest.report import GuestReport
    from polis.guest.session import Guest

LISTING = 300.0
"""Seconds for the guest to read the control files of its packages."""

_UNFIT = re.compile(r"[^A-Za-z0-9.+~_-]")
_FIELD = re.compile(r"^(Package|Version|Architecture): (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Origin:
    """What is known of the workspace without asking its VM. `base` is the sha256 of the VM's base image."""

    bundle: Bundle
    version: str
    registry: str
    base: str
    architecture: str


@dataclass(frozen=True)
class Exported:
    """What was written: the file with its size in bytes and its sha256, and how much is in it."""

    path: Path
    size: int
    sha256: str
    images: int
    packages: int


@dataclass(frozen=True)
class Exporter:
    """One guest, and somebody to tell. `limit` is seconds for each image."""

    guest: Guest
    origin: Origin
    report: GuestReport
    tell: Callable[[str, int, int], None]
    limit: float

    def write(self, target: Path) -> Exported:
        """Write the file, or nothing.

        Raises ChangesPending if the VM has another bundle than is configured, or none of its packages any more;
        GuestCommandFailed, HostUnsuitable.
        """
        self._require_current()
        target = target.absolute()
        if not target.parent.is_dir() or target.is_dir():
            raise HostUnsuitable(f"{target} cannot be written", cause="there is no such directory, or it is one")
        with Writer(target) as writer, scratch(target.with_name(f".{target.name}.work")) as work:
            copying = _Copying(self.guest, writer, work)
            writer.add(BUNDLE, self.origin.bundle.content)
            packages = self._packages(copying)
            images = self._images(copying)
            writer.add(LOCK, imagelock.render(self._lock(images)).encode())
            sha256 = writer.finish(self._manifest(packages, images, writer))
        return Exported(target, target.stat().st_size, sha256, len(images), len(packages))

    def _require_current(self) -> None:
        placed = self.report.bundle
        if placed is None or placed.digest != self.origin.bundle.digest:
            raise ChangesPending(
                "the VM has another bundle than the one that is configured",
                remains="no file was written",
                hint="`polis up --to images-pulled`, then export again",
            )

    def _packages(self, copying: _Copying) -> list[Package]:
        self.tell("asking for the packages of the first boot", 0, 1)
        answer = self.guest.call("packages", {}, timeout=LISTING)
        entries, sysbox = answer.get("packages"), answer.get("sysbox")
        if not isinstance(entries, list) or not entries or not isinstance(sysbox, str):
            raise ChangesPending(
                "the VM has not kept the packages that its first boot installed",
                cause="a VM keeps them since polis 0.5.0",
                remains="no file was written",
                hint="`polis up --recreate --to images-pulled` makes a VM that does; then export again",
            )
        copying.take(SYSBOX, sysbox)
        packages = []
        for number, entry in enumerate(entries, start=1):
            control = str(entry.get("control"))
            member = _member(control)
            self.tell(member, number, len(entries))
            copying.take(member, str(entry.get("path")))
            packages.append(Package(member=member, control=control))
        return packages

    def _images(self, copying: _Copying) -> list[SavedImage]:
        present = {image.reference: image for image in self.report.images}
        images: dict[str, SavedImage] = {}
        needed = self.report.needed
        for number, service in enumerate(needed, start=1):
            found = present[service.image]
            member = f"images/{found.id.removeprefix('sha256:')}.tar"
            digest = service.digest or next((text.partition("@")[2] for text in found.digests), "")
            self.tell(service.reference, number, len(needed))
            if member not in {image.member for image in images.values()}:
                self._save(found.id, member, copying)
            images[service.reference] = SavedImage(
                reference=service.reference, digest=digest, id=found.id, member=member
            )
        return list(images.values())

    def _save(self, identity: str, member: str, copying: _Copying) -> None:
        answer = self.guest.call("save-image", {"id": identity}, timeout=self.limit)
        try:
            if "path" not in answer:
                raise GuestCommandFailed(
                    f"the image {identity} cannot be saved in the VM",
                    cause=str(answer.get("error")),
                    remains="no file was written",
                )
            copying.take(member, str(answer["path"]))
        finally:
            self.guest.call("discard-images", {}, timeout=LISTING)

    def _lock(self, images: list[SavedImage]) -> Mapping[str, dict[str, str]]:
        prefix = f"{self.origin.registry}/"
        locked = {image.reference.removeprefix(prefix): image for image in images if image.digest}
        return {name: {"digest": image.digest, "id": image.id} for name, image in locked.items()}

    def _manifest(self, packages: list[Package], images: list[SavedImage], writer: Writer) -> Manifest:
        sentinel: dict[str, Any] = self.report.sentinel or {}
        return Manifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            polis=__version__,
            version=self.origin.version,
            base=self.origin.base,
            architecture=self.origin.architecture,
            installed={str(key): str(value) for key, value in sentinel.items()},
            packages=tuple(packages),
            images=tuple(images),
            members=writer.members,
        )


@dataclass(frozen=True)
class _Copying:
    """The way of a file from the guest into the offline file, by a directory beside that."""

    guest: Guest
    writer: Writer
    work: Path

    def take(self, member: str, source: str) -> None:
        copy = self.work / "copy"
        self.guest.driver.pull(name=self.guest.name, source=source, target=copy)
        self.writer.add_file(member, copy)
        copy.unlink()


def _member(control: str) -> str:
    """Return the name of a package's member, as apt would name the file. Raises GuestCommandFailed."""
    fields = dict(_FIELD.findall(control))
    name = "_".join(fields.get(key, "") for key in ("Package", "Version", "Architecture"))
    member = f"packages/{_UNFIT.sub('.', name)}.deb"
    if not MEMBER.fullmatch(member) or not control.startswith("Package: "):
        raise GuestCommandFailed("the guest has a package that is none", cause=control[:200])
    return member
