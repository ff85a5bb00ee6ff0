"""`make bench`: what a command costs beside bare Python, in one run. Prints tables, asserts nothing.

docs/performance.md explains each figure.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

from polis import paths
from tests.bench import workings
from tests.bench.measuring import POLIS, ROOT, RUNS, Row, clean, measure, run, table

LAB = [POLIS, "--config", str(ROOT / "lab" / "polis.yaml")]
OTHERS = (("lxc", "list"), ("terraform", "version"), ("multipass", "version"))
"""Commands of other tools that people type as often."""

FEW = 5
"""Runs of what takes seconds."""


def start_up() -> None:
    """Print what starting costs, with no VM and with one that answers at once."""
    with clean() as environ:
        world = str(Path(environ["POLIS_HOME"]).parent / "world.json")
        simulated = [sys.executable, "-m", "tests.bench.simulated", world]
        inside = {"PYTHONPATH": str(ROOT), "POLIS_HOME": f"{environ['POLIS_HOME']}-simulated"}
        run([*simulated, "up"], {**environ, **inside})
        typer = Row("python -c 'import typer'", [sys.executable, "-c", "import typer"])
        rows = [
            Row("python -c pass", [sys.executable, "-c", "pass"]),
            typer,
            Row("polis --version", [POLIS, "--version"], 1.5),
            Row("polis --help", [POLIS, "--help"]),
            Row("completion of `polis st`", [POLIS], None, _completing("polis st")),
            Row("polis status (no VM)", [POLIS, "status"], 2.5),
            Row("polis list", [POLIS, "list"]),
            Row("polis status (simulated VM)", [*simulated, "status"], None, inside),
            Row("polis up (no-op, simulated VM)", [*simulated, "up"], 3.0, inside),
            *[Row(" ".join(argv), argv) for argv in OTHERS if shutil.which(argv[0])],
        ]
        measure(rows, environ)
    print("\n".join(table(rows, typer)))
    for argv in OTHERS:
        if not shutil.which(argv[0]):
            print(f"{' '.join(argv):<34}not installed here: left out")


def _completing(words: str) -> dict[str, str]:
    return {"_POLIS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}


def on_a_vm() -> None:
    """Print what a no-op `up` and a `status` cost on the lab's healthy workspace, inside driver calls and outside."""
    environ = dict(os.environ)
    if run([*LAB, "status", "--check"], environ).returncode != 0:
        print("\non a VM: left out, the lab's workspace is not healthy (`make up` first)")
        return
    typer = Row("", [sys.executable, "-c", "import typer"])
    measure([typer], environ)
    print(f"\n{'on a healthy VM':<34}{'wall ms':>10}{'driver':>9}{'own':>8}{'x typer':>9}  driver calls")
    walls, own, calls = [], [], ""
    for _ in range(FEW):
        begun = time.perf_counter()
        answer = run([*LAB, "up", "--json", "-v"], environ)
        walls.append(time.perf_counter() - begun)
        events = [json.loads(line) for line in answer.stdout.splitlines()]
        own.append(walls[-1] - float(events[-1]["driver_s"]))
        ended = [event for event in events if event["event"] == "driver.called" and event["duration_s"] is not None]
        told = ", ".join(f"{event['call']}" for event in ended)
        calls = f"{events[-1]['driver_calls']}" + (f" ({told})" if told else "")
    wall, mine = statistics.median(walls), statistics.median(own)
    print(
        f"{'polis up (no-op)':<34}{wall * 1000:>10.0f}{(wall - mine) * 1000:>9.0f}{mine * 1000:>8.0f}"
        f"{mine / typer.median:>9.2f}  {calls}"
    )
    status = Row("polis status", [*LAB, "status"])
    measure([status], environ, FEW)
    print(f"{status.label:<34}{status.median * 1000:>10.0f}")


def last_up() -> None:
    """Print where the minutes of the lab's last `up` that made something went."""
    directory = paths.find().workspace("polis")
    for name in ("polis.log", "journal.jsonl"):
        made = [work for work in workings.works(workings.read(directory / name)) if "launched" in work.phases]
        if made:
            _tell(made[-1])
            return
    print("\nno `up` from nothing is in the lab's log")


def _tell(work: workings.Work) -> None:
    print(f"\npolis {work.command} from nothing, ended {work.at}: {work.wall:.1f} s")
    for phase, seconds in work.phases.items():
        print(f"  {phase:<32}{seconds:>8.1f} s{100 * seconds / work.wall:>7.1f} %")
    if work.calls:
        print(f"  {'outside driver calls':<32}{work.wall - work.inside:>8.1f} s{work.own:>7.1f} %   budget 2 %")
        print(f"  driver calls: {', '.join(f'{count} {call}' for call, count in sorted(work.calls.items()))}")
    else:
        print("  the log of that time knows of no driver calls")


if __name__ == "__main__":
    print(f"medians of {RUNS} runs in turn, {os.cpu_count()} processors, Python {sys.version.split()[0]}\n")
    start_up()
    on_a_vm()
    last_up()
