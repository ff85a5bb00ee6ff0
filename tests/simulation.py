"""A simulated guest behind the Driver protocol: a model of instance, cloud-init, files, images and containers.

Its world is a JSON file, so it outlives a killed process. Every driver call can be cut before it and after it (the
effect is done, the answer lost) by the `interfere` hook.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polis.drivers.base import Capabilities, Diagnosis, Instance, InstanceState, LaunchRequest, OnLine
from polis.errors import ForeignInstance, GuestUnreachable, InstanceMissing
from polis.guest import shipping
from polis.process import Completed

Interfere = Callable[[str, str], None]
"""Called with the name of a driver call (guest commands as `exec:<command>`) and `before` or `after`."""

SERVICES = {"init": True, "gate": False, "workspace": False}
"""The simulated stack: one one-shot service, two that stay."""


def _nothing(_call: str, _moment: str) -> None:
    return


@dataclass
class SimulatedDriver:
    """Keeps the contract of `polis.drivers.base.Driver` over a file."""

    world: Path
    interfere: Interfere = _nothing
    name: str = "simulated"
    capabilities: Capabilities = field(default_factory=Capabilities)
    refuse_pull: dict[str, str] = field(default_factory=dict)
    """Image reference (or a part of it) → the engine's error text."""
    stamps: bool = True
    """Whether the owner can be read off the instance; where not, only the record and the guest's marker tell."""
    probes_without_docker: int = 0
    """How many more probes find an engine that is still starting."""
    failing: dict[str, str] = field(default_factory=dict)
    """Checks of the guest that do not pass, and what they saw."""
    mishap: dict[str, str] | None = None
    """Why the first boot gave up; there is no sentinel then."""
    sick: set[str] = field(default_factory=set)
    """Services that start but are never healthy."""

    # ---- the protocol

    def find(self, *, name: str) -> Instance | None:
        with _Call(self, "find"):
            machine = self._load()["instances"].get(name)
            if machine is None:
                return None
            owner = machine["owner"] if self.stamps else None
            return Instance(self.name, name, InstanceState(machine["state"]), owner=owner)

    def launch(self, *, request: LaunchRequest, on_progress: Callable[[str], None] | None = None) -> None:
        with _Call(self, "launch"):
            world = self._load()
            machine = world["instances"].get(request.name)
            if machine is not None and machine["owner"] != request.owner:
                raise ForeignInstance("not ours")
            if machine is None:
                world["launches"] += 1
                world["instances"][request.name] = _new_machine(request.owner)
            world["instances"][request.name]["state"] = "running"
            self._save(world)

    def start(self, *, name: str, timeout: float, on_progress: Callable[[str], None] | None = None) -> None:
        with _Call(self, "start"), self._machine(name) as machine:
            if machine["state"] != "running":
                machine["state"] = "running"
                _boot(machine)

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        with _Call(self, "stop"):
            world = self._load()
            if name in world["instances"]:
                world["instances"][name]["state"] = "stopped"
                self._save(world)

    def delete(self, *, name: str) -> None:
        with _Call(self, "delete"):
            world = self._load()
            world["instances"].pop(name, None)
            self._save(world)

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        command = next(name for name, entry in shipping.COMMANDS.items() if entry == (argv[-3], argv[-2]))
        arguments = json.loads(argv[-1])
        with _Call(self, f"exec:{command}"):
            self._require_running(name)
            with self._machine(name) as machine:
                answer = getattr(self, f"_guest_{command.replace('-', '_')}")(machine, arguments)
        return Completed(tuple(argv), 0, json.dumps({"answer": answer}) + "\n", "", 0.0)

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        with _Call(self, "push"):
            self._require_running(name)
            with self._machine(name) as machine:
                machine["pushed"][target] = hashlib.sha256(source.read_bytes()).hexdigest()
                machine["pushes"] += 1

    def pull(self, *, name: str, source: str, target: Path) -> None:
        raise AssertionError("no phase pulls files")

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        self._require_running(name)
        return 7 if argv else 0

    def diagnose(self, *, name: str) -> Diagnosis:
        return Diagnosis()

    # ---- the guest's side

    def _guest_probe(self, machine: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        bundle = machine["bundle"]
        expected = bundle["services"] if bundle else []
        references = {service["image"] for service in expected}
        return {
            "boot_id": machine["boot_id"],
            "marker": machine["marker"],
            "cloud_init": {"finished": machine["provisioned"]},
            "sentinel": {"docker": "26"} if machine["provisioned"] and self.mishap is None else None,
            "bundle": {**bundle["marker"], "digest": bundle["digest"], "intact": bundle["intact"]} if bundle else None,
            "leftovers": ["current"] if bundle else [],
            "expected": expected,
            "images": [
                {"reference": reference, "id": identity}
                for reference, identity in machine["images"].items()
                if reference in references or not references
            ],
            "containers": list(machine["containers"].values()),
            "docker": self._docker(),
            "mishap": self.mishap,
            "checks": [
                {
                    "name": name,
                    "ok": name not in self.failing,
                    "expected": "1",
                    "actual": self.failing.get(name, "1"),
                }
                for name in (check["name"] for check in arguments["checks"])
            ],
        }

    def _docker(self) -> dict[str, Any]:
        if self.probes_without_docker > 0:
            self.probes_without_docker -= 1
            return {"error": "the Docker engine does not answer: connection refused"}
        return {"version": "26"}

    def _guest_wait(self, machine: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
        machine["provisioned"] = True
        return {"cloud_init": {"finished": True}}

    def _guest_sign(self, machine: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        machine["marker"] = machine["marker"] or arguments["marker"]
        return {}

    def _guest_place(self, machine: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        pushed = machine["pushed"].pop(arguments["archive"])
        assert f"sha256:{pushed}" == arguments["digest"]
        environment = arguments["environment"]
        old = machine["bundle"]
        machine["needless"] += old is not None and old["intact"] and old["marker"] == arguments["marker"]
        machine["bundle"] = {
            "digest": arguments["digest"],
            "marker": arguments["marker"],
            "intact": True,
            "services": [_service(name, one_shot, environment) for name, one_shot in SERVICES.items()],
        }
        return {}

    def _guest_remove_bundle(self, machine: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
        machine["bundle"] = None
        return {}

    def _guest_pull(self, machine: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        pulled: list[str] = []
        for reference in arguments["references"]:
            for part, text in self.refuse_pull.items():
                if part in reference:
                    return {"pulled": pulled, "failed": {"reference": reference, "error": text}}
            machine["needless"] += reference in machine["images"]
            machine["pulls"].append(reference)
            machine["images"][reference] = f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"
            pulled.append(reference)
        return {"pulled": pulled}

    def _guest_remove_images(self, machine: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        for reference in arguments["references"]:
            machine["images"].pop(reference, None)
        return {"problems": []}

    def _guest_up(self, machine: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
        expected = {service["name"]: service for service in machine["bundle"]["services"]}
        for name in set(machine["containers"]) - set(expected):
            del machine["containers"][name]
        for name, service in expected.items():
            old = machine["containers"].get(name)
            fits = old is not None and old["config_hash"] == service["config_hash"]
            if not fits:
                machine["creations"] += 1
                old = {"id": uuid.uuid4().hex[:12]}
            machine["containers"][name] = self._container(machine, service, old or {})
        return {"code": 0, "words": ""}

    def _guest_down(self, machine: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
        machine["containers"] = {}
        return {"code": 0}

    def _guest_stop(self, machine: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
        for container in machine["containers"].values():
            container["state"] = "exited"
        return {"code": 0}

    def _guest_watch(self, machine: dict[str, Any], _arguments: dict[str, Any]) -> dict[str, Any]:
        for container in machine["containers"].values():
            if container["health"] == "starting" and container["service"] not in self.sick:
                container["health"] = "healthy"
        waiting = {
            name: container["health"]
            for name, container in machine["containers"].items()
            if container["health"] not in ("healthy", "none")
        }
        return {"waiting": waiting, "logs": {name: f"{name} is sick" for name in waiting}}

    def _container(self, machine: dict[str, Any], service: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        one_shot = service["one_shot"]
        return {
            "id": old["id"],
            "service": service["name"],
            "config_hash": service["config_hash"],
            "image_id": machine["images"][service["image"]],
            "state": "exited" if one_shot else "running",
            "exit_code": 0,
            "this_boot": True,
            "health": "none" if one_shot else old.get("health", "starting"),
        }

    # ---- the world's file

    def machine_of(self, name: str = "polis") -> dict[str, Any]:
        """Return the simulated machine, for assertions."""
        machine: dict[str, Any] = self._load()["instances"][name]
        return machine

    def change(self, name: str = "polis") -> _Machine:
        """Return a context in which a test changes a machine from outside."""
        return self._machine(name)

    @property
    def launches(self) -> int:
        """Return how many machines were ever created."""
        return int(self._load()["launches"])

    def _require_running(self, name: str) -> None:
        machine = self._load()["instances"].get(name)
        if machine is None:
            raise InstanceMissing(f"{name} is missing")
        if machine["state"] != "running":
            raise GuestUnreachable(f"{name} is {machine['state']}")

    def _machine(self, name: str) -> _Machine:
        return _Machine(self, name)

    def _load(self) -> dict[str, Any]:
        try:
            world: dict[str, Any] = json.loads(self.world.read_bytes())
        except FileNotFoundError:
            return {"instances": {}, "launches": 0}
        return world

    def _save(self, world: dict[str, Any]) -> None:
        partial = self.world.with_suffix(".partial")
        partial.write_text(json.dumps(world))
        partial.replace(self.world)


class _Machine:
    def __init__(self, driver: SimulatedDriver, name: str) -> None:
        self._driver, self._name = driver, name

    def __enter__(self) -> dict[str, Any]:
        self._world = self._driver._load()
        machine: dict[str, Any] = self._world["instances"][self._name]
        return machine

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._driver._save(self._world)


class _Call:
    def __init__(self, driver: SimulatedDriver, name: str) -> None:
        self._driver, self._name = driver, name

    def __enter__(self) -> None:
        self._driver.interfere(self._name, "before")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._driver.interfere(self._name, "after")


def _new_machine(owner: str) -> dict[str, Any]:
    return {
        "owner": owner,
        "state": "running",
        "boot_id": uuid.uuid4().hex,
        "provisioned": False,
        "marker": None,
        "bundle": None,
        "pushed": {},
        "pushes": 0,
        "images": {},
        "pulls": [],
        "containers": {},
        "creations": 0,
        "needless": 0,
    }


def _boot(machine: dict[str, Any]) -> None:
    machine["boot_id"] = uuid.uuid4().hex
    for container in machine["containers"].values():
        container["this_boot"] = False
        if container["health"] != "none":  # Docker starts again what is meant to stay, and nothing else
            container.update(state="running", health="starting", this_boot=True)


def _service(name: str, one_shot: bool, environment: dict[str, str]) -> dict[str, Any]:
    image = f"{environment['POLIS_REGISTRY']}/polis-{name}:{environment[f'POLIS_{name.upper()}_VERSION']}"
    return {
        "name": name,
        "image": image,
        "one_shot": one_shot,
        "config_hash": hashlib.sha256(image.encode()).hexdigest(),
    }
