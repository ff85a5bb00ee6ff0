"""Polis itself, whole, with simulated machines: for tests that need real processes, signals and terminals.

    python -m tests.crash.program WORLD POLIS-ARGUMENTS...

Every driver call is written to `calls.log` beside the world's file. Two variables make calls take their time:
SIMULATED_PACE is how many seconds each takes, SIMULATED_HANG the point (such as `during exec:pull`) at which the
process waits for a signal; it writes `hanging` beside the world first. With SIMULATED_STUBBORN, what hangs does not end
at the first signal, like a tool that takes long to clean up. SIMULATED_MANY gives each workspace a world of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polis import __main__, assembly, interruption
from tests.simulated import SimulatedDriver
from tests.simulated.many import Machines


@dataclass(frozen=True)
class Pace:
    """How long calls take, and what they leave in the log."""

    world: Path

    def __call__(self, call: str, moment: str) -> None:
        self._write("calls.log", f"{os.getpid()} {moment} {call}\n")
        if moment == "before":
            time.sleep(float(os.environ.get("SIMULATED_PACE", "0")))
        if f"{moment} {call}" == os.environ.get("SIMULATED_HANG"):
            self._hang()

    def _hang(self) -> None:
        self._write("hanging", f"{os.getpid()}\n")
        if "SIMULATED_STUBBORN" in os.environ:
            with contextlib.suppress(KeyboardInterrupt):
                _wait_for_ever()
            self._write("stubborn", f"{os.getpid()}\n")
        _wait_for_ever()

    def _write(self, name: str, line: str) -> None:
        descriptor = os.open(self.world.with_name(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def _wait_for_ever() -> None:
    while True:
        interruption.sleep(3600)  # as a tool that is waited for, in the main thread or beside it


def main() -> None:
    world = Path(sys.argv.pop(1))

    def driver(*_: Any, **__: Any) -> SimulatedDriver:
        return SimulatedDriver(path=world, interfere=Pace(world), stamps=False)

    def one_of_many(spec: Any, *_: Any, **__: Any) -> SimulatedDriver:
        return machines(spec)

    machines = Machines(world.parent / "machines", interfere=lambda _name, call, moment: pace(call, moment))
    pace = Pace(world)
    assembly.driver = one_of_many if "SIMULATED_MANY" in os.environ else driver
    __main__.main()


if __name__ == "__main__":
    main()
