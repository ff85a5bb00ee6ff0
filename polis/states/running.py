"""Running: every service's container runs from the current configuration; one-shot services have exited with 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis import fingerprint
from polis.errors import ProvisioningFailed, Unhealthy
from polis.events import PhaseProgress
from polis.guest.session import MARGIN
from polis.phase import Phase
from polis.states.base import HOLDS, Verdict, lacks
from polis.states.progress import tell_services

if TYPE_CHECKING:
    from polis.guest.report import Container, GuestReport, Service
    from polis.states.base import Workbench
    from polis.states.observation import Observation

DOWN_LIMIT = 180.0
"""Seconds for all services to end and be removed."""


class Running:
    """Starts the services with Compose, and takes them down."""

    phase = Phase.RUNNING

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def fingerprint(self, observation: Observation) -> str:
        """Return the fingerprint of each service's resolved configuration."""
        report = observation.report
        return fingerprint.of({service.name: service.config_hash for service in report.expected} if report else {})

    def judge(self, observation: Observation) -> Verdict:
        """Return whether every expected service has the container that it should have."""
        report = observation.report
        if report is None or not report.expected:
            return lacks("which services should run is not known yet")
        containers = {container.service: container for container in report.containers}
        images = {image.reference: image.id for image in report.images}
        problems = [
            f"{service.name} {problem}"
            for service in report.expected
            if (problem := _problem(service, containers.get(service.name), images.get(service.image, "")))
        ]
        problems += [f"{name} should not be there" for name in _orphans(report)]
        return lacks("; ".join(problems)) if problems else HOLDS

    def has_traces(self, observation: Observation) -> bool:
        """Return whether the project has any container that does not run from the bundle before this one."""
        report = observation.report
        return report is not None and any(
            container.config_hash not in report.kept.config_hashes for container in report.containers
        )

    def enter(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Let Compose start what is not running as it should.

        Raises Unhealthy if a service that others wait for does not become healthy, ProvisioningFailed for any other
        refusal of Compose.
        """
        seconds = self._bench.timeout
        answer = self._bench.guest.call(
            "up",
            {"seconds": seconds},
            timeout=seconds + MARGIN,
            on_progress=lambda news: tell_services(self._bench.emit, self.phase, news),
        )
        if answer.get("code") != 0:
            kind = Unhealthy if "unhealthy" in str(answer.get("words")) or answer.get("logs") else ProvisioningFailed
            raise kind(
                "the services did not start",
                cause=_words(answer),
                remains="the VM is up, configured, and has its images",
                hint="`polis status` shows each service; `polis up` tries again",
            )

    def leave(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Take the services down; volumes stay."""
        self._bench.emit(PhaseProgress(phase=self.phase, detail="taking the services down"))
        answer = self._bench.guest.call("down", {}, timeout=DOWN_LIMIT)
        if answer.get("code") != 0:
            raise ProvisioningFailed(
                "the services could not be taken down", cause=str(answer.get("words")), hint="run `polis reset` again"
            )


def _problem(service: Service, container: Container | None, image_id: str) -> str:
    if container is None:
        return "has no container"
    if container.config_hash != service.config_hash:
        return "runs from another configuration"
    if image_id and container.image_id != image_id:
        return "runs from another image"
    if service.one_shot and not container.this_boot:
        return "did not run since the VM was switched on"
    if service.one_shot:
        finished = container.state == "exited" and container.exit_code == 0
        return "" if finished else f"did not finish ({_state(container)})"
    return "" if container.state == "running" else f"is not running ({_state(container)})"


def _state(container: Container) -> str:
    return f"{container.state} {container.exit_code}" if container.state == "exited" else container.state


def _orphans(report: GuestReport) -> list[str]:
    expected = {service.name for service in report.expected}
    return sorted({container.service for container in report.containers} - expected)


def _words(answer: dict[str, object]) -> str:
    logs = answer.get("logs")
    told = [f"{name}: {text}" for name, text in logs.items()] if isinstance(logs, dict) else []
    return "\n".join([*told, str(answer.get("words", ""))])
