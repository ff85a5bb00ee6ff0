"""Which acceleration is chosen, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polis.drivers.qemu import host
from polis.drivers.qemu.host import Host
from polis.errors import ConfigurationError, DriverMissing, HostUnsuitable


def machine(
    tmp_path: Path, *, flags: str = "fpu vmx sse", kvm: bool = True, system: str = "linux", arch: str = "x86_64"
) -> Host:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvmx flags\t: ept\nflags\t\t: {flags}\n")
    device = tmp_path / "kvm"
    if kvm:
        device.touch()
    return Host(system=system, kvm=device, cpuinfo=cpuinfo, machine=arch)


@pytest.mark.parametrize(
    ("flags", "kvm", "system", "arch", "expected", "reason"),
    [
        ("fpu vmx sse", True, "linux", "x86_64", "kvm", "opens and the CPU virtualizes"),
        ("fpu svm", True, "linux", "x86_64", "kvm", "opens"),
        ("fpu sse", True, "linux", "x86_64", "tcg", "neither vmx nor svm"),
        ("fpu xvmx", True, "linux", "x86_64", "tcg", "neither vmx nor svm"),
        ("fpu vmx", False, "linux", "x86_64", "tcg", "does not exist"),
        ("", True, "linux", "aarch64", "kvm", "opens"),
        ("", False, "darwin", "arm64", "hvf", "macOS"),
        ("", False, "win32", "AMD64", "whpx", "Windows"),
    ],
)
def test_auto(
    tmp_path: Path,
    flags: str,
    kvm: bool,
    system: str,
    arch: str,
    expected: str,
    reason: str,
) -> None:
    chosen = host.acceleration(host=machine(tmp_path, flags=flags, kvm=kvm, system=system, arch=arch))
    assert chosen.name == expected
    assert reason in chosen.reason


def test_a_device_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    made_up = machine(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    assert "may not be opened" in host.acceleration(host=made_up).reason


def test_tcg_can_be_forced(tmp_path: Path) -> None:
    assert host.acceleration("tcg", host=machine(tmp_path)).name == "tcg"


def test_wanted_and_unusable(tmp_path: Path) -> None:
    with pytest.raises(HostUnsuitable, match=r"kvm does not work on this machine.*neither vmx nor svm"):
        host.acceleration("kvm", host=machine(tmp_path, flags="fpu"))


def test_unknown() -> None:
    with pytest.raises(ConfigurationError, match="unknown acceleration 'fast'"):
        host.acceleration("fast")


def test_missing_binaries_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DriverMissing) as caught:
        host.require("qemu-img")
    assert "qemu" in caught.value.hint
    with pytest.raises(HostUnsuitable, match="sparc"):
        host.system_binary(host=Host(machine="sparc"))


@pytest.mark.parametrize(("version", "sound"), [("6.2.0", False), ("7.2.22", False), ("8.0", True), ("10.1.2", True)])
def test_cx16(version: str, sound: bool) -> None:
    assert host.emulates_cx16(version) is sound
