"""`python -m tests.bench.simulated WORLD WORD…`: a command of polis on a simulated VM, whose calls take no time.

What is left of the wall time is polis's own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from polis import assembly
from polis.__main__ import main
from tests.simulated import SimulatedDriver


def run() -> None:
    """Run the command."""
    world = Path(sys.argv[1])
    assembly.driver = lambda *_, **__: SimulatedDriver(path=world)
    sys.argv[:] = ["polis", *sys.argv[2:]]
    main()


if __name__ == "__main__":
    run()
