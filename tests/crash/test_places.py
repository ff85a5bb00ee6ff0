"""Where the record may lie, and where it may not: on another file system, in a directory of another user, read-only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.running import PATIENCE, Home

NOBODY = 65534
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of an unguessable name is made in it

BOUND_BY_PERMISSIONS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown", "--"]
"""Takes from root what lets it pass over permissions, so that tests run by root meet them too."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on another file system than that of temporary files, which may be in memory or on a disk."""
    other = next(place for place in (IN_MEMORY, Path.home()) if place.stat().st_dev != tmp_path.stat().st_dev)
    directory = Path(tempfile.mkdtemp(dir=other))
    yield directory
    shutil.rmtree(directory)


def test_a_workspace_that_lies_on_another_file_system(home: Home, elsewhere: Path) -> None:
    workspaces = home.directory / "home/config/workspaces"
    workspaces.mkdir(parents=True)
    assert elsewhere.stat().st_dev != workspaces.stat().st_dev
    (workspaces / "polis").symlink_to(elsewhere)
    assert home.run("up").returncode == 0
    assert json.loads((elsewhere / "state.json").read_text())["phase"] == "healthy"
    assert home.run("reset", "--to", "launched").returncode == 0
    assert home.status()["phase"] == "launched"


@pytest.mark.parametrize("mode", [0o500, 0o000], ids=["read-only", "no rights"])
def test_a_directory_that_is_not_ours_to_change_is_an_error_and_nothing_is_made(home: Home, mode: int) -> None:
    directory = home.directory / "home/config/workspaces"
    directory.mkdir(parents=True)
    directory.chmod(mode)
    done = _bound(home, "up")
    assert done.returncode == 69, done.stderr
    assert "Permission denied" in done.stderr
    assert "next: make " in done.stderr
    assert "Traceback" not in done.stderr
    assert not home.world.exists()


@pytest.mark.parametrize("command", ["up", "stop", "reset", "delete -y"])
def test_a_record_of_another_user_is_an_error_and_stays_as_it_is(home: Home, command: str) -> None:
    assert home.run("up").returncode == 0
    before = home.state.read_bytes()
    if os.getuid() == 0:
        for path in (home.state.parent, *home.state.parent.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    else:
        home.state.parent.chmod(0)
    done = _bound(home, *command.split())
    home.state.parent.chmod(0o700)
    assert done.returncode == 69, done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert home.state.read_bytes() == before
    assert home.driver.machine_of()["state"] == "running"


def test_what_may_only_be_read_can_still_be_looked_at(home: Home) -> None:
    assert home.run("up").returncode == 0
    for path in home.state.parent.iterdir():
        path.chmod(0o400)
    home.state.parent.chmod(0o500)
    done = _bound(home, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["phase"] == "healthy"
    refused = _bound(home, "stop")
    assert refused.returncode == 69
    home.state.parent.chmod(0o700)


def _bound(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    prefix = BOUND_BY_PERMISSIONS if os.getuid() == 0 else []
    return subprocess.run(
        [*prefix, *home.argv(*words)],
        env=home.env(),
        cwd=home.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
