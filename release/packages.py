"""The wheel and the source distribution, by hatchling, and what may be in them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Final

from release import tree
from release.errors import ReleaseError

if TYPE_CHECKING:
    from pathlib import Path

BUILD: Final = """\
import sys
from hatchling import build
print(build.build_wheel(sys.argv[1]))
print(build.build_sdist(sys.argv[1]))
"""

METADATA: Final = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")


def build(root: Path, target: Path, *, epoch: int) -> tuple[Path, Path]:
    """Write wheel and source distribution of a tree into a directory, and return their paths."""
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(target.resolve())],
        cwd=root,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ReleaseError(f"hatchling failed:\n{done.stderr.strip()}")
    wheel, sdist = done.stdout.split()[-2:]
    return target / wheel, target / sdist


def check_wheel(wheel: Path, root: Path = tree.ROOT) -> None:
    """Raise ReleaseError unless the wheel holds every file of polis that is in git, as it is, and nothing else."""
    folder = f"polis_vm-{tree.version(root)}.dist-info"
    expected = {path for path in tree.tracked(root) if path.startswith("polis/")}
    optional = {tree.IMAGES_LOCK}
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        differing = [path for path in sorted(expected & names) if file.read(path) != (root / path).read_bytes()]
    described = {f"{folder}/{name}" for name in METADATA}
    _compare(wheel.name, names - optional, expected | described)
    if differing:
        raise ReleaseError(f"{wheel.name}: {differing[0]} is not that of the tree")


def check_sdist(sdist: Path, root: Path = tree.ROOT) -> None:
    """Raise ReleaseError if the source distribution holds what is not in git, or lacks what a build needs."""
    folder = f"polis_vm-{tree.version(root)}/"
    with tarfile.open(sdist) as file:
        names = {member.name.removeprefix(folder) for member in file.getmembers() if not member.isdir()}
    known = set(tree.tracked(root))
    needed = {path for path in known if path.startswith(("polis/", "release/"))} | {"pyproject.toml", "LICENSE"}
    _compare(sdist.name, names - {tree.IMAGES_LOCK, "PKG-INFO"} - (known - needed), needed)


def _compare(what: str, found: set[str], expected: set[str]) -> None:
    if missing := sorted(expected - found):
        raise ReleaseError(f"{what} lacks {', '.join(missing[:5])}")
    if surplus := sorted(found - expected):
        raise ReleaseError(f"{what} holds what does not belong there: {', '.join(surplus[:5])}")
