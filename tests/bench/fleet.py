"""`make bench-fleet`: what a fleet costs, on simulated machines whose calls take no time. Prints tables.

    python -m tests.bench.fleet [N…]

Each command is a process of its own, so that its peak memory is its own. What is measured is polis with its threads,
records, locks, journals and logs, and the simulation, which reads and writes a file in every call. docs/performance.md
explains the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.measuring import ROOT, clean

SIZES = (10, 100, 1000, 5000)
COMMANDS = ("up", "up", "status")
LABELS = ("fleet up", "fleet up (no-op)", "fleet status")
INSIDE = "POLIS_BENCH_INSIDE"


@dataclass(frozen=True)
class Figures:
    """One command on a fleet: wall and processor seconds, peak memory in bytes, and what one engine was asked."""

    members: int
    wall: float
    processor: float
    peak: int
    asked: int


def inside() -> None:
    """Run one command of polis on simulated machines, and write what it took."""
    import resource

    from polis import assembly
    from polis.__main__ import main
    from tests.simulated.many import Machines

    machines, report = Machines(Path(sys.argv[1])), Path(sys.argv[2])
    assembly.driver = machines
    sys.argv[:] = ["polis", *sys.argv[3:]]
    code = 0
    try:
        main()
    except SystemExit as ending:
        code = int(ending.code or 0)
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"peak": used.ru_maxrss * 1024, "processor": used.ru_utime + used.ru_stime, "asked": len(machines.asked)}
    report.write_text(json.dumps(figures))
    sys.exit(code)


def measure(members: int, work: Path, environ: Mapping[str, str]) -> list[Figures]:
    """Bring a fleet up, again, and look at it."""
    directory = work / str(members)
    directory.mkdir()
    bundle = directory / "bundle"
    bundle.mkdir()
    (bundle / "docker-compose.yml").write_text("services: {}\n")
    fleet = {"defaults": {"bundle": "bundle"}, "members": [{"name": "m", "count": members}]}
    (directory / "fleet.yaml").write_text(json.dumps(fleet))
    report = directory / "report.json"
    own = {**environ, "POLIS_HOME": str(directory / "home"), "PYTHONPATH": str(ROOT), INSIDE: "1"}
    found = []
    for command in COMMANDS:
        argv = [sys.executable, "-m", "tests.bench.fleet", str(directory / "machines"), str(report)]
        begun = time.perf_counter()
        done = subprocess.run(
            [*argv, "fleet", command, "-q"], env=own, cwd=directory, capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - begun
        if done.returncode != 0:
            raise SystemExit(f"fleet {command} of {members} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        told = json.loads(report.read_text())
        found.append(Figures(members, wall, told["processor"], told["peak"], told["asked"]))
    return found


def tell(label: str, rows: list[Figures]) -> None:
    """Print one command's figures: per member what comes on top of the smallest fleet, and the growth of the time."""
    print(f"\n{label:<18}{'wall s':>9}{'cpu s':>9}{'ms/member':>11}{'peak MiB':>10}{'KiB/member':>12}{'growth':>8}")
    first = rows[0]
    for before, row in zip([None, *rows], rows, strict=False):
        memory = f"{(row.peak - first.peak) / 1024 / (row.members - first.members):.1f}" if row is not first else ""
        growth = ""
        if before is not None:
            slope = (row.processor - before.processor) / (row.members - before.members)
            growth = f"{slope * 1000:.2f}"
        print(
            f"{row.members:<18}{row.wall:>9.2f}{row.processor:>9.2f}{row.wall * 1000 / row.members:>11.2f}"
            f"{row.peak / 2**20:>10.1f}{memory:>12}{growth:>8}"
        )
    print(f"questions to the engine for all its instances: {', '.join(str(row.asked) for row in rows)}")


def main() -> None:
    """Measure all sizes, or those of the command line."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    print(f"{os.cpu_count()} processors, Python {sys.version.split()[0]}; growth: processor ms for each further member")
    with clean() as environ, TemporaryDirectory(prefix="polis-fleet-", dir=os.environ.get("TMPDIR")) as work:
        found = [measure(members, Path(work), environ) for members in sizes]
    for index, label in enumerate(LABELS):
        tell(label, [each[index] for each in found])


if __name__ == "__main__":
    inside() if os.environ.get(INSIDE) else main()
