"""Every failure of a call, and a full disk, at each point: the right exit code, the right phase, no lie.

The failure is raised where a real one would be: in the driver's call, before it did anything, half-way, or when its
effect was done and only the answer was lost; or in the operating system's own calls.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

import pytest

from polis.errors import (
    DriverUnavailable,
    ExecTimeout,
    ExitCode,
    GuestCommandFailed,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    LaunchFailed,
    PolisError,
    ProvisioningFailed,
)
from polis.phase import Phase
from polis.store import FILE
from tests.crash.points import Points
from tests.crash.stage import DELETING, Command, Stage, is_valid, lies, prepare, recover, up

pytestmark = pytest.mark.timeout(900)

FAILURES: list[type[PolisError]] = [
    DriverUnavailable,
    ExecTimeout,
    GuestCommandFailed,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    LaunchFailed,
]

NAMES = ("up", "upgrade", "stop_and_up", "reset_one_by_one")


def run(stage: Stage, command: Command, points: Points) -> PolisError | None:
    """Run the command with the points armed; return the error that a user would see."""
    with points.armed(stage.driver, stage.home):
        try:
            command(stage)
        except PolisError as error:
            return error
    return None


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", NAMES)
def test_a_failing_call_is_told_with_its_own_code_and_the_next_up_heals(
    name: str, failure: type[PolisError], stage: Stage, tell: Callable[..., None]
) -> None:
    command = prepare(stage, name)
    points = [index for index, point in enumerate(stage.points(command)) if " exec:" in point or _is_call(point)]
    told = 0
    for at in points:
        stage.put_back()
        before = stage.driver.world.machine("polis")

        def fail(point: str) -> None:
            raise failure(f"cut at {point}", cause="the tool's own words")

        caught = run(stage, command, Points(at, act=fail))
        problem = _judge(stage, caught, failure)
        assert problem == "", f"{failure.kind} at point {at}: {problem}"
        told += caught is not None
        problem = recover(stage, before, deleting=name in DELETING)
        assert problem == "", f"{failure.kind} at point {at}, afterwards: {problem}"
    assert told > len(points) // 3
    tell(f"{name}, {failure.kind} injected", points=len(points), tried=len(points), passed=len(points))


def _is_call(point: str) -> bool:
    return point.rsplit(maxsplit=1)[-1] in ("find", "launch", "start", "stop", "delete", "push")


def _judge(stage: Stage, caught: PolisError | None, failure: type[PolisError]) -> str:
    if caught is None:
        return ""  # waited for, tried again, or met where it does not matter: `recover` looks at what came of it
    record = stage.store.directory / FILE
    if record.exists() and not is_valid(record):
        return "the record is not valid"
    if problem := lies(stage):
        return problem
    # A guest that does not answer, or an action without effect, may be told as what it leads to.
    if type(caught) is not failure and caught.exit_code not in (ExitCode.PROVISIONING, ExitCode.TRANSIENT):
        return f"{caught.kind} ({caught.exit_code}) is told"
    if not caught.hint or not str(caught):
        return "nothing is said"
    return ""


@pytest.mark.parametrize(
    ("command", "below"),
    [
        ("sign", Phase.ABSENT),
        ("place", Phase.LAUNCHED),
        ("pull", Phase.CONFIGURED),
        ("up", Phase.IMAGES_PULLED),
        ("watch", Phase.RUNNING),
    ],
)
def test_an_action_that_reports_success_and_did_nothing_is_not_believed(
    command: str, below: Phase, stage: Stage
) -> None:
    stage.driver.in_vain = {command}
    with pytest.raises(ProvisioningFailed, match="its evidence is missing"):
        up(stage)
    record = stage.store.load().record
    assert record is not None
    assert record.phase is below
    assert lies(stage) == ""
    stage.driver.in_vain = set()
    with stage.driver.change() as machine:
        machine["pushed"] = {}  # a bundle that nobody took stays behind; the next one replaces it
    assert recover(stage, None, deleting=False) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_at_any_point_ends_cleanly_and_the_next_up_goes_on(
    name: str, number: signal.Signals, stage: Stage, tell: Callable[..., None]
) -> None:
    command = prepare(stage, name)
    points = stage.points(command)
    code = ExitCode.INTERRUPTED if number is signal.SIGINT else ExitCode.TERMINATED
    for at in range(len(points)):
        stage.put_back()
        before = stage.driver.world.machine("polis")

        def interrupt(_point: str) -> None:
            raise KeyboardInterrupt(number.name)

        try:
            caught = run(stage, command, Points(at, act=interrupt))
        except KeyboardInterrupt:
            caught = None  # outside of an action: the command line makes the same error of it
        where = f"{number.name} at point {at} ({points[at]})"
        assert caught is None or caught.exit_code == code, f"{where}: {caught}"
        problem = lies(stage) or recover(stage, before, deleting=name in DELETING)
        assert problem == "", f"{where}: {problem}"
    tell(f"{name}, {number.name}", points=len(points), tried=len(points), passed=len(points))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("lasting", [True, False], ids=["from then on", "once"])
@pytest.mark.parametrize("name", ["up", "reset_one_by_one", "delete"])
def test_a_disk_that_fails_at_any_step_is_told_and_loses_nothing(
    name: str, lasting: bool, code: int, stage: Stage, tell: Callable[..., None]
) -> None:
    command = prepare(stage, name)
    points = stage.points(command, only_disk=True)
    told = 0
    for at, point in enumerate(points):
        stage.put_back()
        before = stage.driver.world.machine("polis")

        def fail(_point: str) -> None:
            raise OSError(code, os.strerror(code))

        caught = run(stage, command, Points(at, act=fail, onwards=lasting, only_disk=True))
        where = f"{errno.errorcode[code]} at {point}"
        if caught is not None:
            told += 1
            assert caught.exit_code == ExitCode.HOST, f"{where}: {caught}"
            assert os.strerror(code) in caught.cause, f"{where}: {caught}"
            assert caught.hint
        problem = recover(stage, before, deleting=name in DELETING)
        assert problem == "", f"{where}: {problem}"
    assert told > 0
    scenario = f"{name}, {errno.errorcode[code]} {'from then on' if lasting else 'once'}"
    tell(scenario, points=len(points), tried=len(points), passed=len(points))
