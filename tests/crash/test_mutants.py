"""Each promise is broken in a copy of Polis, and the crash tests must notice: what cannot fail proves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.test_random import NO_SHRINKING

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One text of one module, exchanged; and the tests that must fail then."""

    name: str
    module: str
    old: str
    new: str
    tests: str


KILLED = "tests/crash/test_killed.py::test_cut_at_every_point_the_next_up_ends_healthy"
RANDOM = "tests/crash/test_random.py"

MUTANTS = [
    Mutant(
        "act before the record is saved",
        "machine.py",
        "        self._record.depart(to)\n        self._store.save(self._record)\n",
        "        self._record.depart(to)\n",
        f"{KILLED}[up-killed]",
    ),
    Mutant(
        "record a phase without having seen it",
        "machine.py",
        "if seen.held.rank < to.rank:",
        "if False:",
        "tests/crash/test_failing.py::test_an_action_that_reports_success_and_did_nothing_is_not_believed",
    ),
    Mutant(
        "no fsync of the file",
        "durable.py",
        "        os.fsync(descriptor)\n    finally:\n        os.close(descriptor)\n\n\ndef _keep",
        "        pass\n    finally:\n        os.close(descriptor)\n\n\ndef _keep",
        f"{KILLED}[up-power cut, names kept]",
    ),
    Mutant(
        "no fsync of the directory",
        "durable.py",
        "        raise\n    sync_directory(path.parent)",
        "        raise",
        f"{KILLED}[up-power cut, names lost]",
    ),
    Mutant(
        "a new workspace's directory is not anchored",
        "store.py",
        "durable.anchor(self.directory)",
        "pass",
        f"{KILLED}[up-power cut, names lost]",
    ),
    Mutant(
        "the record is written in place",
        "durable.py",
        "    partial = path.with_name(",
        "    partial = path if path.unlink(missing_ok=True) is None else path.with_name(",
        f"{KILLED}[upgrade-killed]",
    ),
    Mutant(
        "services that did not run since the boot count",
        "states/running.py",
        "if service.one_shot and not container.this_boot:",
        "if False:",
        f"{KILLED}[stop_and_up-killed]",
    ),
    Mutant(
        "an edited bundle counts",
        "states/configured.py",
        "if not bundle.intact:",
        "if False:",
        RANDOM,
    ),
    Mutant(
        "status believes the record",
        "status.py",
        "phase = min(held, recorded, key=lambda phase: phase.rank) if record is not None else held",
        "phase = recorded if record is not None else held",
        RANDOM,
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_promise_is_noticed(mutant: Mutant, tmp_path: Path, tell: Callable[..., None]) -> None:
    _copy(tmp_path)
    module = tmp_path / "polis" / mutant.module
    text = module.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.module} has changed: correct this mutant"
    module.write_text(text.replace(mutant.old, mutant.new))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", mutant.tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), NO_SHRINKING: "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 1, f"nothing failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    tell(f"mutant noticed: {mutant.name}", points=1, tried=1, passed=1)


def _copy(target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("polis", "tests/crash", "tests/simulated"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for name in ("pyproject.toml", "state-schema.json"):
        shutil.copy(ROOT / name, target / name)
