"""What this machine offers: QEMU's binaries and hardware acceleration."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from polis import process
from polis.drivers import native
from polis.errors import ConfigurationError, DriverMissing, HostUnsuitable

ACCELERATORS = ("auto", "kvm", "hvf", "whpx", "tcg")

_BINARIES = {
    "x86_64": "qemu-system-x86_64",
    "amd64": "qemu-system-x86_64",
    "arm64": "qemu-system-aarch64",
    "aarch64": "qemu-system-aarch64",
}


@dataclass(frozen=True)
class Acceleration:
    """How the guest's CPU is provided, and why so."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


@dataclass(frozen=True)
class Host:
    """The facts that decide the acceleration; a parameter, so that tests can make up a machine."""

    system: str = field(default_factory=lambda: sys.platform)
    kvm: Path = Path("/dev/kvm")
    cpuinfo: Path = Path("/proc/cpuinfo")
    machine: str = field(default_factory=native.processor)


def acceleration(wanted: str = "auto", *, host: Host | None = None) -> Acceleration:
    """Choose the acceleration: what is wanted if it works here, else the best there is.

    Raises ConfigurationError for an unknown name and HostUnsuitable if the wanted one cannot work.
    """
    host = host or Host()
    if wanted not in ACCELERATORS:
        raise ConfigurationError(f"unknown acceleration {wanted!r}", hint=f"choose one of {', '.join(ACCELERATORS)}")
    if wanted == "tcg":
        return Acceleration("tcg", "as configured")
    best = _hardware(host)
    if wanted in ("auto", best.name):
        return best
    raise HostUnsuitable(
        f"acceleration {wanted} does not work on this machine",
        cause=best.reason,
        hint="leave the acceleration on auto, or choose tcg (slow)",
    )


def system_binary(*, host: Host | None = None) -> str:
    """Return the path of the emulator for this machine's architecture; DriverMissing if there is none."""
    machine = (host or Host()).machine.lower()
    name = _BINARIES.get(machine)
    if name is None:
        raise HostUnsuitable(f"the embedded driver knows no machine for the architecture {machine}")
    return require(name)


def require(name: str) -> str:
    """Return the path of a binary on PATH; raises DriverMissing, which says what to install."""
    found = shutil.which(name)
    if found is None:
        raise DriverMissing(f"{name} is not installed", hint=_how_to_install(name))
    return found


def version() -> str:
    """Return QEMU's version, such as `7.2.22`; raises DriverMissing."""
    done = process.run([system_binary(), "--version"], timeout=20)
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout)
    if found is None:
        raise DriverMissing(f"{done.argv[0]} does not work", cause=done.last_words())
    return found[1]


def emulates_cx16(version: str) -> bool:
    """Return whether this QEMU emulates cmpxchg16b correctly.

    Before 8.0, which rewrote it (commit 5f0dd8cd33cb), it leaves garbage in the flags: a guest with Linux 6.5 or
    later, which uses it in its memory allocator, dies of double faults after seconds or minutes (seen on 7.2.22).
    """
    return int(version.partition(".")[0]) >= 8  # noqa: PLR2004 -- a version, named in the docstring


def _hardware(host: Host) -> Acceleration:
    if host.system == "darwin":
        return Acceleration("hvf", "the hypervisor of macOS")
    if host.system == "win32":
        return Acceleration("whpx", "the hypervisor of Windows")
    if not host.kvm.exists():
        return _emulated(f"{host.kvm} does not exist")
    if not _opens(host.kvm):
        return _emulated(f"{host.kvm} may not be opened by this user")
    # The device alone proves nothing: inside some VMs it opens, and then creating a guest fails.
    if not _virtualizing(host):
        return _emulated(f"{host.kvm} opens, but the CPU shows neither vmx nor svm")
    return Acceleration("kvm", f"{host.kvm} opens and the CPU virtualizes")


def _emulated(reason: str) -> Acceleration:
    return Acceleration("tcg", f"no hardware virtualization: {reason}")


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError:
        return False
    return True


def _virtualizing(host: Host) -> bool:
    if host.machine.lower() not in ("x86_64", "amd64"):
        return True  # elsewhere no flag tells; the device decides
    try:
        text = host.cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^flags\s*:.*\b(?:vmx|svm)\b", text, re.MULTILINE) is not None


def _how_to_install(name: str) -> str:
    if sys.platform == "darwin":
        return "brew install qemu"
    package = {
        "qemu-system-x86_64": "qemu-system-x86",
        "qemu-system-aarch64": "qemu-system-arm",
        "qemu-img": "qemu-utils",
    }.get(name, "openssh-client")
    return f"install {name} (on Debian and Ubuntu: sudo apt install {package})"
