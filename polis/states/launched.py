"""Launched: the instance is on and answers, cloud-init has finished well, and the parts that it installs are there."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from polis import fingerprint, interruption
from polis.drivers.base import InstanceState
from polis.errors import ExecTimeout, GuestUnreachable, LaunchFailed
from polis.events import GuestStages, PhaseProgress, Warned
from polis.guest import checks
from polis.guest.session import MARGIN
from polis.phase import Phase
from polis.states import hardware
from polis.states.base import HOLDS, Verdict, lacks
from polis.states.provisioning import shortcoming

if TYPE_CHECKING:
    from polis.drivers.base import LaunchRequest
    from polis.guest.report import GuestReport
    from polis.states.base import Birth, Workbench
    from polis.states.observation import Observation
    from polis.states.savepoint import Savepoint

STRETCH = 60.0
"""Seconds of one look at cloud-init: a connection that broke in between costs no more than that."""


DOCKER_GRACE = 180.0
"""Seconds for the Docker engine to answer after cloud-init has finished; it restarts its containers first."""

INTERVAL = 2.0
"""Seconds between two looks."""


class Launched:
    """Creates the instance, or switches it on, and waits for its first boot to end."""

    phase = Phase.LAUNCHED

    def __init__(self, bench: Workbench, birth: Birth, identity: str, savepoint: Savepoint | None = None) -> None:
        self._bench = bench
        self._birth = birth
        self._identity = identity
        self._savepoint = savepoint

    def fingerprint(self, observation: Observation) -> str:  # noqa: ARG002 -- the protocol of all states
        """Return the fingerprint of image, cloud-init document and driver."""
        return self._birth.fingerprint

    def judge(self, observation: Observation) -> Verdict:
        """Return whether the instance answers, is provisioned, and was created from today's inputs."""
        if observation.instance is None:
            return lacks("there is no instance")
        origin = _origin(observation)
        if origin is not None and origin != self._birth.fingerprint:
            what = " and ".join(fingerprint.changed(origin, self._birth.fingerprint))
            return Verdict(holds=False, reason=f"the VM was created from another {what}", recreate=True)
        if not observation.is_on:
            return lacks(f"the VM is {_in_words(observation.instance.state)}")
        if observation.report is None:
            return lacks(f"the guest does not answer ({observation.trouble or 'no reason given'})")
        verdict = _judge_guest(observation.report)
        return dataclasses.replace(verdict, deferred=self._deferred(observation)) if verdict.holds else verdict

    def has_traces(self, observation: Observation) -> bool:
        """Return whether there is an instance."""
        return observation.instance is not None

    def enter(self, observation: Observation) -> None:
        """Create the instance or switch it on, wait for cloud-init, verify its parts, keep it, sign the guest.

        Raises what the driver raises, and ProvisioningFailed with cloud-init's own words.
        """
        deadline = time.monotonic() + self._bench.timeout
        self._bench.driver.launch(request=self._request(observation), on_progress=self._tell)
        self._await_cloud_init(deadline)
        report = self._settle(deadline)
        self._verify(report)
        if report.marker is None:
            self._sign()

    def can_return(self, observation: Observation) -> bool:
        """Return whether `restore` is possible: there is a snapshot, made from today's inputs."""
        return self._savepoint is not None and self._savepoint.is_kept(observation)

    def restore(self, observation: Observation) -> None:
        """Make the instance what it was when this phase held for the first time, whatever has been done to it since.

        Raises what `enter` raises.
        """
        if self._savepoint is not None:
            self._savepoint.restore()
        self.enter(observation)

    def leave(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Delete this instance, and no other."""
        self._tell("deleting the VM")
        self._bench.driver.delete(name=self._bench.name)

    def _request(self, observation: Observation) -> LaunchRequest:
        request = self._birth.request()
        return request if self._savepoint is None else self._savepoint.request(request, observation)

    def _sign(self) -> None:
        """Make the guest this workspace's own; until then it may be kept for any."""
        if self._savepoint is not None:
            self._savepoint.keep()
        marker = {"workspace": self._bench.name, "id": self._identity, "fingerprint": self._birth.fingerprint}
        self._bench.guest.call("sign", {"marker": marker}, timeout=MARGIN)
        if self._savepoint is not None:
            self._savepoint.offer()

    def _deferred(self, observation: Observation) -> tuple[str, ...]:
        actual = observation.instance.hardware if observation.instance is not None else None
        return hardware.changes(actual, self._birth.hardware) if actual is not None else ()

    def _await_cloud_init(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            seconds = min(STRETCH, left)
            try:
                answer = self._bench.guest.call(
                    "wait", {"seconds": seconds}, timeout=seconds + MARGIN, on_progress=self._tell_stage
                )
            except (GuestUnreachable, ExecTimeout) as error:
                self._tell(f"the guest does not answer for the moment: {error}")
                self._bench.driver.start(name=self._bench.name, timeout=max(1.0, deadline - time.monotonic()))
                continue
            if _is_over(answer):
                self._tell_boot(answer)
                return
            interruption.sleep(INTERVAL)  # a guest that does not wait as it was asked to is not asked without end
        report = self._bench.guest.probe(self._bench.driver.find(name=self._bench.name))
        raise LaunchFailed(
            f"cloud-init did not finish within {self._bench.timeout:.0f} s (stage: {report.cloud_init.stage})",
            cause="\n".join(report.cloud_init.log),
            remains="the VM is up and goes on with cloud-init",
            hint="run `polis up` again to go on waiting, or raise `timeout`",
        )

    def _settle(self, deadline: float) -> GuestReport:
        """Return the guest's report, once Docker had time to come up: after a boot it does so beside cloud-init."""
        until = min(deadline, time.monotonic() + DOCKER_GRACE)
        instance = self._bench.driver.find(name=self._bench.name)
        while True:
            report = self._bench.guest.probe(instance)
            if not _is_coming_up(report) or time.monotonic() >= until:
                return report
            self._tell(f"waiting for Docker: {report.docker.error}")
            interruption.sleep(INTERVAL)

    def _verify(self, report: GuestReport) -> None:
        problem = shortcoming(report)
        if problem is not None:
            raise problem.error()
        for text in report.cloud_init.recoverable:
            self._bench.emit(Warned(message=f"cloud-init: {text}"))

    def _tell(self, detail: str) -> None:
        self._bench.emit(PhaseProgress(phase=self.phase, detail=detail))

    def _tell_boot(self, answer: dict[str, Any]) -> None:
        from polis import bootstages

        boot = bootstages.read(answer.get("boot"))
        if boot is not None:
            stages = tuple(stage.document() for stage in boot.stages)
            self._bench.emit(GuestStages(phase=self.phase, uptime_s=boot.uptime_s, stages=stages))

    def _tell_stage(self, news: dict[str, Any]) -> None:
        self._tell(f"cloud-init {news.get('stage', '')}: {news.get('line', '')}"[:200])


def _is_over(answer: dict[str, Any]) -> bool:
    first_boot = answer.get("cloud_init")
    return isinstance(first_boot, dict) and first_boot.get("finished") is True


def _origin(observation: Observation) -> str | None:
    marker = observation.report.marker if observation.report is not None else None
    return marker.fingerprint if marker is not None else observation.created_from


def _judge_guest(report: GuestReport) -> Verdict:
    if not report.cloud_init.finished:
        return lacks(f"cloud-init is still at work (stage: {report.cloud_init.stage})")
    problem = shortcoming(report)
    if problem is not None:
        return lacks(problem.message, remedy=problem.remedy)
    if report.marker is None:
        return lacks("the guest carries no marker of this workspace yet")
    return HOLDS


def _is_coming_up(report: GuestReport) -> bool:
    """Return whether Docker was installed as it must be, and only does not answer yet."""
    if report.sentinel is None or report.cloud_init.errors or not report.docker.error:
        return False
    return not any("package" in failure.check.look for failure in checks.failures(report, Phase.LAUNCHED))


def _in_words(state: InstanceState) -> str:
    return "off" if state is InstanceState.STOPPED else state.value
