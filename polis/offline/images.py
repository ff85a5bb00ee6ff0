"""The images of an offline file, given to the guest instead of being pulled by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.errors import GuestCommandFailed, HostUnsuitable, ImageRefused, IntegrityError
from polis.offline.scratch import scratch

if TYPE_CHECKING:
    from pathlib import Path

    from polis.bundle.imagelock import Lock
    from polis.guest.report import Service
    from polis.guest.session import Guest, Progress
    from polis.offline.manifest import SavedImage
    from polis.offline.reading import OfflineFile


@dataclass(frozen=True)
class OfflineImages:
    """The images of one file. `work` is a directory of its own, with room for the largest."""

    offline: OfflineFile
    work: Path

    def fetch(self, guest: Guest, wanted: Service, *, limit: float, on_progress: Progress) -> None:
        """Give the guest one image, under the names that the release wants, within `limit` seconds.

        Raises ImageRefused if the file has it not, IntegrityError if it has another than the release locks,
        GuestCommandFailed with the engine's words, HostUnsuitable.
        """
        saved = self._find(wanted)
        name = f"offline-{saved.id.partition(':')[2][:16]}.tar"
        try:
            with scratch(self.work) as work:
                copy = work / name
                self.offline.extract(saved.member, copy)
                path = guest.push(copy, name)
        except OSError as error:
            raise HostUnsuitable(f"{self.work} cannot be written", cause=str(error.strerror or error)) from error
        names = sorted({wanted.reference, wanted.image})
        arguments: dict[str, object] = {"path": path, "id": saved.id, "names": names}
        answer = guest.call("load-image", arguments, timeout=limit, on_progress=on_progress)
        if "error" in answer:
            raise GuestCommandFailed(
                f"{wanted.reference} from {self.offline.path} cannot be loaded in the VM", cause=str(answer["error"])
            )
        if answer.get("id") != saved.id:
            raise self._mismatch(wanted, f"expected {saved.id}, got {answer.get('id')}")

    def _find(self, wanted: Service) -> SavedImage:
        saved = find(self.offline, wanted.reference)
        if saved is None:
            raise ImageRefused(
                f"{wanted.reference} is not in {self.offline.path}",
                cause=f"it has {', '.join(image.reference for image in self.offline.manifest.images) or 'no images'}",
                hint="export a file from a workspace of the same `version` and bundle",
            )
        if wanted.digest and saved.digest and saved.digest != wanted.digest:
            raise self._mismatch(wanted, f"expected {wanted.digest}, got {saved.digest}")
        if wanted.id and saved.id != wanted.id:
            raise self._mismatch(wanted, f"expected {wanted.id}, got {saved.id}")
        return saved

    def _mismatch(self, wanted: Service, cause: str) -> IntegrityError:
        return IntegrityError(f"{wanted.reference} in {self.offline.path} is not the image it should be", cause=cause)


def find(offline: OfflineFile, reference: str) -> SavedImage | None:
    """Return the image of this reference; the registry does not count if the file has the name from just one."""
    exact = [image for image in offline.manifest.images if image.reference == reference]
    similar = [image for image in offline.manifest.images if _last(image.reference) == _last(reference)]
    found = exact or similar
    return found[0] if len(found) == 1 else None


def completed(lock: Lock, offline: OfflineFile) -> Lock:
    """Return a lock with the id of each image whose digest is the file's: what comes from a file is known by its id."""
    return {reference: _completed(reference, entry, offline) for reference, entry in lock.items()}


def _completed(reference: str, entry: dict[str, str], offline: OfflineFile) -> dict[str, str]:
    saved = find(offline, reference)
    if "id" in entry or saved is None or saved.digest != entry["digest"]:
        return entry
    return {**entry, "id": saved.id}


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
