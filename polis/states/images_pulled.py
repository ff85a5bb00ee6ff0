"""Images pulled: the guest has every image that the services need."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from polis import fingerprint, retry
from polis.errors import PolisError, ProvisioningFailed
from polis.events import PhaseProgress, PhaseRetry
from polis.guest import images
from polis.guest.session import MARGIN
from polis.phase import Phase
from polis.states.base import HOLDS, Verdict, lacks

if TYPE_CHECKING:
    from polis.states.base import Workbench
    from polis.states.observation import Observation


LARGEST = 2**50
"""Bytes that no image has."""


class ImagesPulled:
    """Pulls each missing image by itself, so that what was pulled once is never pulled again."""

    phase = Phase.IMAGES_PULLED

    def __init__(self, bench: Workbench, backoff: retry.Backoff, silence: float) -> None:
        self._bench = bench
        self._backoff = backoff
        self._silence = silence

    def fingerprint(self, observation: Observation) -> str:
        """Return the fingerprint of the image references."""
        return fingerprint.of({"images": "\n".join(_references(observation))})

    def judge(self, observation: Observation) -> Verdict:
        """Return whether no needed image is missing."""
        references = _references(observation)
        if observation.report is None or not references:
            return lacks("which images are needed is not known yet")
        missing = observation.report.missing_images
        if missing:
            return lacks(f"{len(missing)} of {len(references)} images are missing: {', '.join(missing)}")
        return HOLDS

    def has_traces(self, observation: Observation) -> bool:
        """Return whether the guest has any of the images."""
        return observation.report is not None and bool(observation.report.images)

    def enter(self, observation: Observation) -> None:
        """Pull what is missing, trying again what is transient, as often for each image.

        Raises RegistryUnavailable, ImageRefused or IntegrityError, naming image and registry.
        """
        missing = list(observation.report.missing_images) if observation.report is not None else []
        total = len(_references(observation))
        while missing:
            try:
                pulled = retry.call(
                    functools.partial(self._pull_some, missing, total), self._backoff, on_retry=self._tell_retry
                )
            except PolisError as error:
                error.remains = f"the VM is up and configured, {total - len(missing)} of {total} images are pulled"
                raise
            missing = [reference for reference in missing if reference not in pulled]

    def leave(self, observation: Observation) -> None:
        """Remove the images."""
        references = [image.reference for image in observation.report.images] if observation.report else []
        answer = self._bench.guest.call("remove-images", {"references": references}, timeout=120 + MARGIN)
        problems = answer.get("problems")
        if problems:
            raise ProvisioningFailed(
                "not all images could be removed",
                cause="\n".join(map(str, problems)) if isinstance(problems, list) else str(problems),
                hint="run `polis reset` again",
            )

    def _pull_some(self, missing: list[str], total: int) -> list[str]:
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

    def _tell_retry(self, error: PolisError, attempt: int, delay: float) -> None:
        self._bench.emit(
            PhaseRetry(
                phase=self.phase, reason=str(error), attempt=attempt, attempts=self._backoff.attempts, delay_s=delay
            )
        )


def _count(value: object) -> int:
    """Return a number that the guest tells, 0 for what is none."""
    return value if isinstance(value, int) and 0 <= value < LARGEST else 0


def _references(observation: Observation) -> tuple[str, ...]:
    return observation.report.references if observation.report is not None else ()
