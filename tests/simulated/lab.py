"""Workspaces on simulated machines, opened as a new process would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polis import config, events, paths
from polis.phase import Phase
from polis.record import Record
from polis.store import Store
from polis.workspace import UpOptions, Workspace
from tests.simulated.driver import SimulatedDriver

FAST: Mapping[str, object] = {"retry": {"attempts": 3, "base": 0.001, "cap": 0.001}}


@dataclass
class Recorder:
    """A sink that keeps what it is told."""

    taken: list[events.Event] = field(default_factory=list)

    def take(self, event: events.Event) -> None:
        self.taken.append(event)

    def phases(self, kind: type[events.Event]) -> list[str]:
        return [event.payload()["phase"] for event in self.taken if isinstance(event, kind)]

    @property
    def texts(self) -> str:
        return "\n".join(str(event.payload()) for event in self.taken)


@dataclass
class Lab:
    """A simulated world, and what all workspaces in it are configured with."""

    driver: SimulatedDriver
    settings: Mapping[str, object] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)

    def open(self, name: str = "polis", **settings: object) -> Workspace:
        self.recorder.taken.clear()
        spec = config.Spec.model_validate({**FAST, **self.settings, "name": name, **settings})
        return Workspace(spec, paths.find(), events.Stream([self.recorder]), self.driver)

    def up(self, name: str = "polis", **settings: object) -> Phase:
        return self.open(name, **settings).up(UpOptions())

    def calls(self) -> list[str]:
        """Return a list to which each driver call from now on is added."""
        seen: list[str] = []
        self.driver.interfere = lambda call, moment: seen.append(call) if moment == "before" else None
        return seen

    @property
    def record(self) -> Record:
        record = Store(paths.find().workspace("polis")).load().record
        assert record is not None
        return record
