"""The directory of state. Everything is in files, for each call is a process of its own, and may be killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Times:
    """Seconds that things take."""

    download: float = 0.0
    prepare: float = 0.0
    boot: float = 0.0
    cloud_init: float = 0.0
    stop: float = 0.0
    deaf: float = 0.3  # in truth 300: how long a stop blocks that the guest ignores


@dataclass
class Machine:
    """What the daemon knows of an instance. Times are those of time.time()."""

    name: str
    cpus: int
    memory: str
    disk: str
    user_data: str
    downloaded: float
    prepared: float
    patience: float
    client: int
    created: bool = False
    deadline: float = 0.0
    deleted: bool = False
    suspended: bool = False
    shutdown: float = 0.0
    lost: bool = False
    broken: bool = False
    looks: int = 0


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.faults = directory / "faults"
        self.faults.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def machines(self) -> Iterator[dict[str, Machine]]:
        """Give all machines, to be changed; nobody else sees them meanwhile."""
        path = self.directory / "instances.json"
        with (self.directory / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = path.read_text() if path.exists() else "{}"
            machines = {name: Machine(**entry) for name, entry in json.loads(text).items()}
            yield machines
            fresh = json.dumps({name: asdict(machine) for name, machine in machines.items()})
            if fresh != text:
                path.with_suffix(".new").write_text(fresh)
                path.with_suffix(".new").replace(path)

    def times(self, name: str) -> Times:
        path = self.directory / "times.json"
        table = json.loads(path.read_text()) if path.exists() else {}
        return Times(**{**table.get("*", {}), **table.get(name, {})})

    def guest_directory(self, name: str) -> Path:
        return self.directory / "guests" / name

    def note(self, argv: list[str]) -> None:
        with (self.directory / "calls.jsonl").open("a") as file:
            file.write(json.dumps(argv) + "\n")

    def strikes(self, name: str) -> bool:
        """Return whether a fault is ordered; one that has a number is over after so many times."""
        path = self.faults / name
        try:
            text = path.read_text().strip()
        except FileNotFoundError:
            return False
        if text:
            left = int(text) - 1
            path.write_text(str(left)) if left else path.unlink()
        return True

    def busy(self, seconds: float) -> None:
        """Let the daemon answer nobody for a while: it goes on with a deed whose client was killed."""
        (self.directory / "busy").write_text(str(time.time() + seconds))

    def wait_for_daemon(self) -> None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            while (left := float((self.directory / "busy").read_text()) - time.time()) > 0:
                time.sleep(min(left, 0.05))
