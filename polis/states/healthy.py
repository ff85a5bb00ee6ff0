"""Healthy: every health check of every service passes, and every check of the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.errors import Unhealthy
from polis.guest import checks
from polis.guest.session import MARGIN
from polis.phase import Phase
from polis.states.base import HOLDS, Verdict, lacks
from polis.states.progress import tell_services

if TYPE_CHECKING:
    from polis.states.base import Workbench
    from polis.states.observation import Observation


class Healthy:
    """Waits; nothing is built for it, so nothing is undone."""

    phase = Phase.HEALTHY

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def fingerprint(self, observation: Observation) -> str:  # noqa: ARG002 -- the protocol of all states
        """Return the empty fingerprint: health is seen, not built."""
        return ""

    def judge(self, observation: Observation) -> Verdict:
        """Return whether no service and no check of the guest says otherwise."""
        report = observation.report
        if report is None:
            return lacks("the guest does not answer")
        one_shots = {service.name for service in report.expected if service.one_shot}
        sick = [
            f"{container.service} is {container.health}" + (f" ({container.detail})" if container.detail else "")
            for container in report.containers
            if container.service not in one_shots and container.health not in ("healthy", "none")
        ]
        if sick:
            return lacks("; ".join(sick))
        failed = checks.failures(report, Phase.HEALTHY)
        return lacks("; ".join(failure.advice for failure in failed), remedy=failed[0].check.mend) if failed else HOLDS

    def has_traces(self, observation: Observation) -> bool:  # noqa: ARG002 -- the protocol of all states
        """Return False: health leaves nothing to remove."""
        return False

    def enter(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Wait until all services are well. Raises Unhealthy with the words of those that are not."""
        seconds = self._bench.timeout
        answer = self._bench.guest.call(
            "watch",
            {"seconds": seconds},
            timeout=seconds + MARGIN,
            on_progress=lambda news: tell_services(self._bench.emit, self.phase, news),
        )
        waiting, logs = answer.get("waiting"), answer.get("logs")
        if isinstance(waiting, dict) and waiting:
            told = [f"{name}: {text}" for name, text in logs.items()] if isinstance(logs, dict) else []
            raise Unhealthy(
                "not healthy: " + ", ".join(f"{name} ({word})" for name, word in sorted(waiting.items())),
                cause="\n".join(told),
                remains="the VM is up and its services are started",
                hint="`polis status` shows each service; `polis up` goes on waiting",
            )

    def leave(self, observation: Observation) -> None:
        """Forget it."""
