"""What a workspace is, in one value: what is remembered, what is seen, and what is missing (DESIGN section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polis.assessment import assess
from polis.events import timestamp
from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.assessment import Assessment
    from polis.config import Spec
    from polis.guest.checks import Failure
    from polis.guest.report import CheckResult, GuestReport, PresentImage, Service
    from polis.ownership import Objection
    from polis.record import Record
    from polis.states.base import State
    from polis.states.observation import Observation
    from polis.store import Loaded


@dataclass(frozen=True)
class Status:
    """The answer of `polis status`; `notes` are for people only."""

    document: dict[str, Any]
    notes: tuple[str, ...]
    next_command: str
    is_foreign: bool = False
    """Whether the instance of this name is somebody else's."""

    @property
    def phase(self) -> Phase:
        """Return the phase that is both remembered and observed."""
        return Phase(self.document["phase"])


def summarise(
    spec: Spec,
    loaded: Loaded,
    states: Sequence[State],
    seen: Observation,
    *,
    foreign: Objection | None,
    target: Phase = Phase.HEALTHY,
    agent: dict[str, Any] | None = None,
) -> Status:
    """Return the status: never a phase above what is observable, never one above what is remembered."""
    record = loaded.record
    assessment = assess(states, seen)
    held = Phase.ABSENT if foreign else assessment.held
    recorded = record.phase if record is not None else Phase.ABSENT
    phase = min(held, recorded, key=lambda phase: phase.rank) if record is not None else held
    next_command = _next(phase, target, assessment, foreign)
    document: dict[str, Any] = {
        "schema": 1,
        "workspace": spec.name,
        "phase": phase.value,
        "recorded_phase": recorded.value,
        "target": target.value,
        "pending": [above.value for above in phase.above if above.rank <= target.rank],
        "drift": _drift(assessment, recorded, foreign),
        "obstacle": _obstacle(assessment, target),
        "transition": in_flight(record, working=loaded.working),
        "last_error": last_failure(record),
        "instance": _instance(seen),
        "agent": agent,
        "services": _services(seen.report),
        "checks": _checks(seen, assessment, next_command),
    }
    told = (*loaded.notes, *([foreign.reason] if foreign else []), *_isolation(seen))
    return Status(document, told, next_command, is_foreign=foreign is not None)


def _drift(assessment: Assessment, recorded: Phase, foreign: Objection | None) -> list[dict[str, str]]:
    if foreign:
        reason = f"an instance of this name is not ours: {foreign.reason}"
        return [{"phase": Phase.LAUNCHED.value, "reason": reason}]
    if assessment.verdict is None or assessment.held.rank >= recorded.rank:
        return []
    return [{"phase": assessment.held.above[0].value, "reason": assessment.obstacle}]


def _obstacle(assessment: Assessment, target: Phase) -> dict[str, str] | None:
    """Return why the next phase does not hold, whether or not it is remembered to have held."""
    if assessment.verdict is None or assessment.held.rank >= target.rank:
        return None
    return {"phase": assessment.held.above[0].value, "reason": assessment.obstacle}


def in_flight(record: Record | None, *, working: bool | None = None) -> dict[str, Any] | None:
    """Return the recorded action that has not ended, and whether its process still runs.

    `working` is what a shared record knows of that; None if this host's processes tell.
    """
    flight = record.transition if record is not None else None
    if flight is None:
        return None
    from polis.record import is_alive

    return {
        "to": flight.to.value,
        "started_at": timestamp(flight.started_at),
        "pid": flight.pid,
        "alive": is_alive(flight) if working is None else working,
    }


def last_failure(record: Record | None) -> dict[str, Any] | None:
    """Return why the last command failed, if it did."""
    error = record.last_error if record is not None else None
    if error is None:
        return None
    return {**error.model_dump(exclude={"phase", "at"}), "phase": error.phase.value, "at": timestamp(error.at)}


