"""What a driver with snapshots must do (`polis.drivers.base.Snapshots`). The tests share one machine, run in order."""

from __future__ import annotations

import dataclasses
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from polis.drivers.base import Driver, InstanceState, LaunchRequest, Snapshots, Template, snapshots_of
from polis.errors import InstanceMissing, PolisError
from polis.guest.session import Guest
from polis.waiting import wait_until
from tests.contract.subjects import ROOT, LxdSubject

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.processes,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("subject", ["lxd"], indirect=True, scope="session"),
]

NAME = "contract"
LABEL = "first"
INPUTS = "cloud-init=1 driver=2 image=3"
IDENTITY = "cat /etc/machine-id /proc/sys/kernel/hostname /var/lib/cloud/data/instance-id"


@pytest.fixture(scope="session")
def stamped(subject: LxdSubject) -> Iterator[LaunchRequest]:
    """Return the request of the machine that snapshots are taken of; it is there and its first boot has ended."""
    request = dataclasses.replace(subject.request(NAME, "owner-1"), fingerprint=INPUTS)
    subject.driver.launch(request=request)
    first_boot(subject.driver, NAME)
    yield request
    subject.driver.delete(name=NAME)
    subject.driver.delete(name="beside")
    kept(subject.driver).withdraw(fingerprint=INPUTS)


def kept(driver: Driver) -> Snapshots:
    found = snapshots_of(driver)
    assert found is not None
    return found


def shell(driver: Driver, line: str, name: str = NAME) -> str:
    done = driver.exec(name=name, argv=["sudo", "-n", "sh", "-c", line], timeout=60)
    assert done.ok, done.stderr
    return done.stdout


def first_boot(driver: Driver, name: str) -> None:
    Guest(driver, name).call("wait", {"seconds": 240.0}, timeout=300)


def labels(driver: Driver) -> dict[str, str]:
    found = driver.find(name=NAME)
    assert found is not None
    return dict(found.snapshots)


def test_a_new_machine_has_no_snapshot_and_there_is_no_template(driver: Driver, stamped: LaunchRequest) -> None:
    assert labels(driver) == {}
    assert kept(driver).template(fingerprint=INPUTS) is None
    with pytest.raises(InstanceMissing):
        kept(driver).restore(name=NAME, label=LABEL)
    assert kept(driver).offer(name=NAME, label=LABEL) is False
    kept(driver).drop(name=NAME, label=LABEL)
    assert kept(driver).withdraw(fingerprint=INPUTS) == 0


def test_what_is_missing_or_was_not_made_for_it_is_no_source(
    driver: Driver, subject: LxdSubject, stamped: LaunchRequest
) -> None:
    with pytest.raises(InstanceMissing):
        kept(driver).take(name="no-such", label=LABEL)
    driver.launch(request=subject.request("beside", "owner-2"))
    with pytest.raises(PolisError, match="does not tell what it was made from"):
        kept(driver).take(name="beside", label=LABEL)
    driver.delete(name="beside")


KILLED = """
import os, pickle, signal, sys, threading
from polis.drivers.base import snapshots_of
subject, name, label, delay = pickle.loads(bytes.fromhex(sys.argv[1]))
snapshots = snapshots_of(subject.driver)
threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
snapshots.take(name=name, label=label)
signal.pause()
"""


def test_taking_killed_anywhere_ends_with_one_complete_snapshot(
    driver: Driver, subject: LxdSubject, stamped: LaunchRequest
) -> None:
    for delay in (0.05, 0.15, 0.4, 1.0):
        data = pickle.dumps((subject, NAME, LABEL, delay)).hex()
        child = subprocess.run([sys.executable, "-c", KILLED, data], cwd=ROOT, check=False, timeout=60)
        assert child.returncode == -signal.SIGKILL
    kept(driver).take(name=NAME, label=LABEL)
    assert labels(driver) == {LABEL: INPUTS}


def test_an_unfinished_snapshot_is_none_and_is_made_anew(
    driver: Driver, subject: LxdSubject, stamped: LaunchRequest
) -> None:
    subject.lxd.lxc("snapshot", NAME, "half")
    assert labels(driver) == {LABEL: INPUTS}
    with pytest.raises(InstanceMissing):
        kept(driver).restore(name=NAME, label="half")
    kept(driver).take(name=NAME, label="half")
    assert labels(driver) == {LABEL: INPUTS, "half": INPUTS}
    kept(driver).drop(name=NAME, label="half")
    assert labels(driver) == {LABEL: INPUTS}


def test_taking_again_changes_nothing(driver: Driver, subject: LxdSubject, stamped: LaunchRequest) -> None:
    before = subject.lxd.instances()[NAME]["snapshots"]
    kept(driver).take(name=NAME, label=LABEL)
    assert subject.lxd.instances()[NAME]["snapshots"] == before


def test_restoring_returns_disk_and_owner_and_is_no_first_boot(driver: Driver, stamped: LaunchRequest) -> None:
    before = shell(driver, IDENTITY)
    shell(driver, "echo secret > /var/lib/later; rm /var/lib/contract; sync")
    for _ in range(2):  # of a machine that is on, and of one that is off
        kept(driver).restore(name=NAME, label=LABEL)
        found = driver.find(name=NAME)
        assert found is not None
        assert (found.state, found.owner) == (InstanceState.STOPPED, stamped.owner)
        assert dict(found.snapshots) == {LABEL: INPUTS}
    larger = dataclasses.replace(stamped, memory=stamped.memory * 2)
    driver.launch(request=larger)
    first_boot(driver, NAME)
    assert shell(driver, "ls /var/lib/later || cat /var/lib/contract") == "from user data"
    assert shell(driver, IDENTITY) == before
    found = driver.find(name=NAME)
    assert found is not None
    assert found.hardware is not None
    assert found.hardware.memory == larger.memory


