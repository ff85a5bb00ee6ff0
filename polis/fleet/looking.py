"""What is known of a fleet without asking any guest: its records, and one question to each engine.

Records that a server keeps for all operators are one question more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polis import assembly, events
from polis.drivers.base import Census, InstanceState
from polis.drivers.entries import HasEntries
from polis.errors import ForeignInstance, PolisError
from polis.phase import Phase
from polis.status import in_flight, last_failure
from polis.store import Loaded, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from polis.drivers.base import Driver, Instance
    from polis.fleet.spec import Member
    from polis.paths import Paths
    from polis.record import Record


@dataclass(frozen=True)
class Memory:
    """What is remembered of a member; `problem` is why it cannot be read."""

    loaded: Loaded
    problem: PolisError | None = None

    @property
    def record(self) -> Record | None:
        """Return the record, if there is one."""
        return self.loaded.record

    @property
    def phase(self) -> str:
        """Return the phase that is remembered; `unknown` for a record that cannot be read."""
        if self.record is None:
            return "unknown" if self.problem is not None else Phase.ABSENT.value
        return self.record.phase.value


@dataclass(frozen=True)
class Sight:
    """What is remembered of a member, and whether its engine has the instance; `problem` is why that is not known."""

    member: Member
    loaded: Loaded
    instance: Instance | None
    driver: str | None
    problem: PolisError | None = None

    @property
    def record(self) -> Record | None:
        """Return what is remembered of it, if anything."""
        return self.loaded.record

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
            "transition": in_flight(self.record, working=self.loaded.working),
            "last_error": last_failure(self.record),
            "error": events.describe(self.problem) if self.problem is not None else None,
        }


def remembered(members: Sequence[Member], paths: Paths) -> dict[str, Memory]:
    """Return what is remembered of each member, by its name, here or by its server."""
    engines = _Engines(members, paths)
    return {member.name: engines.memory(member) for member in members}


def look(members: Sequence[Member], paths: Paths) -> list[Sight]:
    """Return what is known of each member. Every engine is asked once for all of its instances, where it can tell."""
    engines = _Engines(members, paths)
    return [_sight(member, engines) for member in members]


def _own(paths: Paths, name: str) -> Memory:
    """Return what this machine remembers."""
    try:
        return Memory(Store(paths.workspace(name)).load())
    except PolisError as problem:
        return Memory(Loaded(None), problem)


def _sight(member: Member, engines: _Engines) -> Sight:
    memory = engines.memory(member)
    loaded, problem = memory.loaded, memory.problem
    instance, driver, trouble = engines.answer(member)
    if instance is not None and trouble is None and _is_foreign(instance, memory.record):
        trouble = ForeignInstance(
            f"an instance named {member.name} exists, and this workspace did not create it",
            remains="the instance is untouched",
            hint="choose another name, or take it over with `polis up --adopt`",
        )
        return Sight(member, loaded, None, driver, problem or trouble)
    return Sight(member, loaded, instance, driver, problem or trouble)


def _is_foreign(instance: Instance, record: Record | None) -> bool:
    """Return whether the stamp on the instance is another's; one without a stamp cannot tell."""
    return record is not None and instance.owner is not None and instance.owner != record.id


class _Engines:
    """The engines that members are on: one driver each, however many members."""

    def __init__(self, members: Iterable[Member], paths: Paths) -> None:
        self._paths = paths
        self._own: dict[str, Memory] = {}
        self._keys: dict[str, str] = {}
        self._drivers: dict[str, Driver | PolisError] = {}
        self._all: dict[str, Mapping[str, Instance] | PolisError] = {}
        self._shared: dict[str, Mapping[str, Loaded] | PolisError | None] = {}
        self._names: dict[str, list[str]] = {}
        for member in members:
            self._add(member)

    def _add(self, member: Member) -> None:
        """Note what this machine remembers of a member, and where its instance is."""
        own = self._own[member.name] = _own(self._paths, member.name)
        recorded = own.record.driver if own.record is not None else None
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

    def memory(self, member: Member) -> Memory:
        """Return what is remembered of a member: by its server, if that keeps records; else here."""
        key, own = self._keys[member.name], self._own[member.name]
        if key not in self._shared:
            self._shared[key] = _records(self._drivers[key])
        shared = self._shared[key]
        if shared is None:
            return own
        if isinstance(shared, PolisError):
            return Memory(own.loaded, shared)
        return Memory(shared.get(member.name, Loaded(None)))

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


def _records(driver: Driver | PolisError) -> Mapping[str, Loaded] | PolisError | None:
    """Return all records that the driver's server keeps, why they cannot be read, or None if it keeps none."""
    if isinstance(driver, PolisError) or not (driver.capabilities.cluster and isinstance(driver, HasEntries)):
        return None
    from polis import shared

    try:
        return shared.records(driver.entries())
    except PolisError as problem:
        return problem


def _ask(driver: Driver, names: Iterable[str]) -> Mapping[str, Instance] | PolisError:
    try:
        if isinstance(driver, Census):
            return driver.find_all()
        seen = {name: driver.find(name=name) for name in names}
    except PolisError as problem:
        return problem
    return {name: instance for name, instance in seen.items() if instance is not None}
