"""The drivers that the contract suite tests, each with what the suite must know beyond the protocol."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from polis.drivers.base import Artifact, Driver, Image, LaunchRequest
from polis.drivers.qemu.driver import QemuDriver

ROOT = Path(__file__).parents[2]
GIBIBYTE = 1024**3

USER_DATA = "#cloud-config\nusers: [default]\nwrite_files:\n- path: /var/lib/contract\n  content: from user data\n"


class Subject(Protocol):
    """A driver under test. It can be pickled, for a test lets another process use it."""

    @property
    def driver(self) -> Driver: ...

    def request(self, name: str, owner: str) -> LaunchRequest:
        """Return a request for a small machine."""
        ...

    def crash(self, name: str) -> None:
        """End the machine as a power cut would."""
        ...

    def machines(self, name: str) -> int:
        """Return how many machines of this name are on."""
        ...

    def leftovers(self, name: str) -> list[str]:
        """Return what is still there of a machine: processes, files, sockets."""
        ...


@dataclass(frozen=True)
class QemuSubject:
    """The embedded driver, in directories of its own."""

    root: Path
    runtime: Path
    image: Image

    @property
    def data(self) -> Path:
        return self.root / "da ta,"  # neither a space nor a comma may matter

    @property
    def driver(self) -> Driver:
        return QemuDriver(data=self.data, cache=self.root / "cache", runtime=self.runtime)

    def request(self, name: str, owner: str) -> LaunchRequest:
        return LaunchRequest(
            name=name,
            owner=owner,
            image=self.image,
            cpus=2,
            memory=GIBIBYTE,
            disk=6 * GIBIBYTE,
            user_data=USER_DATA,
            timeout=600.0,
        )

    def crash(self, name: str) -> None:
        for process in self._processes(name):
            process.send_signal(signal.SIGKILL)

    def machines(self, name: str) -> int:
        return len([each for each in self._processes(name) if each.name().startswith("qemu-system")])

    def leftovers(self, name: str) -> list[str]:
        found = [str(process.cmdline()) for process in self._processes(name)]
        found += [str(path) for path in (self.data / "qemu").glob(f"*{name}*")]
        others = [path for path in (self.data / "qemu").iterdir() if not path.name.startswith(".")]
        sockets = [str(path) for path in self.runtime.iterdir()]
        return found + (sockets if len(sockets) > 2 * len(others) else [])

    def _processes(self, name: str) -> list[psutil.Process]:
        marks = (f"{self.data}/qemu/{name}/", f"{self.data}/qemu/{name}/".replace(",", ",,"))
        found = []
        for process in psutil.process_iter():
            try:
                if any(mark in word for mark in marks for word in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def lab_image() -> Image:
    """Return the lab's VM image; its descriptor names files relative to itself."""
    path = ROOT / ".lab" / "image.json"
    if not path.exists():
        pytest.fail("the lab's VM image is missing; build it with `make lab`")
    described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    def artifact(entry: dict[str, Any]) -> Artifact:
        return Artifact(str(path.parent / entry["location"]), entry["sha256"])

    return Image(
        disk=artifact(described),
        user=described["user"],
        kernel=artifact(described["kernel"]) if described.get("kernel") else None,
        initrd=artifact(described["initrd"]) if described.get("initrd") else None,
        cmdline=described.get("cmdline", ""),
    )
