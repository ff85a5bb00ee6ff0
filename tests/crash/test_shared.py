"""The crash rules where the record is the server's: SIGKILL before and after every request, and two operators.

The machine is the simulated one, the server keeps its profiles in a file beside the world. A second operator has a home
of their own, and nothing but the server in common with the first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from polis import lease
from polis.drivers.base import Capabilities
from polis.drivers.entries import Entries
from polis.drivers.incus.api import Answer
from polis.phase import Phase
from polis.workspace import UpOptions
from tests.crash.stage import DELETING, Stage, prepare, recover, up
from tests.profiles import ProfileServer, entries
from tests.simulated import SimulatedDriver

pytestmark = pytest.mark.timeout(900)

WORDS = {"GET": "reading", "POST": "creating", "PUT": "replacing", "DELETE": "removing"}


@dataclass
class ClusteredDriver(SimulatedDriver):
    """A simulated driver with a simulated server."""

    def entries(self) -> Entries:
        return entries(self)

    @property
    def profiles(self) -> Path:
        return self.path.with_name("profiles.json")

    def request(self, verb: str, path: str, content: Any = None, *, tag: str = "", limit: float) -> Answer:
        """Send a request to the server, which remembers everything in a file."""
        kind = "a turn" if ".lease." in f"{path} {content}" else "the record"
        self.interfere(f"{WORDS[verb]} {kind}", "before")
        known = json.loads(self.profiles.read_bytes()) if self.profiles.exists() else {}
        server = ProfileServer(known)
        answer = server.request(verb, path, content, tag=tag, limit=limit)
        self.profiles.write_text(json.dumps(server.profiles))
        self.interfere(f"{WORDS[verb]} {kind}", "after")
        return answer

    def names(self) -> list[str]:
        return sorted(json.loads(self.profiles.read_bytes()))


@pytest.fixture
def shared(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return a stage whose record is the server's; no beat comes in between, however slow the machine is."""
    monkeypatch.setattr(lease.Pace.__init__, "__defaults__", (3600.0, *(lease.Pace.__init__.__defaults__ or ())[1:]))
    stage.driver = ClusteredDriver(
        path=stage.directory / "world.json", stamps=False, capabilities=Capabilities(cluster=True)
    )
    return stage


@contextmanager
def elsewhere(stage: Stage) -> Iterator[None]:
    """Work from another machine."""
    home = os.environ["POLIS_HOME"]
    os.environ["POLIS_HOME"] = str(stage.directory / "elsewhere")
    try:
        yield
    finally:
        os.environ["POLIS_HOME"] = home


def is_request(point: str) -> bool:
    return any(f" {word} " in point for word in WORDS.values())


@pytest.mark.parametrize("name", ["up", "new_bundle", "reset_one_by_one", "recreate", "delete"])
def test_killed_around_every_request_the_next_up_ends_healthy(
    name: str, shared: Stage, tell: Callable[..., None]
) -> None:
    command = prepare(shared, name)
    points = shared.points(command)
    chosen = [at for at, point in enumerate(points) if is_request(point)]
    assert len(chosen) > 10
    for at in chosen:
        shared.put_back()
        before = shared.driver.world.machine("polis")
        assert shared.run_and_die(command, at)
        problem = recover(shared, before, deleting=name in DELETING)
        assert problem == "", f"killed at point {at} ({points[at]}): {problem}"
        assert isinstance(shared.driver, ClusteredDriver)
        # A deletion that was killed just before its last request leaves its turn, which nobody looks for any more.
        left = [each for each in shared.driver.names() if ".lease." not in each or name not in DELETING]
        assert left == ["polis.default.polis"], f"killed at point {at} ({points[at]})"
    tell(f"{name}, killed around requests", points=len(points), tried=len(chosen), passed=len(chosen))


def test_another_operator_sees_the_same_and_goes_on_from_where_the_first_was_killed(shared: Stage) -> None:
    shared.keep()
    points = shared.points(up)
    for call, phase in (("launch", Phase.ABSENT), ("exec:pull", Phase.CONFIGURED), ("exec:watch", Phase.RUNNING)):
        shared.put_back()
        assert shared.run_and_die(up, points.index(f"after {call}"))
        mine = shared.open().status().document
        with elsewhere(shared):
            theirs = shared.open().status().document
            assert theirs["phase"] == phase
            assert {**theirs, "services": []} == {**mine, "services": []}
            assert shared.open().up(UpOptions()) is Phase.HEALTHY
        assert shared.open().status().phase is Phase.HEALTHY
        assert not shared.open().plan(UpOptions()).is_pending
        machine = shared.driver.machine_of()
        assert machine["needless"] == []
        assert shared.driver.world.load()["launches"] == 1


def test_what_one_operator_deletes_is_gone_for_the_other(shared: Stage) -> None:
    up(shared)
    with elsewhere(shared):
        assert shared.open().delete()
    assert shared.open().status().phase is Phase.ABSENT
    assert not shared.open().exists()
    assert isinstance(shared.driver, ClusteredDriver)
    assert shared.driver.names() == []
    up(shared)
    assert shared.open().status().phase is Phase.HEALTHY