def _instance(seen: Observation) -> dict[str, Any] | None:
    if seen.instance is None:
        return None
    return {
        "driver": seen.instance.driver,
        "name": seen.instance.name,
        "state": seen.instance.state.value,
        "kind": seen.instance.kind.value,
        "ipv4": list(seen.instance.ipv4),
        "template": seen.instance.template or None,
        "snapshots": sorted(seen.instance.snapshots),
    }


def _isolation(seen: Observation) -> list[str]:
    """Return in words what a container lacks of a VM: nobody shall take one for the other."""
    if not seen.is_container:
        return []
    text = "a system container: it shares its server's kernel, and isolates less than a VM"
    if seen.report is None:
        return [text]
    from polis.guest import checks

    names = [failure.check.name for failure in checks.inapplicable(seen.report)]
    return [text + (f"; not applicable in it: {', '.join(names)}" if names else "")]


def _services(report: GuestReport | None) -> list[dict[str, Any]]:
    if report is None:
        return []
    images = {image.reference: image for image in report.images}
    containers = {container.service: container for container in report.containers}
    services = []
    for service in report.expected:
        container = containers.get(service.name)
        services.append(
            {
                "name": service.name,
                "state": container.state if container else "missing",
                "health": container.health if container else "none",
                "exit_code": container.exit_code if container and container.state == "exited" else None,
                "one_shot": service.one_shot,
                "image": service.reference,
                "digest": _digest(service, images.get(service.image)),
            }
        )
    return services


def _digest(service: Service, image: PresentImage | None) -> str | None:
    """Return the digest of the image that is there; one from a file has none but what the release locks."""
    if image is None:
        return None
    known = [each.partition("@")[2] for each in image.digests]
    if service.digest and service.accepts(image):
        return service.digest
    return known[0] if known else None


def _checks(seen: Observation, assessment: Assessment, next_command: str) -> list[dict[str, Any]]:
    """Return what is known of the guest; whatever stands between it and its checks is mended by the next command."""
    report = seen.report
    if report is None:
        detail = str(seen.trouble) if seen.trouble is not None else assessment.obstacle
        answers = _check("guest-answers", detail, ok=False, mend=next_command)
        return [answers] if seen.instance is not None else []
    from polis.guest import checks

    cloud_init = report.cloud_init
    provisioned = cloud_init.finished and not cloud_init.errors and report.sentinel is not None
    said = "; ".join(cloud_init.errors or cloud_init.recoverable) or cloud_init.stage or "done"
    docker = report.docker
    failed = {
        failure.check.name: failure
        for phase in (Phase.LAUNCHED, Phase.HEALTHY)
        for failure in checks.failures(report, phase)
    }
    failed |= {failure.check.name: failure for failure in checks.inapplicable(report)}
    return [
        _check("guest-answers", f"boot {report.boot_id}", ok=True),
        _check("cloud-init", said, ok=provisioned, mend=next_command),
        _check("docker", docker.error or docker.version, ok=not docker.error, mend=next_command),
        *[_asked(result, failed.get(result.name)) for result in report.checks],
    ]


def _asked(result: CheckResult, failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return _check(result.name, result.actual, ok=True)
    if failure.excused:
        return {**_check(result.name, failure.detail, ok=False), "state": "not-applicable"}
    return _check(result.name, failure.detail, ok=False, mend=failure.check.mend)


def _check(name: str, detail: str, *, ok: bool, mend: str = "") -> dict[str, Any]:
    state = "passed" if ok else "failed"
    return {"name": name, "ok": ok, "state": state, "detail": detail, "mend": "" if ok else mend}


def _next(phase: Phase, target: Phase, assessment: Assessment, foreign: Objection | None) -> str:
    if foreign:
        return foreign.remedy
    if assessment.verdict is not None and assessment.verdict.recreate:
        return "polis up --recreate"
    if assessment.verdict is not None and assessment.verdict.remedy:
        return assessment.verdict.remedy
    return "polis up" if phase.rank < target.rank else ""
