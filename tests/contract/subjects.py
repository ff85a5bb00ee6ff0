"""The drivers that the contract suite tests, each with what the suite must know beyond the protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from lab import lxd as lab_lxd
from lab.lxd import Lxd
from polis.drivers.base import Artifact, Driver, Image, LaunchRequest
from polis.drivers.incus.client import Client
from polis.drivers.incus.driver import IncusDriver
from polis.drivers.incus.settings import Settings
from polis.drivers.incus.tool import LXD
from polis.drivers.multipass.driver import MultipassDriver
from polis.drivers.multipass.patience import Patience
from polis.drivers.qemu.driver import QemuDriver
from tests.fakes.multipass.install import Fake

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

    @property
    def moments(self) -> tuple[float, ...]:
        """Return seconds after which launches are killed one after the other, together less than one launch takes."""
        ...

    @property
    def booting(self) -> float:
        """Return seconds into a launch at which the machine boots."""
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

    @property
    def moments(self) -> tuple[float, ...]:
        # The hashing of the image, the making of the instance, QEMU's start, and the boot.
        return (0.2, 0.8, 1.6, 2.2, 2.6, 3.0, 3.4, 4.0, 6.0)

    @property
    def booting(self) -> float:
        return 5.0

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


class MultipassRequests:
    """What the two Multipass subjects have in common."""

    def request(self, name: str, owner: str) -> LaunchRequest:
        return LaunchRequest(
            name=name,
            owner=owner,
            image=Image(disk=Artifact("", ""), alias="24.04"),
            cpus=2,
            memory=GIBIBYTE,
            disk=6 * GIBIBYTE,
            user_data=USER_DATA,
            timeout=600.0,
        )


@dataclass(frozen=True)
class MultipassSubject(MultipassRequests):
    """The user's Multipass, by a fake program on PATH whose guests are simulated (tests/fakes/multipass)."""

    fake: Fake

    @property
    def driver(self) -> Driver:
        return MultipassDriver(patience=Patience(look=0.05, grace=1.0))

    def crash(self, name: str) -> None:
        self.fake.guest(name).kill()

    def machines(self, name: str) -> int:
        return len([each for each in self.fake.states() if each == name])

    def leftovers(self, name: str) -> list[str]:
        return [str(path) for path in self.fake.directory.rglob(f"*{name}*")]

    @property
    def moments(self) -> tuple[float, ...]:
        return (0.1, 0.3, 0.5, 0.7)

    @property
    def booting(self) -> float:
        return 0.8


@dataclass(frozen=True)
class RealMultipassSubject(MultipassRequests):
    """The Multipass of this machine; its instances are named `contract` and `beside`."""

    @property
    def driver(self) -> Driver:
        return MultipassDriver()

    def crash(self, name: str) -> None:
        self._multipass("stop", "--force", name)

    def machines(self, name: str) -> int:
        return len(self.leftovers(name))

    def leftovers(self, name: str) -> list[str]:
        rows: list[dict[str, Any]] = json.loads(self._multipass("list", "--format", "json"))["list"]
        return [str(row) for row in rows if row["name"] == name]

    @property
    def moments(self) -> tuple[float, ...]:
        return (0.5, 2.0, 4.0, 6.0, 8.0)

    @property
    def booting(self) -> float:
        return 12.0

    def _multipass(self, *argv: str) -> str:
        return subprocess.run(["multipass", *argv], check=True, capture_output=True, text=True, timeout=400).stdout


@dataclass(frozen=True)
class LxdSubject:
    """A real LXD of the lab's own, whose containers boot a real systemd and run a real cloud-init."""

    directory: Path

    @property
    def lxd(self) -> Lxd:
        return Lxd(self.directory, shared=ROOT / ".lab")

    @property
    def driver(self) -> Driver:
        # This LXD's directory instead of the machine's: what a user's shell would have, other processes too.
        os.environ.update(self.lxd.environment)
        settings = Settings(image=lab_lxd.ALIAS, kind="container")
        return IncusDriver(settings, client=Client(LXD, settings))

    def request(self, name: str, owner: str) -> LaunchRequest:
        return LaunchRequest(
            name=name,
            owner=owner,
            image=Image(disk=Artifact("", "")),
            cpus=2,
            memory=GIBIBYTE,
            disk=6 * GIBIBYTE,
            user_data=USER_DATA,
            timeout=600.0,
        )

    def crash(self, name: str) -> None:
        psutil.Process(self._state(name)["pid"]).kill()

    def machines(self, name: str) -> int:
        return len([each for each in self.lxd.leftovers(name) if "lxc monitor" in each])

    def leftovers(self, name: str) -> list[str]:
        return [str(row) for row in self.lxd.instances() if row == name] + self.lxd.leftovers(name)

    @property
    def moments(self) -> tuple[float, ...]:
        return (0.3, 0.5, 0.7, 0.9, 1.2, 1.6)

    @property
    def booting(self) -> float:
        return 2.0

    def _state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self.lxd.instances()[name]["state"]
        return state


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
