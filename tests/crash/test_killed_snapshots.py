"""SIGKILL and a power cut around and within every driver call of what takes, uses and restores snapshots and templates.

How the record is written between these calls is the same as in every command, and is cut in `test_killed`.
Beside what every command promises: what is kept has never been anybody's, there is one template at most, and a
restored VM is the same instance.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polis.phase import Phase
from polis.states.savepoint import LABEL
from polis.store import FILE
from polis.workspace import UpOptions
from tests.crash.platter import Names
from tests.crash.stage import Command, Settings, Stage, is_valid, recover

pytestmark = pytest.mark.timeout(900)

KEPT: Settings = {"snapshots": True}


def up(stage: Stage) -> None:
    stage.open(**KEPT).up(UpOptions())


def restore(stage: Stage) -> None:
    stage.open(**KEPT).reset(Phase.LAUNCHED)


def recreate(stage: Stage) -> None:
    stage.open(**KEPT).up(UpOptions(recreate=True))


def delete_all(stage: Stage) -> None:
    stage.open(**KEPT).delete(secrets=True)


def nothing(stage: Stage) -> None:
    stage.open(**KEPT)


def template(stage: Stage) -> None:
    up(stage)
    stage.open(**KEPT).delete()


COMMANDS: dict[str, tuple[Command, Command]] = {
    "keep": (nothing, up),
    "begin as the template": (template, up),
    "restore": (up, restore),
    "recreate": (up, recreate),
    "delete all": (up, delete_all),
}
"""What is done before, and the command that is cut."""


DISK = ("open", "write", "fsync", "link", "mkdir", "rename", "replace", "unlink", "of")
"""The second words of the points that are no driver call's."""


def calls(points: list[str]) -> list[tuple[int, str]]:
    """Return the points around and within driver calls, each with its number."""
    return [(at, point) for at, point in enumerate(points) if point.split()[1] not in DISK]


def wrongs(stage: Stage, launches: int) -> str:
    """Return what is wrong with what is kept, or an empty string."""
    world = stage.driver.world.load()
    kept = list(world.get("templates", {}).values())
    for machine in world["instances"].values():
        kept += [each for label, each in machine["snapshots"].items() if label in machine["complete_snapshots"]]
    checks = {
        "somebody's own is kept": all(each["marker"] is None and each["sealed"] for each in kept),
        "something configured is kept": not any(each["bundle"] or each["pushes"] or each["images"] for each in kept),
        "more than one template": len(world.get("templates", {})) <= 1,
        "the VM has no snapshot": stage.driver.machine_of()["complete_snapshots"] == [LABEL],
        "the VM is still sealed": not stage.driver.machine_of()["sealed"],
        "another VM was made": launches in (0, world["launches"]),
    }
    return "; ".join(problem for problem, holds in checks.items() if not holds)


@pytest.mark.parametrize("cut", [None, Names.SYNCED], ids=["killed", "power cut"])
@pytest.mark.parametrize("name", COMMANDS)
def test_cut_around_every_call_the_next_up_ends_healthy_and_what_is_kept_is_nobodys(
    name: str, cut: Names | None, stage: Stage, tell: Callable[..., None]
) -> None:
    before, command = COMMANDS[name]
    before(stage)
    stage.keep()
    points = stage.points(command)
    launches = stage.driver.world.load()["launches"] if name == "restore" else 0
    tried = 0
    for at, point in calls(points):
        stage.put_back()
        machine = stage.driver.world.machine("polis")
        assert stage.run_and_die(command, at), f"the command has no point {at} any more"
        if cut is not None and not stage.platter.cut_power(cut):
            continue
        tried += 1
        record = stage.store.directory / FILE
        assert not record.exists() or is_valid(record), f"at point {at} ({point}): no valid record"
        destroyed = name == "delete all" and stage.keys() is None
        problem = recover(stage, machine, deleting=True, destroyed=destroyed) or wrongs(stage, launches)
        assert problem == "", f"at point {at} ({point}): {problem}"
    assert tried > 0
    tell(f"snapshots: {name}, {cut}", points=len(points), tried=tried, passed=tried)


def test_a_restoration_cut_anywhere_is_resumed_by_the_same_command(stage: Stage) -> None:
    up(stage)
    stage.keep()
    points = stage.points(restore)
    for at, point in calls(points):
        stage.put_back()
        assert stage.run_and_die(restore, at)
        restore(stage)
        machine = stage.driver.machine_of()
        status = stage.again().status()
        assert status.phase is Phase.LAUNCHED, f"at point {at} ({point}): {status.phase}"
        assert machine["bundle"] is None, f"at point {at} ({point})"
        assert wrongs(stage, stage.driver.world.load()["launches"]) == "", f"at point {at} ({point})"
