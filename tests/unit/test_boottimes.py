"""What the guest tells of its boot: from the files that it finds, whatever is in them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from polis import bootstages
from polis.guest.remote import boottimes, firstboot, places, provisioning, uptime

BOOTED = 1_800_000_000.0
UPTIME = 200.0
SYSTEMD = "InitRDTimestampMonotonic=2500000\nUserspaceTimestampMonotonic=6000000\n"
STATUS = {
    "v1": {
        "stage": None,
        "init-local": {"start": BOOTED + 20, "finished": BOOTED + 22},
        "init": {"start": BOOTED + 22.5, "finished": BOOTED + 30},
        "modules-config": {"start": BOOTED + 31, "finished": BOOTED + 34},
        "modules-final": {"start": BOOTED + 35, "finished": BOOTED + 100},
    }
}


class Machine:
    """The files of a guest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("status.json", json.dumps(STATUS))
        self.systemd: str | Exception = SYSTEMD

    def write(self, name: str, text: str, *, at: float | None = None) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if at is not None:
            os.utime(path, (BOOTED + at, BOOTED + at))

    def provision(self) -> None:
        """Leave behind what the document's script leaves behind."""
        self.write("packages/sysbox-ce.deb", "", at=40)
        self.write("history.log", apt(55, 80) + apt(81, 90))
        self.write("provisioned.json", "{}", at=99)

    def stages(self) -> list[tuple[str, float, float]]:
        told = bootstages.read(boottimes.boot())
        return [(stage.name, stage.start_s, stage.end_s) for stage in told.stages] if told is not None else []


def apt(begun: float, ended: float) -> str:
    times = [time.strftime("%Y-%m-%d  %H:%M:%S", time.localtime(BOOTED + at)) for at in (begun, ended)]
    return f"\nStart-Date: {times[0]}\nCommandline: apt-get install x\nInstall: x\nEnd-Date: {times[1]}\n"


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    for module, name, file in (
        (uptime, "CONTAINER", "container"), (uptime, "INIT", "init"), (boottimes, "APT_HISTORY", "history.log"),
        (places, "CLOUD_STATUS", "status.json"), (places, "STATE", ""), (places, "SENTINEL", "provisioned.json"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, tmp_path / file)
    monkeypatch.setattr(time, "time", lambda: BOOTED + UPTIME)
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: UPTIME)

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert argv[:2] == ["systemctl", "show"]
        if isinstance(found.systemd, Exception):
            raise found.systemd
        return subprocess.CompletedProcess(argv, 0, found.systemd, "")

    monkeypatch.setattr(subprocess, "run", run)
    return found


CLOUD_INIT = [("init-local", 20, 22), ("init", 22.5, 30), ("modules-config", 31, 34), ("modules-final", 35, 100)]
BEFORE = [("kernel", 0, 2.5), ("initrd", 2.5, 6), ("systemd", 6, 20)]


def test_all_stages_and_steps_of_a_first_boot(guest: Machine) -> None:
    guest.provision()
    assert guest.stages() == [
        *BEFORE,
        *CLOUD_INIT,
        ("fetch-sysbox", 35, 40),
        ("fetch-packages", 40, 55),
        ("install-packages", 55, 80),
        ("install-sysbox", 80, 90),
        ("start-and-harden", 90, 99),
    ]


def test_times_that_count_from_the_boot_are_taken_as_they_are(guest: Machine) -> None:
    since_boot = {name: {"start": begun, "finished": ended} for name, begun, ended in CLOUD_INIT}
    guest.write("status.json", json.dumps({"v1": since_boot}))
    assert guest.stages() == [*BEFORE, *CLOUD_INIT]


def test_what_was_installed_into_the_image_is_no_step(guest: Machine) -> None:
    guest.provision()
    guest.write("history.log", apt(-900, -800) + apt(55, 80) + apt(81, 90))
    assert ("install-packages", 55, 80) in guest.stages()


def test_a_step_that_ended_before_the_one_before_it_is_left_out(guest: Machine) -> None:
    guest.provision()
    guest.write("packages/sysbox-ce.deb", "", at=60)
    steps = guest.stages()[len(BEFORE) + len(CLOUD_INIT) :]
    assert steps[:2] == [("fetch-sysbox", 35, 60), ("install-packages", 60, 80)]


def test_a_later_boot_has_no_steps(guest: Machine) -> None:
    guest.write("packages/sysbox-ce.deb", "", at=-1000)
    guest.write("history.log", apt(-900, -800))
    guest.write("provisioned.json", "{}", at=-700)
    assert guest.stages() == [*BEFORE, *CLOUD_INIT]


def test_a_kernel_without_an_initrd(guest: Machine) -> None:
    guest.systemd = "InitRDTimestampMonotonic=0\nUserspaceTimestampMonotonic=6000000\n"
    assert guest.stages()[:2] == [("kernel", 0, 6), ("systemd", 6, 20)]


@pytest.mark.parametrize("answer", [OSError("no systemctl"), subprocess.TimeoutExpired("systemctl", 1), "", "x=y\n"])
def test_without_systemd_the_rest_is_told(guest: Machine, answer: str | Exception) -> None:
    guest.systemd = answer
    assert guest.stages() == CLOUD_INIT


def test_a_stage_that_has_not_ended_is_left_out(guest: Machine) -> None:
    status = {"v1": {**STATUS["v1"], "modules-final": {"start": BOOTED + 35, "finished": None}}}
    guest.write("status.json", json.dumps(status))
    assert guest.stages() == [*BEFORE, *CLOUD_INIT[:3]]


@pytest.mark.parametrize(
    "status", ["", "[]", '{"v1": []}', '{"v1": {"init": 7}}', '{"v1": {"init": {"start": "a", "finished": "b"}}}']
)
def test_a_status_that_makes_no_sense_tells_nothing(guest: Machine, status: str) -> None:
    guest.write("status.json", status)
    assert boottimes.boot() is None


def test_a_log_that_makes_no_sense_costs_only_what_it_tells(guest: Machine) -> None:
    guest.provision()
    guest.write("history.log", "Start-Date: soon\nEnd-Date: later\n")
    steps = guest.stages()[len(BEFORE) + len(CLOUD_INIT) :]
    assert steps == [("fetch-sysbox", 35, 40), ("start-and-harden", 40, 99)]


def test_the_end_of_cloud_init_is_told_with_it(guest: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firstboot, "cloud_init", lambda: {"finished": True, "stage": "", "log": []})
    answer = provisioning.wait({"seconds": 5}, lambda _news: None)
    assert answer["boot"]["uptime_s"] == UPTIME
    monkeypatch.setattr(firstboot, "cloud_init", lambda: {"finished": False, "stage": "init", "log": []})
    assert "boot" not in provisioning.wait({"seconds": 0}, lambda _news: None)
