"""`make bench`: what a command costs beside bare Python, in one run. Prints a table, asserts nothing."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 9
POLIS = [str(Path(sys.executable).with_name("polis"))]
LAB = [*POLIS, "--config", str(Path(__file__).parents[2] / "lab" / "polis.yaml")]


def wall(argv: list[str], env: dict[str, str] | None = None) -> float:
    begun = time.perf_counter()
    subprocess.run(argv, env={**os.environ, **(env or {})}, capture_output=True, check=False)
    return time.perf_counter() - begun


def median(argv: list[str], env: dict[str, str] | None = None) -> float:
    wall(argv, env)  # the first run fills the caches
    return statistics.median(wall(argv, env) for _ in range(RUNS))


def start_up() -> None:
    """Print what starting costs, without a VM."""
    with tempfile.TemporaryDirectory() as home:
        alone = {"POLIS_HOME": home}
        typer = median([sys.executable, "-c", "import typer"])
        rows = [
            ("python -c pass", median([sys.executable, "-c", "pass"]), None),
            ("python -c 'import typer'", typer, None),
            ("polis --version", median([*POLIS, "--version"], alone), 1.5),
            ("polis --help", median([*POLIS, "--help"], alone), None),
            ("polis status (no VM)", median([*POLIS, "status"], alone), 2.5),
            ("polis list", median([*POLIS, "list"], alone), None),
        ]
    print(f"{'command':<28}{'median ms':>10}{'x typer':>9}{'budget':>8}")
    for label, seconds, budget in rows:
        limit = f"{budget:.1f}" if budget else ""
        print(f"{label:<28}{seconds * 1000:>10.0f}{seconds / typer:>9.2f}{limit:>8}")


def no_op() -> None:
    """Print what a no-op `up` and a `status` cost on the lab's healthy workspace, inside driver calls and outside."""
    if subprocess.run([*LAB, "status", "--check"], capture_output=True, check=False).returncode != 0:
        print("\nno-op up, status: left out, the lab's workspace is not healthy (`make up` first)")
        return
    typer = median([sys.executable, "-c", "import typer"])
    print(f"\n{'on a healthy VM':<28}{'wall ms':>10}{'driver':>9}{'own':>8}{'x typer':>9}{'calls':>7}")
    walls, drivers, calls = [], [], 0
    for _ in range(RUNS):
        begun = time.perf_counter()
        done = subprocess.run([*LAB, "up", "--json"], capture_output=True, check=True)
        walls.append(time.perf_counter() - begun)
        answer = json.loads(done.stdout.splitlines()[-1])
        drivers.append(float(answer["driver_s"]))
        calls = int(answer["driver_calls"])
    whole, inside = statistics.median(walls), statistics.median(drivers)
    own = statistics.median(w - d for w, d in zip(walls, drivers, strict=True))
    print(
        f"{'polis up (no-op)':<28}{whole * 1000:>10.0f}{inside * 1000:>9.0f}{own * 1000:>8.0f}"
        f"{own / typer:>9.2f}{calls:>7}"
    )
    print(f"{'polis status':<28}{median([*LAB, 'status']) * 1000:>10.0f}")


def last_up() -> None:
    """Print what each phase of the lab's last `up` took, from the workspace's journal."""
    from polis import paths
    from polis.journal import Journal

    entries = list(Journal(paths.find().workspace("polis")).read())
    done = {entry["phase"]: entry["duration_s"] for entry in entries if entry["event"] == "phase.completed"}
    if done:
        print("\nphases of the lab's workspace, s: " + ", ".join(f"{phase} {took:.1f}" for phase, took in done.items()))


if __name__ == "__main__":
    start_up()
    no_op()
    last_up()
