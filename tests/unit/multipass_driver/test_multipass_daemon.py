"""The daemon: away for a while, for good, hanging, or not letting us in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from polis.drivers.multipass import host as hosts
from polis.drivers.multipass.driver import MultipassDriver
from polis.errors import DriverUnavailable, HostUnsuitable
from tests.fakes.multipass.install import Fake
from tests.unit.multipass_driver.driving import QUICK, calling_here, make, request, run

pytestmark = pytest.mark.processes


def test_a_daemon_that_is_away_for_a_while(fake: Fake, driver: MultipassDriver, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    fake.order("daemon-down", 3)
    driver.launch(request=request())
    fake.order("daemon-down", 3)
    assert run(driver, "echo", "x") == (0, "x\n", "")
    fake.order("daemon-down", 3)
    driver.stop(name="polis")
    fake.order("daemon-down", 3)
    driver.start(name="polis", timeout=10.0)
    fake.order("daemon-down", 3)
    driver.delete(name="polis")
    assert fake.states() == {}


def test_a_daemon_that_stays_away(fake: Fake) -> None:
    driver = calling_here(dataclasses.replace(QUICK, daemon=0.05), hosts.Host("linux", snap=True))
    fake.order("daemon-down")
    for attempt in (
        lambda: driver.find(name="polis"),
        lambda: driver.launch(request=request()),
        lambda: driver.delete(name="polis"),
        lambda: driver.exec(name="polis", argv=["true"], timeout=5),
    ):
        with pytest.raises(DriverUnavailable) as caught:
            attempt()
        assert "sudo snap restart multipass" in caught.value.hint
    assert driver.diagnose(name="polis").lines[0].startswith("Multipass does not answer")


def test_a_call_that_hangs_is_ended_and_is_no_proof_of_absence(fake: Fake) -> None:
    driver = MultipassDriver(patience=dataclasses.replace(QUICK, call=0.2))
    fake.order("hangs-list")
    with pytest.raises(DriverUnavailable) as caught:
        driver.find(name="polis")
    assert "no answer to `multipass list`" in caught.value.cause


def test_a_client_that_is_not_let_in(fake: Fake, driver: MultipassDriver) -> None:
    fake.order("not-authenticated")
    with pytest.raises(HostUnsuitable) as caught:
        driver.find(name="polis")
    assert "multipass authenticate" in caught.value.hint


def test_what_it_tells_of_an_instance(fake: Fake, driver: MultipassDriver) -> None:
    assert driver.diagnose(name="polis").lines == ()
    make(fake)
    lines = driver.diagnose(name="polis").lines
    assert lines[0] == "Multipass 1.16.3, daemon 1.16.3"
    assert lines[1] == "polis: running, 10.234.65.179"


def test_all_instances_are_named_by_one_list(fake: Fake, driver: MultipassDriver) -> None:
    for name in ("one", "two"):
        make(fake, name)
    fake.forget_calls()
    found = driver.find_all()
    assert found == {name: driver.find(name=name) for name in ("one", "two")}
    fake.order("daemon-down")
    with pytest.raises(DriverUnavailable):
        driver.find_all()
