"""One changing command at a time in the guest: the newest ends what a killed polis left running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from polis.guest.remote import alone

OLDER = """
import subprocess, sys, time
from pathlib import Path
from polis.guest.remote import alone
alone.take_over(Path(sys.argv[1]))
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
{wait}
"""
NEWER = """
import sys
from pathlib import Path
from polis.guest.remote import alone
alone.GRACE = 1.0
alone.take_over(Path(sys.argv[1]))
print("alone", flush=True)
"""


def older(lock: Path, wait: str) -> tuple[subprocess.Popen[str], int]:
    code = OLDER.format(wait=wait)
    child = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, int(child.stdout.readline())


@pytest.mark.processes
@pytest.mark.parametrize(
    "wait",
    ["child.wait()", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"],
    ids=["obedient", "deaf"],
)
def test_an_older_command_is_ended_with_all_it_started(tmp_path: Path, wait: str) -> None:
    command, grandchild = older(tmp_path / "lock", wait)
    done = subprocess.run(
        [sys.executable, "-c", NEWER, str(tmp_path / "lock")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "alone\n"
    command.wait(30)
    until = time.monotonic() + 30
    while psutil.pid_exists(grandchild) and psutil.Process(grandchild).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "what the older command had started is still there"
        time.sleep(0.05)
    command.communicate()


@pytest.mark.processes
def test_nobody_is_ended_when_the_older_command_is_over(tmp_path: Path) -> None:
    command, grandchild = older(tmp_path / "lock", "child.kill(); child.wait()")
    assert command.wait(30) == 0
    done = subprocess.run(
        [sys.executable, "-c", NEWER, str(tmp_path / "lock")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "alone\n"
    assert not psutil.pid_exists(grandchild)
    command.communicate()


def test_descendants_come_before_their_parents() -> None:
    assert alone.descendants(os.getpid())[-1] == os.getpid()
    assert os.getpid() in alone.descendants(os.getppid())
