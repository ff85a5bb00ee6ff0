"""Packages of the image's own release from the host's mirror, verified by apt, without a trace in the host's apt."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab import rootfs_build
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYRING = rootfs_build.KEYRINGS / "debian-archive-keyring.gpg"
ARCHITECTURE = "amd64"
ALWAYS = ("?essential", "apt")
"""What every installation has, in apt's pattern language."""


def fetch(wanted: Sequence[str], into: Path) -> list[Path]:
    """Download packages and those of their dependencies that the VM image lacks, and return their files.

    Raises LabError if apt fails: no mirror, a wrong signature, a package that is not there.
    """
    with tempfile.TemporaryDirectory(prefix="lab-apt-") as directory:
        apt = PrivateApt(Path(directory), mirror=rootfs_build.host_mirror())
        present = apt.closure([*ALWAYS, *rootfs_build.PACKAGES])
        missing = apt.closure([*ALWAYS, *rootfs_build.PACKAGES, *wanted]) - present
        apt.download(sorted(missing), into)
    return sorted(into.glob("*.deb"))


class PrivateApt:
    """apt with lists, cache and sources in a directory of its own; it believes that nothing is installed."""

    def __init__(self, directory: Path, *, mirror: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True)
        sources = directory / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {mirror} {rootfs_build.SUITE} main\n")
        settings = {
            "APT::Architecture": ARCHITECTURE,
            "APT::Architectures": ARCHITECTURE,
            "APT::Install-Recommends": "false",
            # Its directories are this user's own, and _apt could not write to them.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::Cache": str(directory / "cache"),
            "Dir::Etc::preferences": os.devnull,
            "Dir::Etc::preferencesparts": os.devnull,
            "Dir::Etc::sourcelist": str(sources),
            "Dir::Etc::sourceparts": os.devnull,
            "Dir::State": str(directory / "state"),
            "Dir::State::status": os.devnull,
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        self._run("update", cwd=directory)
        self._directory = directory

    def closure(self, packages: Sequence[str]) -> set[str]:
        """Return these packages and everything that would come with them."""
        said = self._run("--simulate", "install", *packages, cwd=self._directory)
        return {line.split()[1] for line in said.splitlines() if line.startswith("Inst ")}

    def download(self, packages: Sequence[str], into: Path) -> None:
        """Put the .deb files of these packages, and of no other, into a directory."""
        self._run("download", *packages, cwd=into)

    def _run(self, *words: str, cwd: Path) -> str:
        if shutil.which("apt-get") is None:
            raise LabError("apt-get is not installed: the lab is made from Debian packages")
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        argv = ["apt-get", "-q", *self._options, *words]
        done = subprocess.run(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LabError(f"apt-get {' '.join(words)} failed:\n{done.stderr.strip()}")
        return done.stdout
