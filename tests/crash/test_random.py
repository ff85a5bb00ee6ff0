"""Random commands, crashes and interference from outside, in any order: what is promised holds all the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from polis.errors import PolisError
from polis.phase import ORDER, Phase
from polis.store import BACKUP, FILE
from polis.workspace import UpOptions
from tests.crash.platter import Names
from tests.crash.stage import COMMANDS, NEWER, Stage, faults, is_valid, lies, up
from tests.simulated.world import Machine

FOREIGN = "not-ours"

NO_SHRINKING = "POLIS_TEST_NO_SHRINKING"
"""A variable for runs of which only whether they fail is of interest."""

SETTINGS = st.sampled_from([{}, NEWER])


class Interference(RuleBasedStateMachine):
    """One workspace, somebody else's instance beside it, and everything that may happen to both."""

    @initialize(healthy=st.booleans())
    def begin(self, healthy: bool) -> None:
        self._environment = dict(os.environ)
        self._real_fsync = os.fsync
        os.fsync = lambda fd: None  # the platter decides what is safe, not this disk
        self.directory = Path(tempfile.mkdtemp(prefix="polis-random-"))
        self.stage = Stage(self.directory)
        self.stage.driver.world.store(FOREIGN, _foreign())
        self.older: bytes | None = None
        if healthy:
            up(self.stage)

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        try:
            self._heal()
        finally:
            os.fsync = self._real_fsync
            os.environ.clear()
            os.environ.update(self._environment)
            shutil.rmtree(self.directory)

    # ---- commands

    @rule(to=st.sampled_from(ORDER[1:]), wanted=SETTINGS)
    def up(self, to: Phase, wanted: dict[str, str]) -> None:
        with contextlib.suppress(PolisError):
            assert self.stage.open(**wanted).up(UpOptions(target=to)).rank >= to.rank

    @rule(to=st.sampled_from([None, *ORDER]))
    def reset(self, to: Phase | None) -> None:
        with contextlib.suppress(PolisError):
            self.stage.again().reset(to)

    @rule()
    def stop(self) -> None:
        with contextlib.suppress(PolisError):
            self.stage.again().stop()

    @rule()
    def delete(self) -> None:
        with contextlib.suppress(PolisError):
            self.stage.again().delete()

    # ---- crashes

    @rule(
        name=st.sampled_from(["up", "upgrade", "reset_one_by_one", "stop_and_up", "recreate", "delete"]),
        at=st.integers(0, 250),
        cut=st.sampled_from([None, *Names]),
    )
    def crash(self, name: str, at: int, cut: Names | None) -> None:
        def command(stage: Stage) -> None:
            with contextlib.suppress(PolisError):
                COMMANDS[name][0](stage)

        if self.stage.run_and_die(command, at) and cut is not None:
            self.stage.platter.cut_power(cut)

    # ---- interference

    def _is_there(self) -> bool:
        return hasattr(self, "stage") and self.stage.driver.world.machine("polis") is not None

    @precondition(_is_there)
    @rule()
    def delete_the_instance(self) -> None:
        self.stage.driver.delete(name="polis")

    @precondition(_is_there)
    @rule()
    def switch_it_off(self) -> None:
        self.stage.driver.stop(name="polis")

    @precondition(_is_there)
    @rule(change=st.sampled_from(["container", "image", "bundle", "marker", "reboot"]))
    def change_the_guest(self, change: str) -> None:
        with self.stage.driver.change() as machine:
            _change(machine, change)

    def _has_record(self) -> bool:
        return hasattr(self, "stage") and (self.stage.store.directory / FILE).exists()

    @precondition(_has_record)
    @rule()
    def keep_the_record(self) -> None:
        self.older = (self.stage.store.directory / FILE).read_bytes()

    @precondition(lambda self: self._has_record() and self.older is not None)
    @rule()
    def swap_the_record_for_an_older_one(self) -> None:
        assert self.older is not None
        (self.stage.store.directory / FILE).write_bytes(self.older)

    @precondition(lambda self: self._has_record() and self._is_signed())
    @rule(backup=st.booleans())
    def lose_the_record(self, backup: bool) -> None:
        (self.stage.store.directory / FILE).unlink()
        if backup:
            (self.stage.store.directory / BACKUP).unlink(missing_ok=True)

    @precondition(_has_record)
    @rule(at=st.integers(0, 600))
    def tear_the_record(self, at: int) -> None:
        path = self.stage.store.directory / FILE
        if self._is_signed():
            path.write_bytes(path.read_bytes()[:at])

    def _is_signed(self) -> bool:
        """Return whether the guest can tell whose it is; without a record nothing else can."""
        machine = self.stage.driver.world.machine("polis")
        return machine is None or (machine["marker"] is not None and machine["state"] == "running")

    # ---- what must always hold

    @invariant()
    def status_claims_no_more_than_is_true(self) -> None:
        if hasattr(self, "stage"):
            assert lies(self.stage) == ""

    @invariant()
    def what_is_not_ours_is_untouched(self) -> None:
        if hasattr(self, "stage"):
            assert self.stage.driver.world.machine(FOREIGN) == _foreign()

    def _heal(self) -> None:
        """Without faults, `up` ends healthy from wherever it is."""
        machine = self.stage.driver.world.machine("polis")
        if machine is not None and not self._has_record() and not self._is_signed():
            return  # whose it is nobody can tell: refused, which has tests of its own
        reached = self.stage.open().up(UpOptions())
        left = faults(self.stage, None, reached, deleting=True).split("; ")
        # Records were torn, and there is a second instance, on purpose.
        assert set(left) <= {"", "a damaged record was put aside", "not one instance"}, left
        assert is_valid(self.stage.store.directory / FILE)


def _change(machine: Machine, change: str) -> None:
    if change == "container":
        for container in machine["containers"].values():
            container.update(state="exited", exit_code=137)
    elif change == "image":
        machine["images"] = dict(list(machine["images"].items())[1:])
    elif change == "bundle" and machine["bundle"] is not None:
        machine["bundle"]["intact"] = False
    elif change == "marker" and machine["bundle"] is not None:
        machine["bundle"]["marker"] = {"fingerprint": "edited=0"}
    elif change == "reboot":
        for container in machine["containers"].values():
            container["this_boot"] = False


def _foreign() -> Machine:
    return {"owner": "somebody-else", "state": "running", "marker": None, "note": "polis has nothing to do with it"}


TestInterference = pytest.mark.timeout(900)(Interference.TestCase)
TestInterference.settings = settings(
    max_examples=150,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    phases=[phase for phase in Effort if phase is not Effort.shrink or NO_SHRINKING not in os.environ],
    suppress_health_check=list(HealthCheck),
)