def test_nothing_is_taken_of_a_closed_machine_until_it_is_restored(driver: Driver, stamped: LaunchRequest) -> None:
    kept(driver).take(name=NAME, label=LABEL)
    for _ in range(2):
        kept(driver).close(name=NAME)
    with pytest.raises(PolisError, match="is somebody's already"):
        kept(driver).take(name=NAME, label="later")
    assert labels(driver) == {LABEL: INPUTS}
    kept(driver).restore(name=NAME, label=LABEL)
    driver.launch(request=stamped)
    first_boot(driver, NAME)
    kept(driver).take(name=NAME, label="later")
    kept(driver).drop(name=NAME, label="later")


@pytest.fixture(scope="session")
def template(subject: LxdSubject, stamped: LaunchRequest) -> Template:
    """Return the template of a sealed machine, once the server has made it."""
    driver = subject.driver
    Guest(driver, NAME).call("seal", {}, timeout=60)
    kept(driver).drop(name=NAME, label=LABEL)
    kept(driver).take(name=NAME, label=LABEL)
    Guest(driver, NAME).call("sign", {"marker": {"workspace": NAME, "id": "1", "fingerprint": INPUTS}}, timeout=60)
    kept(driver).close(name=NAME)
    kept(driver).take(name=NAME, label=LABEL)  # there is one
    assert kept(driver).offer(name=NAME, label=LABEL) is True
    found = wait_until(lambda _: kept(driver).template(fingerprint=INPUTS), timeout=300)
    assert found
    return found


def test_a_clone_is_its_owner_s_from_the_start_and_shares_no_identity(
    driver: Driver, subject: LxdSubject, stamped: LaunchRequest, template: Template
) -> None:
    request = dataclasses.replace(
        subject.request("beside", "owner-2"), fingerprint=INPUTS, template=template.id, memory=stamped.memory // 2
    )
    driver.launch(request=request)
    found = driver.find(name="beside")
    assert found is not None
    assert (found.owner, found.template, dict(found.snapshots)) == ("owner-2", template.id, {})
    first_boot(driver, "beside")
    first, second = (shell(driver, IDENTITY, name).split() for name in (NAME, "beside"))
    assert first[1] == NAME
    assert second[1] == "beside"
    assert len({*first, *second}) == 6, "machine-id, name or instance-id are the same"
    assert shell(driver, "cat /var/lib/polis/workspace.json 2>&1 || :", "beside").endswith(
        "No such file or directory\n"
    )
    address = driver.find(name=NAME)
    assert address is not None
    found = driver.find(name="beside")
    assert found is not None
    assert set(found.ipv4).isdisjoint(address.ipv4)


def test_a_sealed_machine_has_its_identity_back_once_it_is_signed(driver: Driver, template: Template) -> None:
    assert len(shell(driver, "cat /etc/machine-id").strip()) == 32
    assert shell(driver, "ls /run/polis") == ""
    with pytest.raises(PolisError, match=r"workspace.json is there already"):
        Guest(driver, NAME).call("seal", {}, timeout=60)


def test_there_is_one_template_however_often_it_is_offered(
    driver: Driver, subject: LxdSubject, template: Template
) -> None:
    assert kept(driver).offer(name=NAME, label=LABEL) is False
    assert kept(driver).template(fingerprint=INPUTS) == template
    assert kept(driver).template(fingerprint="cloud-init=9 driver=2 image=3") is None


def test_only_the_eldest_of_those_created_together_makes_the_template(
    driver: Driver, subject: LxdSubject, template: Template
) -> None:
    subject.lxd.lxc("image", "delete", template.id)
    kept(driver).take(name="beside", label=LABEL)
    assert kept(driver).offer(name="beside", label=LABEL) is False
    assert kept(driver).offer(name=NAME, label=LABEL) is True
    assert wait_until(lambda _: kept(driver).template(fingerprint=INPUTS), timeout=300)


def test_a_template_that_is_gone_is_passed_over_for_the_image(
    driver: Driver, subject: LxdSubject, template: Template
) -> None:
    driver.delete(name="beside")
    request = dataclasses.replace(subject.request("beside", "owner-2"), fingerprint=INPUTS, template=template.id)
    driver.launch(request=request)
    found = driver.find(name="beside")
    assert found is not None
    assert found.template == ""


def test_a_template_outlives_its_machine_and_goes_with_the_last(
    driver: Driver, subject: LxdSubject, template: Template
) -> None:
    driver.delete(name=NAME)
    assert subject.leftovers(NAME) == []
    assert kept(driver).template(fingerprint=INPUTS) is not None
    assert kept(driver).withdraw(fingerprint=INPUTS) == 0
    driver.delete(name="beside")
    assert kept(driver).withdraw(fingerprint=INPUTS) == 1
    assert kept(driver).template(fingerprint=INPUTS) is None
