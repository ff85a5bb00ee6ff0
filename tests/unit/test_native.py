"""A driver's machines are of this machine's architecture, and what cannot run on it is refused before a launch."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from polis import assembly, config
from polis.drivers import native
from polis.drivers.base import Driver
from polis.drivers.multipass.driver import MultipassDriver
from polis.drivers.qemu.driver import QemuDriver
from polis.errors import HostUnsuitable

INTEL_MAC = "Darwin Kernel Version 20.3.0: Thu Jan 21 00:07:06 PST 2021; root:xnu-7195.81.3~1/RELEASE_X86_64"
APPLE = "Darwin Kernel Version 20.3.0: Thu Jan 21 00:06:51 PST 2021; root:xnu-7195.81.3~1/RELEASE_ARM64_T8101"


def on(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, version: str = "") -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "version", lambda: version)


@pytest.mark.parametrize(
    ("system", "machine", "version", "word"),
    [
        ("Linux", "x86_64", "#1 SMP", "amd64"),
        ("Linux", "aarch64", "#1 SMP", "arm64"),
        ("Windows", "AMD64", "10.0.26100", "amd64"),
        ("Darwin", "x86_64", INTEL_MAC, "amd64"),
        ("Darwin", "arm64", APPLE, "arm64"),
        ("Darwin", "x86_64", APPLE, "arm64"),
    ],
    ids=["linux", "linux on arm", "windows", "mac with intel", "mac", "python for intel on a mac"],
)
def test_the_architecture_in_debian_s_word(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, version: str, word: str
) -> None:
    on(monkeypatch, system, machine, version)
    assert native.architecture() == word


@pytest.fixture(params=["multipass", "qemu"])
def driver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    on(monkeypatch, "Darwin", "arm64", APPLE)
    if request.param == "multipass":
        return MultipassDriver()
    return QemuDriver(data=tmp_path, cache=tmp_path, runtime=tmp_path)


def test_on_arm_every_driver_is_refused_before_anything_is_launched(driver: Driver) -> None:
    with pytest.raises(HostUnsuitable, match=f"the {driver.name} driver makes arm64 machines here"):
        assembly.check(config.Spec(), driver)
