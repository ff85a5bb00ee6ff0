"""Looking at the world: two driver calls, whatever there is to see (DESIGN section 1, point 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.drivers.base import InstanceKind, InstanceState
from polis.errors import ExecTimeout, GuestCommandFailed, GuestUnreachable, InstanceMissing

if TYPE_CHECKING:
    from polis.drivers.base import Instance
    from polis.errors import PolisError
    from polis.guest.report import Container, GuestReport
    from polis.guest.session import Guest


@dataclass(frozen=True)
class Observation:
    """What was seen: the driver's view, and the guest's report or why there is none.

    `created_from` is what the record remembers of the instance's creation, for a guest that carries no marker yet.
    """

    instance: Instance | None
    report: GuestReport | None = None
    trouble: PolisError | None = None
    created_from: str | None = None

    @property
    def is_on(self) -> bool:
        """Return whether the driver says that the instance is running."""
        return self.instance is not None and self.instance.state is InstanceState.RUNNING

    @property
    def is_container(self) -> bool:
        """Return whether the driver says that the instance is a system container."""
        return self.instance is not None and self.instance.kind is InstanceKind.CONTAINER

    @property
    def serves(self) -> bool:
        """Return whether all services that were last placed are up and well, whatever is wanted of them today."""
        if self.report is None:
            return False
        containers = {container.service: container for container in self.report.containers}
        return bool(self.report.expected) and all(
            (found := containers.get(service.name)) is not None and _is_well(found, one_shot=service.one_shot)
            for service in self.report.expected
        )


def _is_well(container: Container, *, one_shot: bool) -> bool:
    if one_shot:
        return container.state == "exited" and container.exit_code == 0
    return container.state == "running" and container.health in ("healthy", "none")


def observe(guest: Guest, created_from: str | None) -> Observation:
    """Return what driver and guest say now.

    A guest that does not answer is part of the observation; a driver that cannot tell is an error (DriverMissing,
    DriverUnavailable), never read as "there is no VM".
    """
    instance = guest.driver.find(name=guest.name)
    seen = Observation(instance, created_from=created_from)
    if not seen.is_on:
        return seen
    try:
        return Observation(instance, report=guest.probe(instance), created_from=created_from)
    except (GuestUnreachable, ExecTimeout, GuestCommandFailed, InstanceMissing) as error:
        return Observation(instance, trouble=error, created_from=created_from)
