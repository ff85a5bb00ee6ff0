"""SIGKILL at every point of a command: before and after every driver call and every step of every durable write.

The process that dies is a real one (a fork of this test), killed by the real signal. What must hold afterwards: the
next `up` ends healthy with one instance, nothing that held was done again, and every record that is read is valid.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from polis import config, durable, events, paths
from polis.errors import PolisError
from polis.phase import Phase
from polis.store import FILE, Store
from polis.workspace import UpOptions, Workspace
from tests.simulation import SimulatedDriver

pytestmark = pytest.mark.timeout(600)


@dataclass
class Bomb:
    """Counts the points that a command passes, and kills the process at one of them."""

    at: int | None = None
    passed: list[str] = field(default_factory=list)

    def pass_point(self, name: str) -> None:
        self.passed.append(name)
        if self.at is not None and len(self.passed) > self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self, driver: SimulatedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        driver.interfere = lambda call, moment: self.pass_point(f"{moment} {call}")
        for owner, name in ((durable, "_write_through"), (durable, "sync_directory"), (Path, "replace")):
            self._wrap(owner, name, monkeypatch)

    def _wrap(self, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        original = getattr(owner, name)

        def wrapped(target: Any, *rest: Any, **named: Any) -> Any:
            if "world" in str(target):  # the simulation's own file
                return original(target, *rest, **named)
            self.pass_point(f"before {name}")
            answer = original(target, *rest, **named)
            self.pass_point(f"after {name}")
            return answer

        monkeypatch.setattr(owner, name, wrapped)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that the kernel has; only a power cut would, and that is not tried here."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


class World:
    """A home and a simulated machine that can be put back to how they were."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory / "now"
        self._saved = directory / "saved"
        self.directory.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("POLIS_HOME", str(self.directory / "home"))
        self.driver = SimulatedDriver(self.directory / "world.json")

    def open(self, **settings: object) -> Workspace:
        spec = config.Spec.model_validate({"name": "polis", **settings})
        return Workspace(spec, paths.find(), events.Stream(), self.driver)

    def keep(self) -> None:
        shutil.copytree(self.directory, self._saved)

    def put_back(self) -> None:
        shutil.rmtree(self.directory)
        shutil.copytree(self._saved, self.directory)

    def count(self, command: Callable[[World], object]) -> list[str]:
        bomb = Bomb()
        with self._monkeypatch.context() as patch:
            bomb.arm(self.driver, patch)
            command(self)
        self.driver.interfere = lambda _call, _moment: None
        return bomb.passed

    def run_and_die(self, command: Callable[[World], object], at: int) -> None:
        """Run the command in a child process that is killed at the given point."""
        child = os.fork()
        if child == 0:
            self._die(command, at)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"the command survived point {at}"
        assert os.WTERMSIG(status) == signal.SIGKILL

    def _die(self, command: Callable[[World], object], at: int) -> NoReturn:
        try:
            Bomb(at).arm(self.driver, self._monkeypatch)
            command(self)
        finally:
            os._exit(0)


def up(world: World) -> None:
    world.open().up(UpOptions())


def upgrade(world: World) -> None:
    world.open(version="v0.5.1").up(UpOptions())


def stop_and_up(world: World) -> None:
    world.open().stop()
    world.open().up(UpOptions())


def reset(world: World) -> None:
    world.open().reset(Phase.ABSENT)


def reset_one_by_one(world: World) -> None:
    for _ in range(5):
        world.open().reset(None)


def delete(world: World) -> None:
    world.open().delete()


COMMANDS: list[tuple[Callable[[World], object], bool]] = [
    (up, False),
    (upgrade, True),
    (stop_and_up, True),
    (reset, True),
    (reset_one_by_one, True),
    (delete, True),
]
"""Each command, and whether it begins with a healthy workspace."""

LEAVING = (reset, reset_one_by_one, delete)
"""Commands that delete the instance on purpose."""


