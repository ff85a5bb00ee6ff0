"""SIGKILL and a power cut at every point of every command: the next `up` ends healthy, and nothing is lost or doubled.

The process that dies is a real one (a fork of this test), killed by the real signal. A power cut is a kill after which
the disk has only what was fsynced (see `platter`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polis.phase import Phase
from polis.store import FILE
from tests.crash.platter import Names
from tests.crash.stage import COMMANDS, DELETING, Stage, is_valid, prepare, recover, up

pytestmark = pytest.mark.timeout(900)

CUTS: dict[str, Names | None] = {
    "killed": None,
    "power cut, names lost": Names.SYNCED,
    "power cut, names kept": Names.ALL,
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_cut_at_every_point_the_next_up_ends_healthy(
    name: str, cut: str, stage: Stage, tell: Callable[..., None]
) -> None:
    command = prepare(stage, name)
    points = stage.points(command)
    tried = 0
    for at, point in enumerate(points):
        stage.put_back()
        before = stage.driver.world.machine("polis")
        assert stage.run_and_die(command, at), f"the command has no point {at} any more"
        names = CUTS[cut]
        if names is not None and not stage.platter.cut_power(names):
            continue  # the disk had everything: as if it was killed
        tried += 1
        record = stage.store.directory / FILE
        assert not record.exists() or is_valid(record), f"{cut} at point {at} ({point}): no valid record"
        problem = recover(stage, before, deleting=name in DELETING)
        assert problem == "", f"{cut} at point {at} ({point}): {problem}"
    assert tried > 0
    tell(f"{name}, {cut}", points=len(points), tried=tried, passed=tried)


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
def test_the_record_tells_what_was_in_flight_before_anything_was_done(call: str, phase: Phase, stage: Stage) -> None:
    stage.keep()
    point = stage.points(up).index(f"before {call}")
    stage.put_back()
    assert stage.run_and_die(up, point)
    record = stage.store.load().record
    assert record is not None
    assert record.transition is not None
    assert record.transition.to is phase
    assert record.created_from is not None


PAIRS: list[tuple[str, int]] = [("up", 13), ("upgrade", 17), ("reset_one_by_one", 29)]
"""Commands and every how many-th point is tried as the first and as the second."""


@pytest.mark.parametrize(("name", "stride"), PAIRS)
def test_cut_twice_in_a_row_the_next_up_ends_healthy(
    name: str, stride: int, stage: Stage, tell: Callable[..., None]
) -> None:
    command = prepare(stage, name)
    points = stage.points(command)
    tried = 0
    for at in range(0, len(points), stride):
        for again in range(at % stride, len(points), stride):
            stage.put_back()
            before: dict[str, Any] | None = stage.driver.world.machine("polis")
            assert stage.run_and_die(command, at)
            if at % 2:
                stage.platter.cut_power(Names.ALL)
            if not stage.run_and_die(up if name in DELETING else command, again):
                break  # what was left to do has fewer points than that
            if again % 2:
                stage.platter.cut_power(Names.SYNCED)
            tried += 1
            problem = recover(stage, before, deleting=name in DELETING)
            assert problem == "", f"cut at {at} ({points[at]}), then at {again}: {problem}"
    assert tried > 20
    tell(f"{name}, cut twice (every {stride}th point)", points=len(points), tried=tried, passed=tried)
