"""Real VMs, real cloud-init, real Docker, a real registry with faults: polis is started as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.world import World

ROOT = Path(__file__).parents[2]
POLIS = str(Path(sys.executable).with_name("polis"))
CPUS = "1"
"""Processors of each VM: of two, one often waits for what the other holds, where three VMs share two real ones."""
DEADLINE = 1500.0
"""Seconds; generous, because CI shares its two cores."""


@dataclass
class Result:
    """What a finished command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.stdout)
        return value

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    def phases(self, event: str) -> list[str]:
        return [entry["phase"] for entry in self.events if entry["event"] == event]


@dataclass
class User:
    """Somebody at a terminal, with a home of their own and the lab's configuration."""

    home: Path
    config: Path
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """What the command is started with, for example in a network of its own."""
    transcript: list[str] = field(default_factory=list)
    """All that was ever printed."""

    def type(self, *words: str, **environment: str) -> Result:
        """Run a command to its end."""
        done = subprocess.run(
            [*self.prefix, POLIS, "--config", str(self.config), *words],
            env=self._environment(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
            stdin=subprocess.DEVNULL,
        )
        self.transcript += [done.stdout, done.stderr]
        return Result(done.returncode, done.stdout, done.stderr)

    def succeed(self, *words: str, **environment: str) -> Result:
        """Run a command that must end with 0."""
        result = self.type(*words, **environment)
        assert result.code == 0, f"polis {' '.join(words)} ended with {result.code}:\n{result.stdout}{result.stderr}"
        return result

    def pipe(self, data: bytes, *words: str) -> bytes:
        """Run a command that must end with 0 in the middle of a pipe; return what comes out of it."""
        return subprocess.run(
            [POLIS, "--config", str(self.config), *words],
            env=self._environment({}),
            input=data,
            stdout=subprocess.PIPE,
            check=True,
            timeout=DEADLINE,
        ).stdout

    def cut(self, point: str, *words: str) -> bool:
        """Run a command that kills itself at a point of a driver call (see `cutting`); return whether it came there."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.e2e.cutting", point, "--config", str(self.config), *words],
            env=self._environment({"PYTHONPATH": str(ROOT)}),
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode in (0, -signal.SIGKILL), f"{point}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.returncode != 0

    @contextmanager
    def begin(self, *words: str) -> Iterator[Running]:
        """Start a command with --json and follow its events; it is killed if the test leaves it running."""
        child = subprocess.Popen(
            [POLIS, "--config", str(self.config), *words, "--json"],
            env=self._environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield Running(child)
        finally:
            child.kill()
            child.communicate()

    def status(self, name: str = "polis") -> dict[str, Any]:
        return self.succeed("status", "--json", "-n", name).document

    def guest(self, *words: str, name: str = "polis") -> str:
        """Run a command in the VM, as root, and return what it prints."""
        return self.succeed("-n", name, "exec", "sudo", *words).stdout

    def boot_id(self) -> str:
        return self.guest("cat", "/proc/sys/kernel/random/boot_id").strip()

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "POLIS_HOME": str(self.home), "POLIS_CPUS": CPUS, **self.environment, **more}


class Running:
    """A command at work."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._events: list[dict[str, Any]] = []

    def seen(self, event: str) -> list[str]:
        """Return the phases of the events of this kind that were waited through."""
        return [entry["phase"] for entry in self._events if entry["event"] == event]

    def wait_for(self, event: str, phase: str, *, detail: str = "") -> dict[str, Any]:
        """Return the first such event; fail if the command ends without it."""
        assert self._child.stdout is not None
        timer = threading.Timer(DEADLINE, self._child.kill)
        timer.start()
        try:
            for line in self._child.stdout:
                entry: dict[str, Any] = json.loads(line)
                self._events.append(entry)
                if entry["event"] == event and entry.get("phase") == phase and detail in entry.get("detail", ""):
                    return entry
        finally:
            timer.cancel()
        stderr = self._child.stderr.read() if self._child.stderr else ""
        pytest.fail(f"the command ended without {event} of {phase}: {stderr}")

    def send(self, number: int) -> int:
        """Send a signal and return the exit code."""
        self._child.send_signal(number)
        self._child.communicate(timeout=DEADLINE)
        return self._child.returncode


def eventually(condition: Callable[[], Any], timeout: float = DEADLINE) -> Any:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.2)
    pytest.fail("the condition never came true")


def qemus(home: Path) -> list[psutil.Process]:
    """Return the QEMU processes whose disks lie below a home."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if "qemu-system" in words and str(home) in words and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A lab of its own, beside that of `make up`; only the VM image, the packages and the keys are shared."""
    World(ROOT / ".lab").build_image()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    running = World(ROOT / ".lab" / f"e2e-{worker}", shared=ROOT / ".lab")
    running.start(image=False)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def user(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """One user for all tests, so that one VM serves them; what they left is deleted at the end."""
    home = tmp_path_factory.mktemp("home")
    someone = User(
        home,
        ROOT / "lab" / "polis.yaml",
        {
            "POLIS_REGISTRY": f"10.0.2.2:{world.proxy_port}/odralabshq",
            "POLIS_IMAGES_LOCK": str(world.images_lock),
            "POLIS_MIRRORS": json.dumps(world.mirrors()),
            "POLIS_RETRY": "{attempts: 2, base: 0.1, cap: 0.2, silence: 15}",
        },
    )
    yield someone
    for name in ("polis", "other"):
        someone.type("-n", name, "delete", "-y")
    for process in qemus(home):
        process.kill()


@pytest.fixture
def left() -> list[str]:
    """Return the files in the guest that hold keys and passwords for other operators: a VM here has none."""
    return []


@pytest.fixture(autouse=True)
def _healed(world: World) -> Iterator[None]:
    """No fault outlives its test."""
    world.heal()
    world.clear_log()
    yield
    world.heal()
