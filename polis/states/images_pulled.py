"""Images pulled: the guest has every image that the services need."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

from polis import fingerprint, retry
from polis.errors import PolisError, ProvisioningFailed
from polis.events import PhaseProgress, PhaseRetry
from polis.guest import images
from polis.guest.session import MARGIN
from polis.phase import Phase
from polis.states.base import HOLDS, Verdict, lacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.guest.report import Service
    from polis.guest.session import Guest, Progress
    from polis.states.base import Workbench
    from polis.states.observation import Observation


LARGEST = 2**50
"""Bytes that no image has."""


class ImageSource(Protocol):
    """Where images come from that are not pulled by the guest."""

    def fetch(self, guest: Guest, wanted: Service, *, limit: float, on_progress: Progress) -> None:
        """Give the guest one image within `limit` seconds, under its names, or raise why not."""
        ...


class ImagesPulled:
    """Pulls each missing image by itself, so that what was pulled once is never pulled again."""

    phase = Phase.IMAGES_PULLED

    def __init__(
        self,
        bench: Workbench,
        backoff: retry.Backoff,
        silence: float,
        source: Callable[[], ImageSource] | None = None,
    ) -> None:
        self._bench = bench
        self._backoff = backoff
        self._silence = silence
        self._source = source

    def fingerprint(self, observation: Observation) -> str:
        """Return the fingerprint of the images, by reference or, where they are locked, by digest."""
        return fingerprint.of({"images": "\n".join(sorted(service.image for service in _needed(observation)))})

    def judge(self, observation: Observation) -> Verdict:
        """Return whether no needed image is missing."""
        needed = _needed(observation)
        if observation.report is None or not needed:
            return lacks("which images are needed is not known yet")
        missing = [service.reference for service in observation.report.missing]
        if missing:
            return lacks(f"{len(missing)} of {len(needed)} images are missing: {', '.join(missing)}")
        return HOLDS

    def has_traces(self, observation: Observation) -> bool:
        """Return whether the guest has any of the images, not counting those of the bundle before."""
        return bool(_own(observation))

    def enter(self, observation: Observation) -> None:
        """Pull what is missing, trying again what is transient, as often for each image.

        Raises RegistryUnavailable, ImageRefused or IntegrityError, naming image and registry.
        """
        missing = list(observation.report.missing) if observation.report is not None else []
        total = len(_needed(observation))
        get_some = functools.partial(self._load_one, self._source()) if self._source else self._pull_some
        while missing:
            try:
                pulled = retry.call(
                    functools.partial(get_some, missing, total), self._backoff, on_retry=self._tell_retry
                )
            except PolisError as error:
                error.remains = f"the VM is up and configured, {total - len(missing)} of {total} images are pulled"
                raise
            missing = [service for service in missing if service.image not in pulled]

    def leave(self, observation: Observation) -> None:
        """Remove the images, under both names where they have two."""
        own = _own(observation)
        self._bench.emit(PhaseProgress(phase=self.phase, detail=f"removing {len(own)} images"))
        names = [*own, *(service.reference for service in _needed(observation) if service.image in own)]
        references = sorted(set(names))
        answer = self._bench.guest.call("remove-images", {"references": references}, timeout=120 + MARGIN)
        problems = answer.get("problems")
        if problems:
            raise ProvisioningFailed(
                "not all images could be removed",
                cause="\n".join(map(str, problems)) if isinstance(problems, list) else str(problems),
                hint="run `polis reset` again",
            )

    def _pull_some(self, missing: list[Service], total: int) -> list[str]:
        """Return what was pulled before something failed; raise that only if it was the first.

        So a failure after a success begins a new series of attempts, for the image that failed.
        """
        before = total - len(missing)

        def tell(news: dict[str, Any]) -> None:
            arrived, whole = _count(news.get("bytes")), _count(news.get("of"))
            size = f": {arrived / 1e6:.1f} of {whole / 1e6:.1f} MB" if whole else ""
            done = before + _count(news.get("pulled"))
            detail = f"{news.get('reference')}{size}"
            self._bench.emit(PhaseProgress(phase=self.phase, detail=detail, done=done, total=total))

        pulled, problem = images.pull(
            self._bench.guest, missing, on_progress=tell, limit=self._bench.timeout, silence=self._silence
        )
        if problem is not None and not pulled:
            raise problem
        return pulled

    def _load_one(self, source: ImageSource, missing: list[Service], total: int) -> list[str]:
        """Take the first that is missing from where it is, and return it."""
        wanted, done = missing[0], total - len(missing)

        def tell(_news: dict[str, Any]) -> None:
            self._bench.emit(PhaseProgress(phase=self.phase, detail=wanted.reference, done=done, total=total))

        tell({})
        source.fetch(self._bench.guest, wanted, limit=self._bench.timeout, on_progress=tell)
        return [wanted.image]

    def _tell_retry(self, error: PolisError, attempt: int, delay: float) -> None:
        self._bench.emit(
            PhaseRetry(
                phase=self.phase, reason=str(error), attempt=attempt, attempts=self._backoff.attempts, delay_s=delay
            )
        )


def _count(value: object) -> int:
    """Return a number that the guest tells, 0 for what is none."""
    return value if isinstance(value, int) and 0 <= value < LARGEST else 0


def _needed(observation: Observation) -> tuple[Service, ...]:
    return observation.report.needed if observation.report is not None else ()


def _own(observation: Observation) -> list[str]:
    """Return the images that are there and that no bundle before this one needs."""
    report = observation.report
    if report is None:
        return []
    return [image.reference for image in report.images if image.reference not in report.kept.images]
