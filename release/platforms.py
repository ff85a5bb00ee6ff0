"""What a single file is built for. All of it can be built on any machine: wheels are only copied."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Final

from release.errors import ReleaseError

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""Versions of CPython by which a single file can be run; what is compiled is in it for each."""


@dataclass(frozen=True)
class Platform:
    """A platform by the name in a file's name, the tags of its wheels, and what markers see there."""

    name: str
    tags: tuple[str, ...]
    sys_platform: str
    machine: str


def _linux(machine: str) -> tuple[str, ...]:
    # glibc 2.28: Debian 10, Ubuntu 18.10, RHEL 8, or newer
    return tuple(f"{kind}_{machine}" for kind in ("manylinux_2_28", "manylinux_2_17", "manylinux2014"))


PLATFORMS: Final = {
    each.name: each
    for each in (
        Platform("linux-x86_64", _linux("x86_64"), "linux", "x86_64"),
        Platform("linux-arm64", _linux("aarch64"), "linux", "aarch64"),
        Platform("macos-x86_64", ("macosx_11_0_x86_64",), "darwin", "x86_64"),
        Platform("macos-arm64", ("macosx_11_0_arm64",), "darwin", "arm64"),
        Platform("windows-x86_64", ("win_amd64",), "win32", "AMD64"),
    )
}


def here() -> Platform:
    """Return the platform of this machine."""
    machine = os.uname().machine if hasattr(os, "uname") else "AMD64"
    for each in PLATFORMS.values():
        if (each.sys_platform, each.machine) == (sys.platform, machine):
            return each
    raise ReleaseError(f"no single file is built for {sys.platform} on {machine}; there are {', '.join(PLATFORMS)}")


def named(name: str) -> Platform:
    """Return a platform by its name, or this machine's for `here`."""
    if name == "here":
        return here()
    if name not in PLATFORMS:
        raise ReleaseError(f"no platform {name}; there are {', '.join(PLATFORMS)}")
    return PLATFORMS[name]
