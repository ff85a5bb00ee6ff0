"""Each file of a release, used as a user would: installed somewhere clean, run elsewhere, without this tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, Final

from release import lockfile
from release.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT: Final = 600.0
"""Seconds for one command; an installation fetches from a package index."""

SKIPPED: Final = ("PYTHON", "POLIS_", "VIRTUAL_ENV", "XDG_")
"""Beginnings of variables that would let something of this tree, or of its user, in."""


def single_file(file: Path, scratch: Path) -> None:
    """Try a single file with the Python that this runs by. Raises ReleaseError."""
    _try([sys.executable, "-I", str(file.resolve())], scratch / "single-file")


def package(file: Path, scratch: Path) -> None:
    """Install a wheel or a source distribution into an environment of its own, and try it. Raises ReleaseError.

    What it runs on comes from the lock, by hash.
    """
    kind = "wheel" if file.suffix == ".whl" else "sdist"
    place = scratch / kind
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "--requirement", str(lockfile.FILE)], place)
    _run([*pip, "--no-deps", str(file.resolve())], place)
    _try([str(python.with_name("polis"))], place / "home")


def _try(polis: Sequence[str], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    told = json.loads(_run([*polis, "version", "--json"], place))
    if "polis" not in json.dumps(told):
        raise ReleaseError(f"`{polis[-1]} version` says {told}")
    document = _run([*polis, "cloud-init", "show"], place)
    if not document.startswith("#cloud-config"):
        raise ReleaseError(f"`{polis[-1]} cloud-init show` prints no document")
    plan = json.loads(_run([*polis, "plan", "--json", "--driver", "qemu"], place, codes=(0, 3)))
    if not plan.get("steps"):
        raise ReleaseError(f"`{polis[-1]} plan` plans nothing: {plan}")


def _run(argv: Sequence[str], place: Path, *, codes: Sequence[int] = (0,)) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(SKIPPED)}
    environ["POLIS_HOME"] = str(place / ".polis")
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        argv,
        cwd=place,
        env=environ,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode not in codes:
        raise ReleaseError(
            f"`{' '.join(argv)}` ended with {done.returncode}:\n{done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout
