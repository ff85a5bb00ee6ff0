"""Real processes of Polis on a simulated world, and what they leave to look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polis.waiting import wait_until
from tests.simulated import SimulatedDriver

PATIENCE = 120.0
"""Seconds for what takes one on a quiet machine."""


@dataclass
class Home:
    """One user's home with one simulated world."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> Path:
        return self.directory / "world.json"

    @property
    def driver(self) -> SimulatedDriver:
        return SimulatedDriver(path=self.world, stamps=False)

    @property
    def state(self) -> Path:
        return self.directory / "home/config/workspaces/polis/state.json"

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tests.crash.program", str(self.world), *words]

    def env(self, **extra: str) -> dict[str, str]:
        root = Path(__file__).parents[2]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("POLIS_")}
        own = {"POLIS_HOME": str(self.directory / "home"), "PYTHONPATH": str(root)}
        return {**inherited, **own, **self.environment, **extra}

    def start(self, *words: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*words),
            env=self.env(**extra),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        with self.start(*words, **extra) as child:
            out, err = child.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return answer

    def await_file(self, name: str, child: subprocess.Popen[str] | None = None) -> None:
        """Wait until a process has left its sign; fail if it ended instead."""
        path = self.directory / name

        def there(_left: float) -> bool:
            assert child is None or child.poll() is None or path.exists(), child.communicate()
            return path.exists()

        assert wait_until(there, timeout=PATIENCE, interval=0.02), f"no {name}"

    def await_lines(self, name: str, count: int, child: subprocess.Popen[str]) -> None:
        """Wait until so many have left their sign in a file."""
        self.await_file(name, child)
        path = self.directory / name
        there = wait_until(lambda _: len(path.read_text().splitlines()) >= count, timeout=PATIENCE, interval=0.02)
        assert there, f"fewer than {count} in {name}"
