"""The simulated world: all machines of a hypervisor, in a JSON file."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polis.drivers.base import Forward, Hardware, LaunchRequest

Machine = dict[str, Any]
"""One machine. `needless` counts what was done although it was done already; `log` the guest's changing commands."""


@dataclass(frozen=True)
class World:
    """Whoever changes a machine loads it, changes it and stores it; those who only look never store."""

    path: Path

    def load(self) -> dict[str, Any]:
        """Return everything: `instances` by name, and how many `launches` there ever were."""
        try:
            content: dict[str, Any] = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {"instances": {}, "launches": 0}
        return content

    def machine(self, name: str) -> Machine | None:
        """Return one machine as it is now."""
        machine: Machine | None = self.load()["instances"].get(name)
        return machine

    def templates(self) -> dict[str, Machine]:
        """Return all templates by what they were made from."""
        found: dict[str, Machine] = self.load().get("templates", {})
        return found

    def store_template(self, fingerprint: str, machine: Machine | None) -> None:
        """Add a template, or remove it."""
        content = self.load()
        templates = content.setdefault("templates", {})
        if machine is None:
            templates.pop(fingerprint)
        else:
            templates[fingerprint] = {**machine, "id": uuid.uuid4().hex}
        self._write(content)

    def store(self, name: str, machine: Machine | None) -> None:
        """Replace one machine; None removes it. A reader sees the old world or the new one."""
        content = self.load()
        if machine is None:
            content["instances"].pop(name, None)
        else:
            content["launches"] += name not in content["instances"]
            content["instances"][name] = machine
        self._write(content)

    def _write(self, content: dict[str, Any]) -> None:
        partial = self.path.with_suffix(f".{uuid.uuid4().hex}")
        partial.write_text(json.dumps(content))
        partial.replace(self.path)


def new_machine(request: LaunchRequest) -> Machine:
    """Return a machine that was just begun: nothing of it is complete."""
    return {
        "owner": request.owner,
        "fingerprint": request.fingerprint,
        "template": "",
        "sealed": False,
        "closed": False,
        "snapshots": {},
        "complete_snapshots": [],
        "restored": 0,
        "hardware": _hardware(request),
        "complete": False,
        "state": "stopped",
        "boot_id": "",
        "provisioned": False,
        "marker": None,
        "bundle": None,
        "previous": None,
        "staged": None,
        "pushed": {},
        "pushes": 0,
        "images": {},
        "pulls": [],
        "containers": {},
        "creations": 0,
        "volume": None,
        "needless": [],
    }


def adapt(machine: Machine, request: LaunchRequest) -> None:
    """Give a machine that is off the hardware that is wanted now."""
    machine["hardware"] = _hardware(request)


def boot(machine: Machine) -> None:
    """Switch a machine on: Docker starts again what is meant to stay, and nothing else."""
    machine["state"] = "running"
    machine["boot_id"] = uuid.uuid4().hex
    for container in machine["containers"].values():
        container["this_boot"] = False
        if container["health"] != "none":
            container.update(state="running", health="starting", this_boot=True)


def hardware(machine: Machine) -> Hardware:
    """Return what the machine has."""
    known = machine["hardware"]
    forwards = tuple(Forward(forward["host"], forward["guest"]) for forward in known["forwards"])
    return Hardware(known["cpus"], known["memory"], known["disk"], forwards)


def _hardware(request: LaunchRequest) -> dict[str, Any]:
    return asdict(Hardware(request.cpus, request.memory, request.disk, request.forwards))
