"""Whose an instance is: no other workspace's is taken, started or deleted."""

from __future__ import annotations

import subprocess

import pytest

from polis.drivers.multipass.driver import MultipassDriver
from polis.errors import ExitCode, ForeignInstance, InstanceMissing
from polis.waiting import wait_until
from tests.fakes.multipass.install import Fake
from tests.unit.multipass_driver.driving import killed_launch, make, request, state_file

pytestmark = pytest.mark.processes


def test_a_foreign_instance_is_refused_and_stays_as_it_is(fake: Fake, driver: MultipassDriver) -> None:
    make(fake, owner="somebody-else")
    before = fake.guest("polis").boot_id()
    with pytest.raises(ForeignInstance, match="another workspace") as caught:
        driver.launch(request=request())
    assert caught.value.exit_code == ExitCode.NOT_FOUND
    assert fake.states() == {"polis": "Running"}
    assert fake.guest("polis").boot_id() == before
    assert not fake.calls("delete", "stop", "launch", "transfer")


def test_a_foreign_instance_that_is_off_is_off_afterwards(fake: Fake, driver: MultipassDriver) -> None:
    make(fake, owner="somebody-else")
    fake.call("stop", "polis")
    with pytest.raises(ForeignInstance, match="another workspace"):
        driver.launch(request=request())
    assert fake.states() == {"polis": "Stopped"}


def test_an_instance_that_turned_up_behind_our_back_must_carry_our_stamp(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(prepare=2.0)
    other = subprocess.Popen(["multipass", "launch", "--name", "polis", "24.04"], stdin=subprocess.DEVNULL)
    assert wait_until(
        lambda _: (fake.directory / "instances.json").exists() and "polis" in state_file(fake),
        timeout=10,
        interval=0.005,
    )
    with pytest.raises(ForeignInstance, match="is not ours"):
        driver.launch(request=request())
    other.wait()
    assert fake.states() == {"polis": "Running"}


def test_a_soft_deleted_namesake_is_refused_and_kept(fake: Fake, driver: MultipassDriver) -> None:
    make(fake, owner="somebody-else")
    fake.call("delete", "polis")
    fake.forget_calls()
    with pytest.raises(ForeignInstance, match="a deleted instance keeps the name") as caught:
        driver.launch(request=request())
    assert "multipass recover polis" in caught.value.hint
    for attempt in (
        lambda: driver.exec(name="polis", argv=["true"], timeout=5),
        lambda: driver.start(name="polis", timeout=5),
    ):
        with pytest.raises(InstanceMissing):
            attempt()
    driver.stop(name="polis")
    assert fake.states() == {"polis": "Deleted"}
    assert {call[0] for call in fake.calls()} == {"list", "version"}


def test_delete_takes_this_instance_and_no_other(fake: Fake, driver: MultipassDriver) -> None:
    for name in ("polis", "running", "gone"):
        make(fake, name)
    fake.call("delete", "gone")
    fake.forget_calls()
    driver.delete(name="polis")
    assert fake.states() == {"running": "Running", "gone": "Deleted"}
    driver.delete(name="polis")
    assert fake.calls("delete") == [["delete", "--purge", "polis"]]
    assert not fake.calls("purge")


def test_delete_waits_for_what_an_earlier_launch_still_prepares(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(prepare=1.0, boot=60.0)
    killed_launch(lambda: (fake.directory / "instances.json").exists() and "polis" in state_file(fake))
    assert driver.find(name="polis") is None
    driver.delete(name="polis")
    assert "polis" not in state_file(fake)
