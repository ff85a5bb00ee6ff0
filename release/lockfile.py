"""`release/runtime.lock`: what a released polis runs on, by version and by the hash of each file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement

from release.errors import ReleaseError
from release.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from release.platforms import Platform

FILE: Final = ROOT / "release" / "runtime.lock"

_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Locked:
    """A requirement with an exact version and the sha256 of each of its files."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def name(self) -> str:
        """Return the project's name."""
        return self.requirement.name

    @property
    def version(self) -> str:
        """Return the exact version."""
        return next(iter(self.requirement.specifier)).version

    def is_for(self, platform: Platform, python: str) -> bool:
        """Return whether it is needed there; pip itself asks the markers of the machine that it runs on."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate(
            {
                "sys_platform": platform.sys_platform,
                "platform_machine": platform.machine,
                "platform_python_implementation": "CPython",
                "implementation_name": "cpython",
                "os_name": "nt" if platform.sys_platform == "win32" else "posix",
                "python_version": python,
                "python_full_version": f"{python}.0",
            }
        )

    def line(self) -> str:
        """Return the line for pip, without the marker."""
        hashes = " ".join(f"--hash=sha256:{each}" for each in sorted(self.hashes))
        return f"{self.name}=={self.version} {hashes}\n"


def read(path: Path = FILE) -> Sequence[Locked]:
    """Return what a lock file lists. Raises ReleaseError for a line without a version or without hashes."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        words, _, hashes = line.partition(" --hash=")
        locked = Locked(Requirement(words), frozenset(_HASH.findall(f"--hash={hashes}")))
        exact = [each.operator for each in locked.requirement.specifier] == ["=="]
        if not exact or not locked.hashes:
            raise ReleaseError(f"{path.name}: {words} has no exact version, or no hash")
        found.append(locked)
    return found
