"""How long this guest has been on: its kernel's time, or in a system container that of its init.

A container may see its server's uptime (/proc/uptime without lxcfs), and so does systemd in it. Its init's start is
counted from the server's boot on the same clock, which nothing hides.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

CONTAINER = Path("/run/systemd/container")
"""Written by systemd where it was started in a container."""

INIT = Path("/proc/1/stat")
STARTED = 19
"""Which field of INIT, after the command's name in parentheses, is the start in clock ticks since the kernel began."""


def begun() -> float:
    """Return how many seconds after the kernel began this guest was switched on: 0 if the kernel is its own."""
    if not CONTAINER.exists():
        return 0.0
    fields = INIT.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return int(fields[STARTED]) / os.sysconf("SC_CLK_TCK")


def seconds() -> float:
    """Return how long the guest has been on."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begun()
