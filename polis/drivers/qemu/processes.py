"""Which process is the instance's QEMU.

A pid alone proves nothing, it may have been given to another process. What counts is a pid whose command line holds
`-uuid <the instance's uuid>` as two neighbouring arguments.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ProcessTable(Protocol):
    """The view of running processes; a parameter, so that tests can make one up."""

    def argv(self, pid: int) -> Sequence[str]:
        """Return the command line; empty if there is no such process, it is a zombie or not ours to see."""
        ...

    def frozen(self, pid: int) -> bool:
        """Return whether the process was stopped by a signal."""
        ...

    def pids(self) -> Iterable[int]:
        """Return all process ids."""
        ...

    def send(self, pid: int, number: int) -> None:
        """Send a signal; no-op if the process is gone."""
        ...


def identified(argv: Sequence[str], option: str, value: str) -> bool:
    """Return whether a command line holds this option with this value."""
    return (option, value) in pairwise(argv)


def locate(table: ProcessTable, *, option: str, value: str, pidfile: Path, search: bool) -> int | None:
    """Return the pid of the process whose command line holds the option; None if there is none.

    The pid file is asked first. `search` looks through all processes too: polis may have been killed before QEMU
    had written its pid.
    """
    pid = _read(pidfile)
    if pid is not None and identified(table.argv(pid), option, value):
        return pid
    if not search:
        return None
    return next((each for each in table.pids() if identified(table.argv(each), option, value)), None)


def signal_verified(table: ProcessTable, pid: int, number: int, *, option: str, value: str) -> None:
    """Send a signal to the process if it is (still) the one; a pid reused by another is left alone."""
    if identified(table.argv(pid), option, value):
        table.send(pid, number)


def system_table() -> ProcessTable:
    """Return this machine's process table."""
    return ProcFs() if Path("/proc/self/cmdline").exists() else Psutil()


class Psutil:
    """The process table of any system. Importing psutil takes 20 ms, so only where it is needed."""

    def argv(self, pid: int) -> Sequence[str]:
        """Return the command line of a process."""
        import psutil

        try:
            return psutil.Process(pid).cmdline()
        except (psutil.Error, OSError):
            return ()

    def frozen(self, pid: int) -> bool:
        """Return whether a process was stopped by a signal."""
        import psutil

        try:
            return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        except (psutil.Error, OSError):
            return False

    def pids(self) -> Iterable[int]:
        """Return all process ids."""
        import psutil

        return psutil.pids()

    def send(self, pid: int, number: int) -> None:
        """Send a signal; psutil checks the start time once more, against a pid reused meanwhile."""
        import contextlib

        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).send_signal(number)


class ProcFs(Psutil):
    """Linux: the same answers read from /proc, without importing anything."""

    def argv(self, pid: int) -> Sequence[str]:
        """Return the command line of a process; a zombie's is empty."""
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ()
        return raw.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def frozen(self, pid: int) -> bool:
        """Return whether the state letter, which follows the name in parentheses, is T or t."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return text.rpartition(")")[2].strip()[:1] in ("T", "t")

    def pids(self) -> Iterable[int]:
        """Return all process ids."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(pidfile: Path) -> int | None:
    try:
        return int(pidfile.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
