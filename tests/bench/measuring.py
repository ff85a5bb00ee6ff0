"""Wall times of commands, measured in turn, so that a busy moment falls on all of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
POLIS = str(Path(sys.executable).with_name("polis"))
RUNS = 9


@dataclass
class Row:
    """A command, what it may take at most (in times of `import typer`), and its wall times in seconds."""

    label: str
    argv: Sequence[str]
    budget: float | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    walls: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the median of the wall times."""
        return statistics.median(self.walls)


@contextmanager
def clean() -> Iterator[dict[str, str]]:
    """Yield an environment in which nothing of this user's is seen, and compiled modules are kept between the runs.

    An installed Polis is compiled when it is installed. A developer's tree may not be: PYTHONDONTWRITEBYTECODE is often
    set in containers, and then every start compiles everything anew, which is not what is measured here.
    """
    with TemporaryDirectory(prefix="polis-bench-") as work:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("POLIS_")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        yield {**environ, "POLIS_HOME": f"{work}/home", "PYTHONPYCACHEPREFIX": f"{work}/compiled"}


def run(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, wherever no polis.yaml lies about."""
    return subprocess.run(argv, env=environ, cwd="/", capture_output=True, text=True, check=False, timeout=60)


def measure(rows: Sequence[Row], environ: Mapping[str, str], runs: int = RUNS) -> None:
    """Run every command once for the caches, then all of them in turn."""
    for turn in range(runs + 1):
        for row in rows:
            begun, used = time.perf_counter(), _children()
            run(row.argv, {**environ, **row.environ})
            if turn:
                row.walls.append(time.perf_counter() - begun)
                row.processor.append(_children() - used)


def _children() -> float:
    """Return the seconds of processor time that all processes started here took so far; on Windows nothing tells."""
    if sys.platform == "win32":
        return 0.0
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows: Sequence[Row], yardstick: Row) -> Iterator[str]:
    """Yield the rows as lines: medians of wall and processor time, their ratios to the yardstick, the budget."""
    yield f"{'command':<34}{'wall ms':>9}{'x typer':>9}{'cpu ms':>9}{'x typer':>9}{'budget':>8}"
    base = statistics.median(yardstick.processor)
    for row in rows:
        limit = f"{row.budget:.1f}" if row.budget else ""
        ratio = row.median / yardstick.median
        over = "  over" if row.budget and ratio > row.budget else ""
        cpu = statistics.median(row.processor)
        figures = f"{row.median * 1000:>9.0f}{ratio:>9.2f}{cpu * 1000:>9.0f}{cpu / base if base else 0:>9.2f}"
        yield f"{row.label:<34}{figures}{limit:>8}{over}"
