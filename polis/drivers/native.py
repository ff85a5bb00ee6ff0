"""The architecture of this machine, and so of the VMs on it: no driver emulates another one."""

from __future__ import annotations

import platform

_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """Return the architecture of the machines that are made here, in Debian's word (amd64, arm64)."""
    return debian(processor())


def processor() -> str:
    """Return what this machine's kernel calls its processor: x86_64, AMD64, arm64, aarch64.

    Under Rosetta a Python for Intel is told x86_64, but VMs are made by the processor that is there. It shows in the
    name of the kernel: `Darwin Kernel Version …; root:xnu-…/RELEASE_ARM64_T8101`.
    """
    if platform.system() == "Darwin" and "/RELEASE_ARM64" in platform.version():
        return "arm64"
    return platform.machine()


def debian(machine: str) -> str:
    """Return Debian's word for a processor."""
    lower = machine.lower()
    return _DEBIAN.get(lower, lower)
