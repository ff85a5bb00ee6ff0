"""Many simulated machines, each in a file of its own, so that threads and processes change them at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polis.drivers.base import Instance
from tests.simulated.driver import Interfere, SimulatedDriver


@dataclass
class OneOfMany(SimulatedDriver):
    """The driver of one machine, which can name them all."""

    asked: list[str] = field(default_factory=list, kw_only=True)
    """Calls of the fleet's drivers that asked for all at once."""

    def find_all(self) -> Mapping[str, Instance]:
        self.asked.append("find_all")
        found = {}
        for path in sorted(self.path.parent.glob("*.world.json")):
            name = path.name.removesuffix(".world.json")
            instance = SimulatedDriver(path=path, stamps=self.stamps).find(name=name)
            if instance is not None:
                found[name] = instance
        return found


@dataclass
class Machines:
    """Stands in for `assembly.driver`: each workspace's driver, all in one directory."""

    directory: Path
    interfere: Callable[[str, str, str], None] = field(default=lambda _name, _call, _moment: None)
    """As that of a driver, with the workspace's name first."""
    stamps: bool = True
    asked: list[str] = field(default_factory=list)

    def __call__(self, spec: Any, *_: Any, **__: Any) -> OneOfMany:
        return self.of(spec.name)

    def of(self, name: str) -> OneOfMany:
        """Return the driver of one machine."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{name}.world.json"
        return OneOfMany(path=path, interfere=self._of(name), stamps=self.stamps, asked=self.asked)

    def _of(self, name: str) -> Interfere:
        return lambda call, moment: self.interfere(name, call, moment)
