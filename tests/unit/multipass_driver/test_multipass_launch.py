"""Launches against the fake program: joined, tried again, refused, interrupted."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polis.drivers.base import Forward, InstanceState
from polis.drivers.multipass import userdata
from polis.drivers.multipass.driver import MultipassDriver
from polis.errors import ConfigurationError, ExitCode, HostUnsuitable, IntegrityError, LaunchFailed, PolisError
from polis.waiting import wait_until
from tests.fakes.multipass.install import Fake
from tests.unit.multipass_driver.driving import QUICK, calling_here, killed_launch, request, run, state_file

pytestmark = pytest.mark.processes


def test_a_launch(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(prepare=0.1, boot=0.1)
    told: list[str] = []
    driver.launch(request=request(), on_progress=told.append)
    assert told[0] == "Multipass prepares the instance"
    # On a busy machine a step may be over before anybody looks.
    assert set(told[1:]) <= {"Multipass fetches and prepares the image", "waiting for the guest to answer"}
    found = driver.find(name="polis")
    assert found is not None
    assert (found.state, found.owner, found.ipv4) == (InstanceState.RUNNING, None, ("10.234.65.179",))
    (call,) = fake.calls("launch")
    assert call[1:11] == "--name polis --cpus 2 --memory 1G --disk 8G --timeout 620".split()  # noqa: SIM905
    assert run(driver, "cat", userdata.STAMP)[1] == "polis workspace owner-1\n"


def test_a_launch_does_not_wait_for_cloud_init(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(cloud_init=60.0)
    driver.launch(request=request(timeout=10.0))


def test_a_launch_whose_client_was_killed_is_joined(fake: Fake) -> None:
    driver = calling_here(dataclasses.replace(QUICK, lost=30.0))
    fake.takes(prepare=2.0, boot=0.1)
    killed_launch(lambda: (fake.directory / "instances.json").exists() and "polis" in state_file(fake))
    told: list[str] = []
    driver.launch(request=request(), on_progress=told.append)
    assert any("is being prepared" in line for line in told)
    assert list(fake.states()) == ["polis"]
    boot_ids = {fake.guest("polis").boot_id()}
    driver.launch(request=request())
    assert {fake.guest("polis").boot_id()} == boot_ids
    assert not fake.calls("delete", "stop", "purge")


def test_a_launch_killed_while_the_image_is_fetched_is_undone_and_made_anew(
    fake: Fake, driver: MultipassDriver
) -> None:
    fake.takes(download=60.0)
    killed_launch(lambda: (fake.directory / "instances.json").exists() and "polis" in state_file(fake))
    fake.takes(download=0.0)
    driver.launch(request=request())
    assert fake.states() == {"polis": "Running"}


def test_a_client_that_timed_out_while_the_vm_comes_up_later(fake: Fake) -> None:
    """Exit code 5 is nothing to give up for: the instance is looked at."""
    driver = calling_here(dataclasses.replace(QUICK, lost=30.0))
    fake.takes(prepare=3600.0, boot=0.1)
    text = userdata.prepared(request().user_data, "owner-1", system="linux")
    argv = ("launch", "--name", "polis", "--timeout", "0.15", "--cloud-init", "-", "24.04")
    done = fake.call(*argv, stdin=text)
    assert (done.code, done.stderr.splitlines()[-1]) == (5, "Timed out waiting for instance launch.")
    with fake.world.machines() as machines:
        machines["polis"].prepared = time.time()
        machines["polis"].patience = 60.0
    driver.launch(request=request())
    assert fake.states() == {"polis": "Running"}
    assert not fake.calls("delete", "stop")


@pytest.mark.parametrize("fault", ["client-timeout", "being-prepared", "remote-unknown", "unreachable-mid-launch"])
def test_a_launch_that_fails_for_a_moment_is_tried_again(
    fake: Fake, driver: MultipassDriver, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polis.retry.Backoff.delay", lambda *_: 0.0)
    fake.order(fault, 1)
    driver.launch(request=request())
    first, *_, last = fake.calls("launch")
    assert fake.states() == {"polis": "Running"}
    assert len(fake.calls("launch")) == 2
    if fault != "being-prepared":  # which is no attempt
        assert (first[-1], last[-1]) == ("24.04", "release:24.04")
        assert fake.calls("find") == [["find", "--force-update"]]


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("no-kvm", HostUnsuitable, ExitCode.HOST),
        ("host-disk-full", HostUnsuitable, ExitCode.HOST),
        ("no-image", ConfigurationError, ExitCode.CONFIGURATION),
        ("no-memory", HostUnsuitable, ExitCode.HOST),
    ],
)
def test_a_launch_that_cannot_be(
    fake: Fake, driver: MultipassDriver, fault: str, error: type[PolisError], code: ExitCode
) -> None:
    fake.order(fault)
    with pytest.raises(error, match="polis cannot be created") as caught:
        driver.launch(request=request())
    assert caught.value.exit_code == code
    assert len(fake.calls("launch")) == 1


def test_a_failure_that_does_not_pass_is_told_with_its_words(
    fake: Fake, driver: MultipassDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polis.retry.Backoff.delay", lambda *_: 0.0)
    fake.order("hash-mismatch")
    with pytest.raises(IntegrityError) as caught:
        driver.launch(request=request())
    assert "hash does not match" in caught.value.cause
    assert "find --force-update" in caught.value.hint
    assert len(fake.calls("launch")) == 5


def test_what_does_not_come_up_in_time_is_kept(fake: Fake) -> None:
    fake.takes(boot=60.0)
    fake.call("launch", "--name", "polis", "--timeout", "0.05", "24.04")
    with pytest.raises(LaunchFailed) as caught:
        calling_here(dataclasses.replace(QUICK, lost=30.0)).start(name="polis", timeout=0.2)
    assert "kept" in caught.value.remains
    assert fake.states() == {"polis": "Unknown"}
    assert not fake.calls("delete", "stop")


def test_forwards_are_refused_before_anything_is_made(fake: Fake, driver: MultipassDriver) -> None:
    with pytest.raises(HostUnsuitable, match="forwards no ports"):
        driver.launch(request=dataclasses.replace(request(), forwards=(Forward(8080, 80),)))
    assert not fake.calls()


def test_an_interrupted_launch_leaves_no_client_that_holds_polis_back(fake: Fake) -> None:
    """Ctrl-C ends polis although Multipass goes on waiting for the guest."""
    fake.takes(boot=3600.0)
    code = (
        "from polis.drivers.multipass.driver import MultipassDriver\n"
        "from tests.unit.multipass_driver.driving import QUICK, request\n"
        "MultipassDriver(patience=QUICK).launch(request=request(timeout=600.0))\n"
    )
    root = Path(__file__).parents[3]
    polis = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL)
    assert wait_until(lambda _: fake.calls("launch"), timeout=60, interval=0.01)
    polis.send_signal(signal.SIGINT)
    assert polis.wait(60) != 0
    with fake.world.machines() as machines:
        os.kill(machines["polis"].client, signal.SIGKILL)
