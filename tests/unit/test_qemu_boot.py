"""Waiting for a guest: it answers, it dies, it never comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from polis.drivers import ports
from polis.drivers.qemu import boot, console
from polis.drivers.qemu.boot import Boot
from polis.drivers.qemu.instance import Home, Record
from polis.drivers.qemu.power import Power
from polis.drivers.qemu.ssh import Ssh
from polis.errors import GuestUnreachable, LaunchFailed
from polis.process import Completed

RECORD = Record(
    name="ws",
    owner="o-1",
    uuid="u",
    image="a" * 64,
    user="ubuntu",
    direct_kernel=False,
    direct_initrd=False,
    cmdline="",
    cpus=1,
    memory=1,
    disk=1,
    ssh_port=40022,
)


@dataclass
class Guest:
    """A made-up guest: its QEMU's pid at each look, and the answers of its ssh."""

    pids: list[int | None] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def pid(self, _: Record) -> int | None:
        return self.pids.pop(0) if self.pids else 1

    def exec(self, argv: Sequence[str], *, timeout: float) -> Completed:
        if self.answers and (words := self.answers.pop(0)):
            raise GuestUnreachable("the guest does not answer", cause=words)
        return Completed(tuple(argv), 0, "", "", 0.1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path, tmp_path)
    console.begin(place.console)
    with place.console.open("a") as file:
        file.write("\x1b[1mBooting\x1b[0m from Hard Disk...\r\nNo bootable device.\r\n")
    return place


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "INTERVAL", 0.01)
    monkeypatch.setattr(ports, "greets_as_ssh", lambda *_, **__: True)


def waiting(home: Home, guest: Guest, said: list[str]) -> Boot:
    return Boot(home, RECORD, cast("Power", guest), cast("Ssh", guest), said.append)


def test_it_answers_after_a_while(home: Home) -> None:
    said: list[str] = []
    waiting(home, Guest(answers=["Permission denied (publickey).", "Connection reset", ""]), said).wait(5)
    assert said == ["No bootable device."]


def test_it_dies(home: Home) -> None:
    home.qemu_log.write_text("qemu: terminating on signal 15\n")
    with pytest.raises(LaunchFailed, match=r"went off while it was booting.*terminating on signal 15"):
        waiting(home, Guest(pids=[1, 1, None], answers=["no"] * 9), []).wait(5)


def test_it_never_comes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "greets_as_ssh", lambda *_, **__: False)
    with pytest.raises(LaunchFailed) as caught:
        waiting(home, Guest(), []).wait(0.05)
    assert caught.value.cause == "Booting from Hard Disk...\nNo bootable device."
    assert "may still come up" in caught.value.remains
    assert str(home.console) in caught.value.hint


def test_ssh_s_words_and_a_panic_are_told(home: Home) -> None:
    with home.console.open("a") as file:
        file.write("Kernel panic - not syncing: x\r\n" + "again\r\n" * 20)
    with pytest.raises(LaunchFailed) as caught:
        waiting(home, Guest(answers=["Host key verification failed."] * 99), []).wait(0.05)
    lines = caught.value.cause.splitlines()
    assert lines[0] == "Kernel panic - not syncing: x"
    assert lines[-1] == "ssh: Host key verification failed."
