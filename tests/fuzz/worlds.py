"""A workspace on a simulated machine, put back to where it was for each example."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from polis import config, events
from polis.paths import Paths
from polis.store import FILE, Store
from polis.workspace import Workspace
from tests.simulated import SimulatedDriver as SimulatedDriver  # noqa: PLC0414 -- imported from here alone
from tests.simulated.lab import Recorder

FAST = {"retry": {"attempts": 2, "base": 0.001, "cap": 0.001}}


@dataclass(frozen=True)
class Place:
    """A directory with one workspace, its machine, and all that polis keeps about them."""

    root: Path
    recorder: Recorder = field(default_factory=Recorder, repr=False)

    @property
    def paths(self) -> Paths:
        return Paths(*(self.root / name for name in ("config", "data", "cache", "logs", "runtime")))

    @property
    def directory(self) -> Path:
        return self.paths.workspace("polis")

    @property
    def record(self) -> Path:
        return self.directory / FILE

    @property
    def store(self) -> Store:
        return Store(self.directory)

    def driver(self) -> SimulatedDriver:
        return SimulatedDriver(path=self.root / "world.json")

    def open(self, driver: SimulatedDriver | None = None) -> Workspace:
        """Open the workspace as a new process would."""
        spec = config.Spec.model_validate(FAST)
        return Workspace(spec, self.paths, events.Stream([self.recorder]), driver or self.driver())


@contextlib.contextmanager
def copy_of(template: Place) -> Iterator[Place]:
    """Give a place of its own where everything is as in the template."""
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        shutil.copytree(template.root, directory, dirs_exist_ok=True)
        yield Place(Path(directory))
