from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from polis import lock
from polis.errors import HostUnsuitable, Locked
from polis.store import Store

HOLD = """
import sys
from pathlib import Path
from polis import lock
with lock.hold(Path(sys.argv[1]), "up"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


@pytest.mark.processes
def test_a_second_command_is_told_who_holds_the_lock_and_what_it_does(tmp_path: Path) -> None:
    child = holder(tmp_path)
    with pytest.raises(Locked) as caught, lock.hold(tmp_path, "reset"):
        pass
    assert caught.value.exit_code == 5
    assert f"`polis up` (pid {child.pid})" in caught.value.cause
    child.communicate("\n")


@pytest.mark.processes
def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    child = holder(tmp_path)
    child.kill()
    child.wait()
    with lock.hold(tmp_path, "up"):
        pass
    child.communicate()


@pytest.mark.processes
def test_waiting_gets_the_lock_when_its_holder_ends(tmp_path: Path) -> None:
    child = holder(tmp_path)
    told = threading.Event()

    def finish() -> None:
        told.set()
        child.communicate("\n")

    timer = threading.Timer(0.2, finish)
    timer.start()
    with lock.hold(tmp_path, "up", wait=30):
        assert told.is_set()
    timer.join()


def test_a_workspace_deleted_while_its_lock_is_held_can_be_made_anew(tmp_path: Path) -> None:
    directory = tmp_path / "workspace"
    with lock.hold(directory, "delete"):
        Store(directory).forget(last=lock.FILE)
    assert not directory.exists()
    with lock.hold(directory, "up"):
        assert directory.is_dir()


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostUnsuitable) as caught, lock.hold(tmp_path / "file" / "workspace", "up"):
        pass
    assert "POLIS_HOME" in caught.value.hint


@pytest.mark.processes
def test_who_waits_is_told_for_whom(tmp_path: Path) -> None:
    told: list[str] = []
    waiting = lock.hold(tmp_path / "w", "stop", wait=0.1, tell=told.append)
    with lock.hold(tmp_path / "w", "up"), pytest.raises(Locked, match=r"within 0\.1 s"):
        waiting.__enter__()
    (line,) = told
    assert f"`polis up` (pid {os.getpid()})" in line
