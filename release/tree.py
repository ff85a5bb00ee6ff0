"""The source tree: where it is, what belongs to it, its version and its time."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from release.errors import ReleaseError

ROOT: Final = Path(__file__).resolve().parents[1]
IMAGES_LOCK: Final = "polis/bundle/default/images.lock"
"""What a release adds to the tree: the digests of the images that were just built."""

_VERSION: Final = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


def version(root: Path = ROOT) -> str:
    """Return the version that the source says."""
    found = _VERSION.search((root / "polis" / "__init__.py").read_text(encoding="utf-8"))
    if found is None:
        raise ReleaseError("polis/__init__.py names no version")
    return found[1]


def epoch(root: Path = ROOT) -> int:
    """Return the time of a release, in seconds since 1970: SOURCE_DATE_EPOCH, else that of the last commit.

    https://reproducible-builds.org/docs/source-date-epoch/
    """
    given = os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct").strip()
    if not given.isdecimal():
        raise ReleaseError("the time of the last commit is not known; set SOURCE_DATE_EPOCH")
    return int(given)


def tracked(root: Path = ROOT) -> list[str]:
    """Return the paths of all files in git, as they stand in the index."""
    return sorted(filter(None, _git(root, "ls-files", "-z").split("\0")))


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout
