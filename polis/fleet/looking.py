"""What is known of a fleet without asking any guest: its records, and one question to each engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polis import assembly, events
from polis.drivers.base import Census, InstanceState
from polis.errors import ForeignInstance, PolisError
from polis.phase import Phase
from polis.status import in_flight, last_failure
from polis.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from polis.drivers.base import Driver, Instance
    from polis.fleet.spec import Member
    from polis.paths import Paths
    from polis.record import Record


@dataclass(frozen=True)
class Sight:
    """What is remembered of a member, and whether its engine has the instance; `problem` is why that is not known."""

    member: Member
    record: Record | None
    instance: Instance | None
    driver: str | None
    problem: PolisError | None = None

    @property
    def recorded(self) -> Phase:
        """Return the phase that is remembered."""
        return self.record.phase if self.record is not None else Phase.ABSENT

    @property
    def phase(self) -> Phase:
        """Return the phase that is remembered, unless the instance is off or gone: then nothing above absent holds."""
        is_on = self.instance is not None and self.instance.state is InstanceState.RUNNING
        return self.recorded if is_on else Phase.ABSENT

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "member": self.member.name,
            "labels": dict(self.member.labels),
            "phase": self.phase.value,
            "recorded_phase": self.recorded.value,
            "remembered": True,
            "driver": self.driver,
            "state": self.instance.state.value if self.instance is not None else None,
            "ipv4": list(self.instance.ipv4) if self.instance is not None else [],
            "transition": in_flight(self.record),
            "last_error": last_failure(self.record),
            "error": events.describe(self.problem) if self.problem is not None else None,
        }


def recorded_phase(paths: Paths, name: str) -> str:
    """Return the phase that is remembered of a workspace; `unknown` for a record that cannot be read."""
    try:
        record = Store(paths.workspace(name)).load().record
    except PolisError:
        return "unknown"
    return record.phase.value if record is not None else Phase.ABSENT.value


def look(members: Sequence[Member], paths: Paths) -> list[Sight]:
    """Return what is known of each member. Every engine is asked once for all of its instances, where it can tell."""
    records = {member.name: _record(paths, member.name) for member in members}
    engines = _Engines(paths)
    for member in members:
        engines.add(member, records[member.name][0])
    return [_sight(member, *records[member.name], engines) for member in members]


def _record(paths: Paths, name: str) -> tuple[Record | None, PolisError | None]:
    try:
        return Store(paths.workspace(name)).load().record, None
    except PolisError as problem:
        return None, problem


def _sight(member: Member, record: Record | None, problem: PolisError | None, engines: _Engines) -> Sight:
    instance, driver, trouble = engines.answer(member)
    if instance is not None and trouble is None and _is_foreign(instance, record):
        trouble = ForeignInstance(
            f"an instance named {member.name} exists, and this workspace did not create it",
            remains="the instance is untouched",
            hint="choose another name, or take it over with `polis up --adopt`",
        )
        return Sight(member, record, None, driver, problem or trouble)
    return Sight(member, record, instance, driver, problem or trouble)


def _is_foreign(instance: Instance, record: Record | None) -> bool:
    """Return whether the stamp on the instance is another's; one without a stamp cannot tell."""
    return record is not None and instance.owner is not None and instance.owner != record.id


class _Engines:
    """The engines that members are on: one driver each, however many members."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._keys: dict[str, str] = {}
        self._drivers: dict[str, Driver | PolisError] = {}
        self._all: dict[str, Mapping[str, Instance] | PolisError] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, member: Member, record: Record | None) -> None:
        """Note where a member's instance is."""
        recorded = record.driver if record is not None else None
        spec = member.alike
        where = spec.incus.model_dump(include={"remote", "project"})  # what else it says tells no instances apart
        key = json.dumps([spec.driver, recorded if spec.driver is None else None, where])
        self._keys[member.name] = key
        self._names.setdefault(key, []).append(member.name)
        if key not in self._drivers:
            try:
                self._drivers[key] = assembly.driver(spec, self._paths, recorded=recorded)
            except PolisError as problem:
                self._drivers[key] = problem

    def answer(self, member: Member) -> tuple[Instance | None, str | None, PolisError | None]:
        """Return the member's instance, its driver's name, and why that is not known."""
        key = self._keys[member.name]
        driver = self._drivers[key]
        if isinstance(driver, PolisError):
            return None, None, driver
        if key not in self._all:
            self._all[key] = _ask(driver, self._names[key])
        found = self._all[key]
        if isinstance(found, PolisError):
            return None, driver.name, found
        return found.get(member.name), driver.name, None


def _ask(driver: Driver, names: Iterable[str]) -> Mapping[str, Instance] | PolisError:
    try:
        if isinstance(driver, Census):
            return driver.find_all()
        seen = {name: driver.find(name=name) for name in names}
    except PolisError as problem:
        return problem
    return {name: instance for name, instance in seen.items() if instance is not None}