@pytest.mark.parametrize(("command", "healthy"), COMMANDS, ids=[command.__name__ for command, _ in COMMANDS])
def test_killed_at_every_point_the_next_up_ends_healthy(
    command: Callable[[World], object], healthy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    if healthy:
        up(world)
    world.keep()
    points = world.count(command)
    for at, point in enumerate(points):
        world.put_back()
        before = _figures(world)
        world.run_and_die(command, at)
        problem = _check_recovery(world, before, command)
        assert problem == "", f"killed at point {at} ({point}): {problem}"
    print(f"{command.__name__}: {len(points)} of {len(points)} points passed")  # noqa: T201 -- the figure is the result


@pytest.mark.parametrize(
    ("call", "phase"),
    [
        ("launch", Phase.LAUNCHED),
        ("exec:wait", Phase.LAUNCHED),
        ("push", Phase.CONFIGURED),
        ("exec:pull", Phase.IMAGES_PULLED),
        ("exec:up", Phase.RUNNING),
        ("exec:watch", Phase.HEALTHY),
    ],
)
def test_the_record_tells_what_was_in_flight_before_anything_was_done(
    call: str, phase: Phase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    # Without a stamp on the instance, this record is all that proves whose it is until the guest is signed.
    world.driver.stamps = False
    world.keep()
    point = world.count(up).index(f"before {call}")
    world.put_back()
    world.run_and_die(up, point)
    record = Store(paths.find().workspace("polis")).load().record
    assert record is not None
    assert record.transition is not None
    assert record.transition.to is phase
    assert record.created_from is not None
    assert _check_recovery(world, {}, up) == ""


@pytest.mark.parametrize("stride", [7])
def test_killed_twice_in_a_row_the_next_up_ends_healthy(
    stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    world.keep()
    first = range(0, len(world.count(up)), stride)
    tried = 0
    for at in first:
        for again in range(0, 60, stride):
            world.put_back()
            world.run_and_die(up, at)
            before = _figures(world)
            try:
                world.run_and_die(up, again)
            except AssertionError:
                break  # the resumed command has fewer points than that
            tried += 1
            problem = _check_recovery(world, before, up)
            assert problem == "", f"killed at {at}, then at {again}: {problem}"
    assert tried > 30
    print(f"up, killed twice: {tried} of {tried} pairs passed")  # noqa: T201 -- the figure is the result


def _figures(world: World) -> dict[str, Any]:
    instances = world.driver._load()["instances"]
    return dict(instances.get("polis", {}))


def _check_recovery(world: World, before: dict[str, Any], command: Callable[[World], object]) -> str:
    """Let the next `up` act, and return what is wrong afterwards, or an empty string."""
    workspace = world.open(version="v0.5.1") if command is upgrade else world.open()
    claimed = workspace.status()
    if (
        claimed.phase.rank > Phase(claimed.document["recorded_phase"]).rank
        and Store(paths.find().workspace("polis")).load().record is not None
    ):
        return f"status claims {claimed.phase}, more than is recorded"
    try:
        reached = workspace.up(UpOptions())
    except PolisError as error:
        return f"up failed: {error}"
    machine = world.driver.machine_of()
    kept = {before["owner"]: 1} if before else {}
    checks = {
        "not healthy": reached is Phase.HEALTHY,
        "more than one instance": len(world.driver._load()["instances"]) == 1,
        "another instance without need": machine["owner"] in kept or not kept or command in LEAVING,
        "something was pulled or placed although it was there": machine["needless"] == 0,
        "a partial file is left": not list(world.directory.rglob(f"*{durable.PARTIAL}")),
        "the record cannot be read": Store(paths.find().workspace("polis")).load().record is not None,
        "a damaged record was put aside": not list(world.directory.rglob(f"{FILE}.corrupt-*")),
        "something is still in flight": workspace.status().document["transition"] is None,
    }
    return ", ".join(problem for problem, holds in checks.items() if not holds)
