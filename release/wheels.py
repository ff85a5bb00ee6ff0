"""The wheels of what a released polis runs on: fetched by pip, by their hashes, for any platform."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from release import lockfile
from release.errors import ReleaseError
from release.platforms import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from release.lockfile import Locked
    from release.platforms import Platform

UNIVERSAL: Final = ("-none-", "-abi3-")
"""Parts of the name of a wheel that does for every later Python."""


def fetch(platform: Platform, cache: Path) -> list[Path]:
    """Return the wheels for a platform and all its Pythons, from the cache or the package index.

    Raises ReleaseError if pip gets one not, or if one is not what the lock says.
    """
    places = cache / platform.name
    places.mkdir(parents=True, exist_ok=True)
    wanted = [each for each in lockfile.read() if each.is_for(platform, PYTHONS[0])]
    for python in PYTHONS:
        missing = [each for each in wanted if _find(each, python, places) is None]
        if missing:
            _download(missing, platform, python, places)
    found: dict[str, Path] = {}
    for each in wanted:
        for python in PYTHONS:
            wheel = _find(each, python, places)
            if wheel is None:
                raise ReleaseError(f"{each.name} {each.version} has no wheel for {platform.name}, Python {python}")
            _check(wheel, each)
            found[wheel.name] = wheel
    return [found[name] for name in sorted(found)]


def _find(locked: Locked, python: str, places: Path) -> Path | None:
    stem = f"{locked.name.replace('-', '_')}-{locked.version}-"
    own = f"-cp{python.replace('.', '')}-"
    for wheel in sorted(places.glob("*.whl")):
        tags = wheel.name[len(stem) - 1 :]
        if wheel.name.lower().replace(".", "_").startswith(stem.lower().replace(".", "_")) and (
            own in tags or any(mark in tags for mark in UNIVERSAL)
        ):
            return wheel
    return None


def _download(missing: Iterable[Locked], platform: Platform, python: str, places: Path) -> None:
    tags = [word for tag in platform.tags for word in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch) / "requirements.txt"
        lines.write_text("".join(each.line() for each in missing), encoding="utf-8")
        flags = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--implementation", "cp"]
        where = ["--dest", str(places), "--requirement", str(lines)]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", *flags, "--python-version", python]
        done = subprocess.run(
            [*pip, *tags, *where],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise ReleaseError(f"pip could not fetch wheels for {platform.name}, Python {python}:\n{done.stderr.strip()}")


def _check(wheel: Path, locked: Locked) -> None:
    if hashlib.sha256(wheel.read_bytes()).hexdigest() not in locked.hashes:
        raise ReleaseError(f"{wheel.name} is not one of those in {lockfile.FILE.name}: its sha256 differs; remove it")
