"""One changing command at a time in the guest, the newest: a polis that was killed leaves its last one running here.

The workspace's lock on the host says that nobody else is entitled to, so what is still running is ended.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

LOCK = Path("/run/polis-command")
GRACE = 20.0
"""Seconds between SIGTERM and SIGKILL: Compose finishes the call that it is in."""

INTERVAL = 0.1


class Ended(BaseException):
    """A newer command, or timeout(1), wants this one to end; children are ended on the way out."""


def take_over(lock: Path = LOCK) -> None:
    """End an older command with all that it started, and hold the lock until this process ends.

    Raises TimeoutError if it cannot be ended.
    """
    signal.signal(signal.SIGTERM, _end)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + GRACE
    asked = False
    while not _acquired(descriptor):
        late = time.monotonic() >= until
        if not asked or late:
            _signal_tree(_holder(descriptor), signal.SIGKILL if late else signal.SIGTERM)
            asked = True
        if time.monotonic() >= until + GRACE:
            raise TimeoutError("an earlier command in the guest cannot be ended")
        time.sleep(INTERVAL)


def descendants(pid: int) -> list[int]:
    """Return the process and all that descend from it, children before their parents."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(words[1])
    found, seen = [pid], {pid}
    for parent in found:
        children = [child for child, of in parents.items() if of == parent and child not in seen]
        found += children
        seen.update(children)
    return found[::-1]


def _acquired(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> int | None:
    """Return who holds the lock; the kernel knows, a number written into a file might be another's by now."""
    inode = str(os.fstat(descriptor).st_ino)
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
            return int(words[4])
    return None


def _signal_tree(pid: int | None, number: int) -> None:
    for each in descendants(pid) if pid is not None else []:
        try:
            os.kill(each, number)
        except ProcessLookupError:
            continue


def _end(_number: int, _frame: object) -> None:
    raise Ended("at its time limit, or by a newer command")
