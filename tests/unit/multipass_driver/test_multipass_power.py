"""Instances that Multipass lost, that are suspended, or about to go off."""

from __future__ import annotations

import dataclasses

import pytest

from polis.drivers.multipass.driver import MultipassDriver
from polis.errors import GuestUnreachable
from polis.waiting import wait_until
from tests.fakes.multipass.install import Fake
from tests.unit.multipass_driver.driving import QUICK, calling_here, make, request, run

pytestmark = pytest.mark.processes


def test_an_instance_that_multipass_lost_is_stopped_and_started_never_deleted(
    fake: Fake, driver: MultipassDriver
) -> None:
    fake.takes(boot=1.0)
    assert fake.call("launch", "--name", "polis", "--timeout", "0.05", "24.04").code == 5
    assert wait_until(lambda _: fake.guest("polis").answers_since(), timeout=30)
    assert fake.states() == {"polis": "Unknown"}
    told: list[str] = []
    fake.forget_calls()
    driver.launch(request=request(), on_progress=told.append)
    assert fake.states() == {"polis": "Running"}
    assert [call[0] for call in fake.calls() if call[0] not in ("list", "version", "exec")] == ["stop", "start"]
    assert any("lost sight of it" in line for line in told)


def test_a_state_that_flaps_while_booting_is_no_reason_to_do_anything(fake: Fake) -> None:
    fake.order("flapping")
    fake.takes(boot=0.4)
    calling_here(dataclasses.replace(QUICK, lost=30.0)).launch(request=request())
    assert not fake.calls("stop", "start", "delete")
    assert len(fake.calls("launch")) == 1


def test_a_suspended_instance_is_woken(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    before = fake.guest("polis").boot_id()
    fake.call("suspend", "polis")
    with pytest.raises(GuestUnreachable):
        run(driver, "true")
    assert fake.states() == {"polis": "Suspended"}
    driver.start(name="polis", timeout=5.0)
    assert run(driver, "true")[0] == 0
    assert fake.guest("polis").boot_id() == before


def test_a_suspended_instance_is_woken_to_be_stopped_in_order(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    fake.call("suspend", "polis")
    fake.forget_calls()
    driver.stop(name="polis", timeout=5.0)
    assert fake.states() == {"polis": "Stopped"}
    assert [call[0] for call in fake.calls("start", "stop")] == ["start", "stop"]
    assert not [call for call in fake.calls("stop") if "--force" in call]


def test_a_scheduled_shutdown_is_called_off(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    fake.call("stop", "--time", "1", "polis")
    assert fake.states() == {"polis": "Delayed Shutdown"}
    with pytest.raises(GuestUnreachable, match="does not run commands"):
        run(driver, "true")
    driver.start(name="polis", timeout=5.0)
    assert fake.states() == {"polis": "Running"}
    assert run(driver, "true")[0] == 0


def test_a_stop_that_blocks_ends_with_the_plug(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    fake.order("deaf")
    fake.takes(deaf=0.3)
    driver.stop(name="polis", timeout=10.0)
    assert fake.states() == {"polis": "Stopped"}
    assert fake.calls("stop") == [["stop", "polis"], ["stop", "--force", "polis"]]


def test_a_stop_that_outlives_its_limit_ends_with_the_plug_too(fake: Fake, real: MultipassDriver) -> None:
    make(fake)
    fake.order("deaf")
    fake.takes(deaf=0.5)
    real.stop(name="polis", timeout=0.2)
    assert fake.states() == {"polis": "Stopped"}


def test_stopping_what_is_off_or_missing(fake: Fake, driver: MultipassDriver) -> None:
    driver.stop(name="polis")
    make(fake)
    driver.stop(name="polis")
    driver.stop(name="polis")
    assert len(fake.calls("stop")) == 1
